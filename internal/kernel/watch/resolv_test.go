package watch_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// resolvers waits, for less than a poll takes, until these are the host's.
func (h *host) resolvers(what, want string) {
	h.t.Helper()
	got := ""
	deadline := time.After(10 * time.Second)
	for {
		if got = fmt.Sprint(h.w.Facts().Resolvers); got == want {
			return
		}
		select {
		case <-h.w.Changed():
		case <-deadline:
			h.t.Fatalf("%s: %s, want %s", what, got, want)
		}
	}
}

// TestResolvFollows: the resolver file may be a link to what is not there yet,
// lead elsewhere later, be replaced, or lose its directory; each is seen when
// it happens.
func TestResolvFollows(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	dir := filepath.Dir(h.resolv)
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	link := func(target string) {
		t.Helper()
		do(os.Symlink(target, h.resolv+".new"))
		do(os.Rename(h.resolv+".new", h.resolv))
	}
	write := func(path, server string) {
		t.Helper()
		do(os.MkdirAll(filepath.Dir(path), 0o700))
		do(os.WriteFile(path+".tmp", []byte("nameserver "+server+"\n"), 0o600))
		do(os.Rename(path+".tmp", path))
	}
	link("run/resolved/stub.conf") // nothing of it is there
	h.resolvers("a link to nowhere", "[]")
	write(filepath.Join(dir, "run/resolved/stub.conf"), "9.9.9.1")
	h.resolvers("directories that come later", "[9.9.9.1:53]")
	write(filepath.Join(dir, "run/resolved/stub.conf"), "9.9.9.2")
	h.resolvers("a file that is replaced", "[9.9.9.2:53]")
	do(os.RemoveAll(filepath.Join(dir, "run")))
	h.resolvers("directories that go", "[]")
	write(filepath.Join(dir, "run/resolved/stub.conf"), "9.9.9.3")
	h.resolvers("and come again", "[9.9.9.3:53]")
	write(filepath.Join(dir, "other/conf"), "9.9.9.4")
	do(os.Symlink("other/conf", filepath.Join(dir, "second")))
	link(filepath.Join(dir, "second"))
	h.resolvers("a link that leads elsewhere", "[9.9.9.4:53]")
	do(os.WriteFile(filepath.Join(dir, "other/conf"), []byte("nameserver 9.9.9.5\n"), 0o600))
	h.resolvers("a file behind two links", "[9.9.9.5:53]")
}

// TestStub: the stub of systemd-resolved, also without a file of the servers
// behind it, and another resolver on the host.
func TestStub(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.write("nameserver 127.0.0.53\n")
	h.resolvers("a stub, and nothing known behind it", "[127.0.0.53:53]")
	if err := os.WriteFile(h.resolv+".real", []byte("nameserver 127.0.0.53\nnameserver fe80::7%eth0\nnameserver 198.51.100.7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.resolvers("the servers behind it", "[[fe80::7%eth0]:53 198.51.100.7:53]")
	h.write("nameserver 127.0.0.1\n")
	h.resolvers("another program on the host", "[127.0.0.1:53]")
}

// TestLinkLocalResolver: the address of a gateway of ours on another link is
// somebody else's.
func TestLinkLocalResolver(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.run("ip address add fe80::1/64 dev sx-web nodad")
	netnstest.Eventually(t, 5*time.Second, "the address is known", func() error {
		f, err := h.w.Refresh()
		for _, l := range f.Links {
			for _, a := range l.Addresses {
				if a.Addr().String() == "fe80::1" {
					return err
				}
			}
		}
		return fmt.Errorf("not yet: %w", os.ErrNotExist)
	})
	h.write("nameserver fe80::1%sx-web\nnameserver fe80::1%eth0\n")
	h.resolvers("both", "[[fe80::1%eth0]:53]")
}
