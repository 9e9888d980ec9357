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
	w.sh("dd if=/dev/zero of=" + dir + "/junk bs=64k 2>/dev/null || true")
	w.refuses("disk full")
	w.served(guest, "disk full")
	w.sh("kill -9 " + itoa(w.pid("control")) + " || true") // it may be dying already: etcd does of a full disk
	w.served(guest, "disk full and control killed")
	w.eventually(20*time.Second, "control is back and answers", func() error {
		_, err := w.host.Sh(w.ctx, "sextant port show alpha")
		return err
	})
	w.refuses("disk full")
	w.sh("rm " + dir + "/junk")
	w.takes("there is room again")
	w.served(guest, "there is room again")

	// A file system that somebody writes to becomes read-only by an error only,
	// which cannot be had here: as after a boot, then.
	for _, p := range []string{"serve", "control", "agent"} {
		w.kill(p)
	}
	_ = w.daemon.Wait(w.ctx)
	w.eventually(10*time.Second, "nobody writes to it", func() error { // those that were killed end in their time
		_, err := w.host.Sh(w.ctx, "mount -o remount,ro "+dir)
		return err
	})
	var err error
	if w.daemon, err = w.host.Serve(w.flags...); err != nil {
		t.Fatal(err)
	}
	w.eventually(10*time.Second, "the name server is back", func() error {
		_, err := guest.Sh(w.ctx, "dig +short +time=1 +tries=1 alpha.default.internal | grep -q .")
		return err
	})
	w.served(guest, "read-only")
	w.sh("mount -o remount,rw " + dir)
	w.takes("read-write again")
	w.served(guest, "read-write again")
}

// refuses waits until wishes are refused in one line with the reason, while
// questions are answered.
func (w *world) refuses(reason string) {
	w.t.Helper()
	w.eventually(10*time.Second, reason+": a wish is refused", func() error {
		out, err := w.host.Sh(w.ctx, "sextant network create more --wait 5s")
		if err == nil {
			w.sh("sextant network delete more")
			return fmt.Errorf("accepted: %s", out)
		}
		if strings.Contains(out, "\n") || !strings.Contains(out, reason) {
			return fmt.Errorf("want one line with the reason: %s", out)
		}
		return nil
	})
	// A store that cannot write what it had accepted dies, and is started again.
	w.eventually(10*time.Second, reason+": questions are answered", func() error {
		out, err := w.host.Sh(w.ctx, "sextant network list && sextant port show alpha")
		if err == nil && (!strings.Contains(out, "default") || strings.Contains(out, "more")) {
			err = fmt.Errorf("answered with\n%s", out)
		}
		return err
	})
}

// takes waits until wishes are taken.
func (w *world) takes(when string) {
	w.t.Helper()
	w.eventually(30*time.Second, when+": a wish is taken", func() error {
		_, err := w.host.Sh(w.ctx, "sextant network create after ipv4=nat ipv6=none")
		return err
	})
	w.sh("sextant network delete after")
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
