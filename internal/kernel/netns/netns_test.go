package netns_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

func newSet(t *testing.T, ns *netnstest.NS) *netns.Set {
	t.Helper()
	s, err := netns.At(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestDoFollows proves that what a thread in a namespace does through /proc/sys
// and through commands happens there.
func TestDoFollows(t *testing.T) {
	host, guest := netnstest.New(t, "nsa"), netnstest.New(t, "nsb")
	s := newSet(t, host)
	guest.Run("ip", "link", "add", "g0", "type", "veth", "peer", "name", "g1")
	const path = "/proc/sys/net/ipv6/conf/g0/accept_ra"
	for _, ns := range []string{guest.Name, guest.Path()} {
		err := s.Do(ns, func() error {
			if err := os.WriteFile(path, []byte("0"), 0); err != nil {
				return err
			}
			out, err := exec.Command("ip", "-o", "link").Output()
			if err == nil && !strings.Contains(string(out), "g0") {
				err = fmt.Errorf("ip sees another namespace: %s", out)
			}
			return err
		})
		if err != nil {
			t.Fatalf("%s: %v", ns, err)
		}
	}
	if got := strings.TrimSpace(guest.Run("cat", path)); got != "0" {
		t.Errorf("accept_ra = %s", got)
	}
	// "" is the set's host, where there is no g0.
	err := s.Do("", func() error { _, err := os.ReadFile(path); return err })
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the host has the guest's link: %v", err)
	}
}

func TestMissing(t *testing.T) {
	netnstest.NeedRoot(t)
	s, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, ns := range []string{"sxt-nothing", "/run/netns/sxt-nothing"} {
		err := s.Do(ns, func() error { t.Error("ran"); return nil })
		if !vnet.Is(err, vnet.ErrNotFound) || !strings.Contains(err.Error(), ns) {
			t.Errorf("%s: %v", ns, err)
		}
	}
	file := t.TempDir() + "/plain"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Do(file, func() error { return nil }); !vnet.Is(err, vnet.ErrNotFound) {
		t.Errorf("a plain file: %v", err)
	}
}

func TestCreateDelete(t *testing.T) {
	s := newSet(t, netnstest.New(t, "nsc"))
	name := fmt.Sprintf("%ssxt-%d", plan.NetnsPrefix, os.Getpid())
	t.Cleanup(func() { _ = s.Delete(name) })
	if err := s.Create(name); err != nil {
		t.Fatal(err)
	}
	if err := s.Create(name); !vnet.Is(err, vnet.ErrExists) {
		t.Errorf("made twice: %v", err)
	}
	out, err := exec.Command("ip", "netns", "exec", name, "ip", "-o", "link", "show", "lo", "up").Output()
	if err != nil || !strings.Contains(string(out), "lo:") {
		t.Errorf("iproute2 sees no loopback that is up: %v %s", err, out)
	}
	first, err := s.Conn(name)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := s.Conn(name); again != first {
		t.Error("the socket of our own namespace was not kept")
	}
	if err := s.Delete(name); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(name); err != nil {
		t.Errorf("deleting what is gone: %v", err)
	}
	// Another one of that name gets a socket of its own.
	if err := s.Create(name); err != nil {
		t.Fatal(err)
	}
	c, err := s.Conn(name)
	if err != nil {
		t.Fatal(err)
	}
	links := func() *nl.NetlinkRequest {
		req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
		req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
		return req
	}
	if msgs, err := c.Dump(links, unix.RTM_NEWLINK); err != nil || len(msgs) == 0 {
		t.Errorf("dump: %d links, %v", len(msgs), err)
	}
	for _, bad := range []string{"", ".", "..", "a/b", "/x"} {
		if err := s.Create(bad); !vnet.Is(err, vnet.ErrInvalid) {
			t.Errorf("create %q: %v", bad, err)
		}
		if err := s.Delete(bad); !vnet.Is(err, vnet.ErrInvalid) {
			t.Errorf("delete %q: %v", bad, err)
		}
	}
}

// TestNSID: the number that the kernel gives a namespace tells where a link's
// other end is.
func TestNSID(t *testing.T) {
	a, b := netnstest.New(t, "nsd"), netnstest.New(t, "nse")
	s := newSet(t, a)
	c, err := s.Conn("")
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Open(b.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if id, err := c.NSID(f); err != nil || id != -1 {
		t.Errorf("before: %d %v", id, err)
	}
	netnstest.Veth(a, "v0", b, "v1")
	a.Run("ip", "link", "show", "v0")
	if id, err := c.NSID(f); err != nil || id < 0 {
		t.Errorf("after: %d %v", id, err)
	}
}
