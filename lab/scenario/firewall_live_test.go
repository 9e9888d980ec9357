package scenario

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/lab/topo"
)

// TestFirewallPrograms: the real ufw and the real firewalld, as an
// administrator enables them, are named by status, and what it says to type
// lets the guests through.
func TestFirewallPrograms(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, needs string
		start       func(w *world)
		says        string
	}{
		{"ufw", "ufw", func(w *world) { w.sh("ufw --force enable") }, "ufw"},
		{"firewalld", "firewalld", startFirewalld, "firewalld"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			netnstest.NeedCommands(t, c.needs, "dbus-daemon")
			w := newWorld(t, 2*time.Minute, topo.HostConfig{})
			c.start(w)
			w.serve()
			var said string
			w.eventually(15*time.Second, "status names "+c.says, func() error {
				out, err := w.host.Sh(w.ctx, "sextant status")
				said = out
				if err == nil && (!strings.Contains(out, c.says+" drops") || mend(out) == "") {
					err = fmt.Errorf("status says\n%s", out)
				}
				return err
			})
			if out := w.sh("sextant network create second"); !strings.Contains(out, c.says) {
				t.Errorf("network create does not say it:\n%s", out)
			}
			typed := map[string]bool{}
			for line := range strings.Lines(said) {
				if command := mend(line); command != "" && !typed[command] {
					typed[command] = true
					w.sh(command)
				}
			}
			w.eventually(20*time.Second, "nothing is in the way any more", func() error {
				if out := w.sh("sextant status"); strings.Contains(out, " drops ") {
					return fmt.Errorf("status says\n%s", out)
				}
				return nil
			})
			w.answers(w.guest("alpha", "default"))
		})
	}
}

// startFirewalld runs firewalld on a bus of its own.
func startFirewalld(w *world) {
	w.t.Helper()
	w.bus()
	if _, err := w.host.Start("firewalld", "firewalld", "--nofork", "--nopid"); err != nil {
		w.t.Fatal(err)
	}
	w.eventually(30*time.Second, "firewalld runs", func() error {
		_, err := w.host.Sh(w.ctx, "firewall-cmd --state")
		return err
	})
}
