package agent_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// silent has a guest say nothing of itself: it knows its gateway's MAC for ever,
// and so has no reason to ask anybody for anything.
func silent(guest *netnstest.NS) {
	guest.Run("ip", "-6", "neigh", "replace", "fe80::5054:ff:fe00:1", "lladdr", "52:54:00:00:00:01", "dev", "eth0", "nud", "permanent")
}

// lent waits until an address of a guest's has its route.
func (h *host) lent(a netip.Addr) {
	h.t.Helper()
	netnstest.Eventually(h.t, 15*time.Second, "route to "+a.String(), func() error {
		if out := h.ns.Run("ip", "-6", "route", "show", a.String()+"/128", "proto", "83", "dev", "sx-web"); out == "" {
			return errors.New("none")
		}
		return nil
	})
}

// learnt is the lease of an address, nil if it has none.
func (h *host) learnt(a netip.Addr) *vnet.Lease {
	for _, o := range h.store.All(vnet.KindLease) {
		if l := o.(*vnet.Lease); l.Address == a {
			return l
		}
	}
	return nil
}

// TestProxiedHeals: a guest in a shared prefix whose address is not known, or no
// longer, and that says nothing of it, is found all the same.
func TestProxiedHeals(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	w := h.town("AdvAutonomous on;")
	h.start()
	web, ref := h.network("web")
	h.await(ref, vnet.StateRunning)
	h.active("web", vnet.EgressProxied)
	g := h.guest("g1", web)
	a := addressOf(t, g, "2001:db8:1:")
	pings(t, g, distant, a.String())
	silent(g)
	h.lent(a)

	t.Run("when its link is back", func(t *testing.T) {
		before := h.learnt(a).Updated
		h.ns.Run("ip", "link", "delete", "sx-web")
		netnstest.Eventually(t, 15*time.Second, "it is learnt anew, and nobody sends anything", func() error {
			if l := h.learnt(a); l == nil || !l.Updated.After(before) {
				return fmt.Errorf("%+v", l)
			}
			return nil
		})
		h.lent(a)
		pings(t, g, distant, a.String())
	})
	t.Run("when it sends", func(t *testing.T) {
		one := netip.MustParseAddr("2001:db8:1::71")
		g.Run("ip", "addr", "add", one.String()+"/128", "dev", "eth0", "nodad")
		pings(t, g, distant, one.String())
		h.lent(one)
	})
	t.Run("when the outside wants it", func(t *testing.T) {
		one := netip.MustParseAddr("2001:db8:1::72")
		g.Run("ip", "addr", "add", one.String()+"/128", "dev", "eth0", "nodad")
		if h.learnt(one) != nil {
			t.Error("it is known before anybody asked")
		}
		if out, err := w.isp.Try("ping", "-6", "-n", "-c", "1", "-W", "5", one.String()); err != nil {
			t.Errorf("the first packet is lost: %v\n%s", err, out)
		}
		h.lent(one)
	})
	t.Run("when it was made while nobody listened", func(t *testing.T) {
		h.stop()
		one := netip.MustParseAddr("2001:db8:1::73")
		g.Run("ip", "addr", "add", one.String()+"/128", "dev", "eth0", "nodad")
		h.start()
		pings(t, g, distant, one.String())
		pings(t, w.other, one.String(), "")
	})
	t.Run("whoever makes up an address gains nothing", func(t *testing.T) {
		g.Run("sysctl", "-qw", "net.ipv6.ip_nonlocal_bind=1")
		made := netip.MustParseAddr("2001:db8:1::74")
		if out, err := g.Try("ping", "-6", "-n", "-c", "4", "-i", "0.5", "-W", "1", "-I", made.String(), distant); err == nil {
			t.Errorf("it got out:\n%s", out)
		}
		if h.learnt(made) != nil {
			t.Error("it was learnt")
		}
	})
	h.online()
}
