package uplink

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/lab/topo"
)

// TestDelegated56: a provider delegates a /56; each of two networks has a /64
// of it, routed, closed inwards, the same again after a crash, and given back
// on request.
func TestDelegated56(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2*time.Minute, "enp0s31f6")
	isp := w.access(first, w.host.Uplink, &topo.Advert{Prefixes: []string{onLink(first)}})
	w.delegates(isp, topo.Delegator{Software: "kea", Pool: pool1})
	kept := w.watched(isp)
	w.settled(isp)
	w.sh("sextant network create lab")
	alpha, beta := w.guest("alpha", "default"), w.guest("beta", "lab")
	w.stands("default", "delegated", pool1.String(), isp.link)
	w.stands("lab", "delegated", pool1.String())
	one, two := w.holds("default", pool1, "active"), w.holds("lab", pool1, "active")
	if one.Bits() != 64 || two.Bits() != 64 || one == two {
		t.Errorf("the networks have %v and %v", one, two)
	}
	a, b := w.usable(alpha, one), w.usable(beta, two)
	w.reaches(alpha, b.String())
	w.sh("sextant uplink list | grep -F " + isp.link)
	if out := w.sh("sextant uplink show " + isp.link); !strings.Contains(out, pool1.String()) || !strings.Contains(out, onLink(first)) {
		t.Errorf("uplink show lacks the delegation or the link's prefix:\n%s", out)
	}
	if out := w.sh("sextant status"); !strings.Contains(out, "delegated") {
		t.Errorf("status does not say the rung:\n%s", out)
	}
	w.told(isp.link + " " + pool1.String())
	t.Run("closed inwards", func(t *testing.T) {
		if _, err := alpha.Start("web", peerBinary, "serve", "[::]:80"); err != nil {
			t.Fatal(err)
		}
		w.eventually(patience, "beta reaches alpha's server", func() error {
			_, err := beta.Sh(w.ctx, fmt.Sprintf("nc -w 2 %s 80 </dev/null", a))
			return err
		})
		w.unseen(isp.Node, a)
		w.reaches(isp.Node, a.String()) // echo is let through (RFC 4890)
	})
	t.Run("what no network has goes nowhere", func(t *testing.T) {
		nobody := one.Addr().As16()
		nobody[7] ^= 0x55
		out, err := isp.Sh(w.ctx, fmt.Sprintf("ping -n -c 2 -W 2 -i 0.3 2001:db8:1100:%x::1", int(nobody[7])))
		if err == nil || !strings.Contains(out, "nreachable") && !strings.Contains(out, "rohibited") {
			t.Errorf("the rest of the aggregate: %v\n%s", err, out)
		}
		if out := w.sh("ip -6 route show type unreachable"); !strings.Contains(out, pool1.String()) {
			t.Errorf("no unreachable route for the aggregate:\n%s", out)
		}
	})
	t.Run("the same after a crash", func(t *testing.T) {
		conn := w.hold(alpha, topo.Server6)
		w.kill()
		w.serve(w.flags...)
		w.stands("default", "delegated")
		if now := w.holds("default", pool1, "active"); now != one {
			t.Errorf("default has %v, before %v", now, one)
		}
		if now := w.holds("lab", pool1, "active"); now != two {
			t.Errorf("lab has %v, before %v", now, two)
		}
		conn.lives("after the crash")
	})
	t.Run("given back on request", func(t *testing.T) {
		conn := w.hold(alpha, topo.Server6)
		w.sh("sextant uplink set " + isp.link + " ask=off")
		w.eventually(patience, "Kea sees a release", func() error {
			if out := isp.Logs(100); !strings.Contains(out, "DHCP6_RELEASE_PD") {
				return fmt.Errorf("%s", out)
			}
			return nil
		})
		w.stands("default", "proxied")
		conn.breaks("the prefix was given back")
	})
	kept("all of it")
	w.usable(alpha, first.Link6.Masked())
}

// settled starts the daemon and has auto climb soon.
func (w *world) settled(at ...*access) {
	w.t.Helper()
	w.serve()
	for _, a := range at {
		w.sh("sextant uplink set " + a.link + " settle=2s")
	}
}

// TestDelegated64: a single /64 is one network's; the other one says why it has
// none.
func TestDelegated64(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Minute, "up0")
	isp := w.access(first, w.host.Uplink, noAddress(first))
	w.byHand(isp)
	only := prefix("2001:db8:1164::/64")
	w.delegates(isp, topo.Delegator{Software: "dhcpd", Pool: only})
	kept := w.watched(isp)
	w.settled(isp)
	w.stands("default", "delegated", only.String())
	w.sh("sextant network create second")
	w.stands("second", "nat66", only.String(), "in use")
	alpha, beta := w.guest("alpha", "default"), w.guest("beta", "second")
	w.usable(alpha, only)
	w.seenIn(beta, first.Link6.Masked())
	t.Run("the other one's turn", func(t *testing.T) {
		w.sh("sextant port delete alpha; sextant network delete default")
		w.stands("second", "delegated", only.String())
		w.usable(beta, only)
	})
	kept("all of it")
	w.told("second delegated "+only.String(), "delegated "+isp.link)
}

// TestDelegatedSlowly: a router that answers only those who ask, and a server
// that is asleep at first and wants to be asked by unicast.
func TestDelegatedSlowly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 90*time.Second, "enx0123456789ab")
	isp := w.access(first, w.host.Uplink, &topo.Advert{More: "UnicastOnly on;", Prefixes: []string{onLink(first)}})
	w.delegates(isp, topo.Delegator{Software: "dhcpd", Pool: pool1, More: "option dhcp6.unicast " + first.Link6.Addr().String() + ";"})
	kept := w.watched(isp)
	w.ok(isp.Delegating().Signal(stop))
	w.settled(isp)
	alpha := w.guest("alpha", "default")
	w.stands("default", "proxied")
	w.usable(alpha, first.Link6.Masked())
	w.ok(isp.Delegating().Signal(resume))
	w.stands("default", "delegated", pool1.String())
	w.usable(alpha, pool1)
	kept("all of it")
}
