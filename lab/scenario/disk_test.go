package scenario

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/lab/topo"
)

// TestDiskFull: with a state directory that is full, or read-only, wishes are
// refused with the reason, questions are answered, and guests are served; when
// there is room again all is well, also if the daemon was started meanwhile.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2*time.Minute, topo.HostConfig{})
	dir := w.host.StateDir()
	w.sh("mkdir -p " + dir + "; mount -t tmpfs -o size=96m tmpfs " + dir)
	w.serve()
	guest := w.guest("alpha", "default")
	for _, tc := range []struct{ name, damage, mend, says string }{
		{"full", "dd if=/dev/zero of=" + dir + "/junk bs=64k 2>/dev/null || true", "rm " + dir + "/junk", "full"},
		{"read-only", "mount -o remount,ro " + dir, "mount -o remount,rw " + dir, "read-only"},
	} {
		w.sh(tc.damage)
		w.eventually(5*time.Second, tc.name+": a wish is refused", func() error {
			out, err := w.host.Sh(w.ctx, "sextant network create more --wait 5s")
			if err == nil {
				w.sh("sextant network delete more")
				return fmt.Errorf("accepted: %s", out)
			}
			if strings.Contains(out, "\n") || !strings.Contains(out, tc.says) {
				return fmt.Errorf("want one line that says %q: %s", tc.says, out)
			}
			t.Logf("%s: %s", tc.name, out)
			return nil
		})
		if out := w.sh("sextant network list; sextant port show alpha"); !strings.Contains(out, "default") || strings.Contains(out, "more") {
			t.Errorf("%s: questions are answered with\n%s", tc.name, out)
		}
		w.served(guest, tc.name)
		w.kill("control")
		w.served(guest, tc.name+" and control killed")
		w.eventually(20*time.Second, tc.name+": control is back and answers", func() error {
			_, err := w.host.Sh(w.ctx, "sextant port show alpha")
			return err
		})
		w.sh(tc.mend)
		w.eventually(20*time.Second, tc.name+": wishes are taken again", func() error {
			_, err := w.host.Sh(w.ctx, "sextant network create after ipv4=nat ipv6=none")
			return err
		})
		w.sh("sextant network delete after")
		w.served(guest, tc.name+" is over")
	}
}

// served tests that the guest's DHCP is renewed, its names are resolved and
// its router advertises itself, all by the agent.
func (w *world) served(n *topo.Node, when string) {
	w.t.Helper()
	w.on(n, "dhclient -4 -x eth0; ip -4 addr flush dev eth0; dhclient -4 -1 eth0")
	out := w.on(n, "ip -4 -o addr show dev eth0; dig +short +time=2 alpha.default.internal; dig +short +time=2 "+topo.ServerName+"; rdisc6 -1 eth0")
	for _, want := range []string{"inet ", topo.Server4.String(), "from fe80::"} {
		if !strings.Contains(out, want) {
			w.t.Errorf("%s: no %q in\n%s", when, want, out)
		}
	}
	w.answers(n)
}

// TestControlAway: while the control process does not run, guests renew what
// they have.
func TestControlAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Minute, topo.HostConfig{})
	w.serve()
	guest := w.guest("alpha", "default")
	// Stopped rather than killed: the supervisor would start it again.
	pid := itoa(w.pid("control"))
	w.sh("kill -STOP " + pid)
	w.served(guest, "control stopped")
	w.sh("kill -CONT " + pid + "; sextant status")
	w.kill("control")
	w.served(guest, "control killed")
}
