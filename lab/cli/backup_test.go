package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// TestBackupRestore: a backup brings back everything that was wished, on a
// host that lost its state: same IDs, MACs and addresses, and the networks run.
func TestBackupRestore(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	daemon := h.serve()
	h.sh(`sextant network create w ipv4=nat ipv4.address=192.168.150.1/24 ipv6=routed ipv6.address=2001:db8:5::1/64
sextant network create auto
sextant port create p1 network=w
sextant reservation create r network=auto mac=52:54:00:aa:00:02 address=$(sextant subnet list network=auto -o csv | grep -o 'fd[0-9a-f:]*::' | head -1)99
sextant router create r
sextant network create n2 router=r ipv4=nat ipv4.address=10.7.0.1/24 ipv6=none
sextant project create other; sextant pool create p prefix=2001:db8:100::/48 --project other`)
	wished := `for noun in network subnet port reservation router pool; do sextant $noun list -A -o yaml; done | grep -v -e revision: -e status: -e '^    '`
	before := h.sh(wished)
	file := filepath.Join(h.Dir(), "backup")
	h.sh("sextant backup " + file)
	if st, err := os.Stat(file); err != nil || st.Mode().Perm()&0o077 != 0 {
		t.Errorf("the backup is readable by others: %v, %v", st, err)
	}
	h.run("sextant", "restore", file).refused(t, 1, `restore: the store is in use: it has networks; restore into a new one`)
	if err := daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(h.stateDir()); err != nil {
		t.Fatal(err)
	}
	h.serve()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string][]byte{"short": text[:len(text)/2], "empty": nil, "bent": []byte(strings.Replace(string(text), `"kind":"network"`, `"kind":"netwrok"`, 1))} {
		broken := filepath.Join(h.Dir(), name)
		if err := os.WriteFile(broken, body, 0o600); err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) { h.run("sextant", "restore", broken).refused(t, 1, `restore: .`) })
	}
	if out := h.sh("sextant network list -o csv"); strings.Count(out, "\n") != 0 {
		t.Errorf("a broken backup left\n%s", out)
	}
	h.sh("sextant restore " + file)
	netnstest.Eventually(t, 20*time.Second, "the networks run", func() error {
		_, err := h.Sh(h.ctx, "test $(sextant network list | grep -c running) = 3; ip -o addr show sx-w | grep -q 192.168.150.1/24")
		return err
	})
	if after := h.sh(wished); after != before {
		t.Errorf("restored:\n%s", difference(before, after))
	}
}
