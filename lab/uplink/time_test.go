package uplink

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/lab/topo"
)

// freeze stops all of the daemon's processes; what it returns has them go on.
func (w *world) freeze() (resumed func()) {
	w.t.Helper()
	pids := fmt.Sprintf("%d %d %d", w.pid("serve"), w.pid("control"), w.pid("agent"))
	w.sh("kill -STOP " + pids)
	return func() {
		w.t.Helper()
		w.sh("kill -CONT " + pids)
	}
}

// TestSuspend: the daemon is frozen past the end of what is delegated, and the
// provider delegates something else meanwhile.
func TestSuspend(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2*time.Minute, "enp0s20u1")
	isp := w.access(first, w.host.Uplink, &topo.Advert{Prefixes: []string{onLink(first)}})
	w.delegates(isp, topo.Delegator{Software: "kea", Pool: pool1, Preferred: 8, Valid: 12})
	kept := w.watched(isp)
	w.settled(isp)
	alpha := w.guest("alpha", "default")
	old := w.holds("default", pool1, "active")
	w.usable(alpha, old)
	conn := w.hold(alpha, topo.Server6)
	resumed := w.freeze()
	w.delegates(isp, topo.Delegator{Software: "kea", Pool: pool2})
	w.ok(isp.Unroute6(w.ctx, pool1))
	w.eventually(patience, "what was delegated is over for the guest, too", func() error {
		if a := w.in(alpha, old); a.IsValid() {
			return fmt.Errorf("it has %v", a)
		}
		return nil
	})
	resumed()
	w.ok(w.host.Ready(w.ctx, w.daemon))
	now := w.holds("default", pool2, "active")
	w.usable(alpha, now)
	conn.breaks("its prefix is over")
	w.told("default 2001:db8:22", isp.link+" "+pool2.String())
	kept("all of it")
}

// TestFlapping: the uplink's cable has a loose contact. The network descends at
// once, and climbs when it is mended, not in between.
func TestFlapping(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2*time.Minute, "enp3s0f1")
	isp := w.access(first, w.host.Uplink, noAddress(first))
	w.byHand(isp)
	w.delegates(isp, topo.Delegator{Software: "kea", Pool: pool1})
	w.serve()
	w.sh("sextant uplink set " + isp.link + " settle=5s")
	alpha := w.guest("alpha", "default")
	w.stands("default", "delegated", pool1.String())
	old := w.holds("default", pool1, "active")
	w.usable(alpha, old)
	rungs := func() int { return w.count("rung: default") }
	before := rungs()
	for range 6 {
		w.on(isp.Node, "ip link set "+isp.port+" down")
		w.eventually(patience, "the link is down", func() error {
			_, err := w.host.Sh(w.ctx, "ip link show dev "+isp.link+" | grep -q 'NO-CARRIER\\|state LOWERLAYERDOWN'")
			return err
		})
		w.on(isp.Node, "ip link set "+isp.port+" up")
		w.eventually(patience, "the host is back", func() error {
			_, err := w.host.Sh(w.ctx, "ping -n -c 1 -W 1 "+topo.Server6.String())
			return err
		})
	}
	w.stands("default", "delegated", pool1.String())
	kept := w.watched(isp)
	w.usable(alpha, old)
	if now := w.holds("default", pool1, "active"); now != old {
		t.Errorf("default has %v, before %v", now, old)
	}
	if n := rungs() - before; n > 4 {
		t.Errorf("%d changes of the rung in six flaps:\n%s", n, strings.Join(w.events(), "\n"))
	}
	kept("after all")
}

// TestClockJumps: somebody sets the clock a day ahead, and back. Lifetimes are
// of time that passes, not of what a clock shows.
func TestClockJumps(t *testing.T) {
	netnstest.NeedVM(t)
	w := newWorld(t, 2*time.Minute, "enp0s4")
	isp := w.access(first, w.host.Uplink, &topo.Advert{Prefixes: []string{onLink(first)}})
	w.delegates(isp, topo.Delegator{Software: "kea", Pool: pool1})
	kept := w.watched(isp)
	w.settled(isp)
	alpha := w.guest("alpha", "default")
	old := w.holds("default", pool1, "active")
	w.usable(alpha, old)
	conn := w.hold(alpha, topo.Server6)
	rungs := w.count("rung: default")
	for i, by := range []string{"+1 day", "-2 days", "+1 day"} {
		w.sh("date -s '" + by + "' >/dev/null")
		w.sh(fmt.Sprintf("sextant network set default leaseTime=%dh", 10+i)) // something to do
		w.stands("default", "delegated", pool1.String())
		if now := w.holds("default", pool1, "active"); now != old {
			t.Errorf("%s: default has %v, before %v", by, now, old)
		}
		w.usable(alpha, old)
		if out := w.sh("sextant uplink show " + isp.link); !strings.Contains(out, pool1.String()) {
			t.Errorf("%s: the delegation is gone:\n%s", by, out)
		}
	}
	if n := w.count("rung: default") - rungs; n > 0 {
		t.Errorf("%d changes of the rung:\n%s", n, strings.Join(w.events(), "\n"))
	}
	conn.lives("a clock that was set")
	kept("all of it")
}
