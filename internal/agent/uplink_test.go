package agent_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// active waits until a network has an active prefix of a rung, and returns it.
func (h *host) active(id string, rung vnet.Egress) *vnet.PrefixAssignment {
	h.t.Helper()
	var found *vnet.PrefixAssignment
	netnstest.Eventually(h.t, 20*time.Second, string(rung)+" prefix of "+id, func() error {
		for _, o := range h.store.All(vnet.KindAssignment) {
			if as := o.(*vnet.PrefixAssignment); string(as.Network) == id && as.Rung == rung && as.State == vnet.PrefixActive {
				found = as
				return nil
			}
		}
		return errors.New("none")
	})
	return found
}

// TestDelegated: a guest gets an address in what the provider delegates, is
// reached in it, and keeps it over the agent's restart; a new delegation takes
// its place at once.
func TestDelegated(t *testing.T) {
	h := newHost(t)
	p := h.provider("wan")
	p.delegates("2001:db8:100::", 56, "")
	h.start()
	n, ref := h.network("web")
	h.await(ref, vnet.StateRunning)
	first := h.active("web", vnet.EgressDelegated)
	if first.Prefix.String() != "2001:db8:100:1::/64" || first.Uplink != "wan" {
		t.Errorf("%+v", first)
	}
	guest := h.guest("g1", n)
	reaches(t, guest, "2001:db8:100:1:")
	reaches(t, guest, "fd12:3456:789a:1:") // masqueraded
	h.online()
	if got := h.ns.Run("ip", "-6", "route", "show", "proto", "83"); !strings.Contains(got, "unreachable 2001:db8:100::/56") {
		t.Errorf("what no network has of the delegation goes back to the provider:\n%s", got)
	}
	netnstest.Eventually(t, 5*time.Second, "status", func() error {
		if st := h.store.Status(ref, "h1"); st.Rung6 != vnet.EgressDelegated || !strings.Contains(st.Why6, "2001:db8:100::/56") || len(st.Prefixes) != 3 {
			return errors.New(st.Why6)
		}
		return nil
	})

	// Killed and started again: nothing changes, and nobody need be asked.
	netnstest.Eventually(t, 10*time.Second, "DAD is over", func() error {
		if got := h.ns.Run("ip", "-6", "addr", "show", "tentative"); got != "" {
			return errors.New(got)
		}
		return nil
	})
	h.stop()
	p.silent()
	changes := h.monitor()
	claimed := h.store.All(vnet.KindAssignment)
	h.start()
	h.store.Put(&vnet.Port{Meta: vnet.Meta{ID: "unbound", Name: "unbound", Project: "p1"}, Network: n.ID, MAC: vnet.MAC{2, 0, 0, 0, 0, 8}})
	h.await(vnet.Ref{Kind: vnet.KindPort, ID: "unbound"}, vnet.StateStopped)
	if seen := changes(); seen != "" {
		t.Errorf("the agent's start changed the host:\n%s", seen)
	}
	if now := h.store.All(vnet.KindAssignment); len(now) != len(claimed) {
		t.Errorf("%d assignments, were %d", len(now), len(claimed))
	}
	reaches(t, guest, "2001:db8:100:1:")

	// The network ends, and with it all that was there for its prefix.
	h.store.Put(&vnet.Activation{Meta: vnet.Meta{ID: "web-a"}, Network: n.ID, Host: "h1"})
	h.await(ref, vnet.StateStopped)
	if got := h.ns.Run("ip", "-6", "route", "show", "proto", "83"); strings.TrimSpace(got) != "" {
		t.Errorf("left behind:\n%s", got)
	}
	h.online()
}

// given is a policy that gives the prefixes by hand.
func given(prefixes ...string) *vnet.UplinkPolicy {
	p := &vnet.UplinkPolicy{Meta: vnet.Meta{ID: "wan", Name: "wan"}, Host: "h1", Ask: vnet.AskOff}
	for _, s := range prefixes {
		p.Prefixes = append(p.Prefixes, netip.MustParsePrefix(s))
	}
	return p
}

// TestRenumbering: when another prefix takes the place of the one before, every
// guest has an address in it, with the same interface identifier; what guests
// began with the old one is reset as soon as no uplink carries it, and goes on
// between guests.
func TestRenumbering(t *testing.T) {
	h := newHost(t)
	p := h.provider("wan")
	p.Run("ip", "-6", "route", "add", "2001:db8:100::/40", "via", "2001:db8:1::2")
	h.store.Put(given("2001:db8:100::/56"))
	h.start()
	n, ref := h.network("web")
	h.await(ref, vnet.StateRunning)
	first := h.active("web", vnet.EgressDelegated)
	guest := h.guest("g1", n)
	reaches(t, guest, "2001:db8:100:1:")
	conn := h.connect(p, guest, "2001:db8:100:1:")

	h.store.Put(given("2001:db8:100::/56", "2001:db8:180::/56"))
	netnstest.Eventually(t, 10*time.Second, "the new prefix is known", func() error {
		if s := h.uplink("wan"); s == nil || len(s.Delegations) != 2 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	if err := talk(conn); err != nil {
		t.Errorf("a second prefix ends what goes on: %v", err)
	}
	h.store.Put(given("2001:db8:180::/56"))
	reaches(t, guest, "2001:db8:180:1:")
	has(t, guest, "2001:db8:100:1:", false)
	if now := h.active("web", vnet.EgressDelegated); now.Prefix.String() != "2001:db8:180:1::/64" {
		t.Errorf("%v took the place of %v, want the same number", now.Prefix, first.Prefix)
	}
	netnstest.Eventually(t, 10*time.Second, "the connection is reset", func() error {
		if err := talk(conn); !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) {
			return fmt.Errorf("got %v", err)
		}
		return nil
	})
	other := h.guest("g2", n)
	has(t, other, "2001:db8:180:1:", true)
	if out, err := other.Try("ping", "-6", "-c1", "-W2", address(t, guest, "2001:db8:100:1:")); err != nil {
		t.Errorf("the old address is not the guest's any more: %v %s", err, out)
	}
	h.online()

	// Back again: the address is preferred once more.
	h.store.Put(given("2001:db8:100::/56"))
	reaches(t, guest, "2001:db8:100:1:")
	has(t, guest, "2001:db8:180:1:", false)

	// Nothing is given any more: there is still a way out.
	h.store.Put(given())
	has(t, guest, "2001:db8:100:1:", false)
	reaches(t, guest, "fd12:3456:789a:1:")
	if st := h.await(ref, vnet.StateRunning); st.Rung6 != vnet.EgressNAT66 || !strings.Contains(st.Why6, "RFC 6724") {
		t.Errorf("stands on %s: %s", st.Rung6, st.Why6)
	}
	for _, want := range []string{"delegation", "prefix", "rung"} {
		if !slices.Contains(h.events(), want) {
			t.Errorf("no event %q among %q", want, h.events())
		}
	}
}

// TestPinned: guests leave by the pinned uplink, and the host as before.
func TestPinned(t *testing.T) {
	h := newHost(t)
	p := h.provider("wan")
	p.Run("ip", "-6", "route", "add", "2001:db8:100::/40", "via", "2001:db8:1::2")
	other := netnstest.New(t, "isp2")
	netnstest.Veth(h.ns, "vpn", other, "cust")
	other.Run("sh", "-c", "ip addr add 2001:db8:2::1/64 dev cust nodad; ip addr add 203.0.113.129/25 dev cust; ip addr add 2001:db8:ffff::1/128 dev lo")
	h.ns.Run("sh", "-c", "ip addr add 2001:db8:2::2/64 dev vpn nodad; ip -6 route add default via 2001:db8:2::1 dev vpn metric 1")
	h.store.Put(given("2001:db8:100::/56"))
	h.start()
	n, ref := h.network("web")
	if st := h.await(ref, vnet.StateRunning); st.Rung6 != vnet.EgressNAT66 {
		t.Errorf("stands on %s, though the prefix is the other uplink's", st.Rung6)
	}
	guest := h.guest("g1", n)
	pinned := given("2001:db8:100::/56")
	pinned.Pinned, pinned.Settle = vnet.PinnedIPv6, vnet.Duration(time.Second)
	h.store.Put(pinned)
	h.active("web", vnet.EgressDelegated)
	reaches(t, guest, "2001:db8:100:1:")
	if out := h.ns.Run("ip", "-6", "route", "get", "2001:db8:ffff::1"); !strings.Contains(out, "dev vpn") {
		t.Errorf("the host's own packets leave elsewhere: %s", out)
	}
	if u := h.uplink("wan"); u == nil || !u.Pinned || !u.V6 {
		t.Errorf("reported: %+v", u)
	}
	h.online()
	// The pinned one loses its way out.
	h.ns.Run("ip", "-6", "route", "delete", "default", "dev", "wan")
	netnstest.Eventually(t, 10*time.Second, "guests leave as the host does", func() error {
		if out := h.ns.Run("ip", "-6", "rule"); strings.Contains(out, "8383") {
			return errors.New(out)
		}
		return nil
	})
	netnstest.Eventually(t, 10*time.Second, "it is said", func() error {
		if u := h.uplink("wan"); u == nil || len(u.Problems) == 0 {
			return fmt.Errorf("%+v", u)
		}
		return nil
	})
	reaches(t, guest, "fd12:3456:789a:1:")
}

// TestAskedBeside: where a DHCPv6 client of the host gives pieces of a delegated
// prefix to other links, no second one is asked for, unless somebody says so;
// one that is held for nothing is in nobody's way.
func TestAskedBeside(t *testing.T) {
	h := newHost(t)
	p := h.provider("wan")
	p.delegates("2001:db8:100::", 56, "")
	h.ns.Run("sh", "-c", "ip -6 route add unreachable 2001:db8:900::/56 proto dhcp; ip link add lan type bridge; ip addr add 2001:db8:900:5::1/64 dev lan nodad")
	h.start()
	_, ref := h.network("web")
	h.await(ref, vnet.StateRunning)
	netnstest.Eventually(t, 10*time.Second, "it is said", func() error {
		if u := h.uplink("wan"); u == nil || len(u.Problems) == 0 || !strings.Contains(u.Problems[0].Msg, "2001:db8:900::/56") {
			return fmt.Errorf("%+v", u)
		}
		return nil
	})
	if u := h.uplink("wan"); len(u.Delegations) != 0 {
		t.Errorf("asked all the same: %+v", u.Delegations)
	}
	h.ns.Run("ip", "addr", "flush", "dev", "lan")
	netnstest.Eventually(t, 20*time.Second, "asked", func() error {
		if u := h.uplink("wan"); len(u.Delegations) != 1 || len(u.Problems) != 0 {
			return fmt.Errorf("%+v", u)
		}
		return nil
	})
	// What is held is not given up because another client comes.
	h.ns.Run("ip", "addr", "add", "2001:db8:900:5::1/64", "dev", "lan", "nodad")
	h.active("web", vnet.EgressDelegated)

	h.store.Put(given())
	netnstest.Eventually(t, 10*time.Second, "given back", func() error {
		if u := h.uplink("wan"); len(u.Delegations) != 0 {
			return fmt.Errorf("%+v", u)
		}
		if b, err := os.ReadFile(h.state + "/agent-uplinks.json"); err != nil || strings.Contains(string(b), "2001:db8:100") {
			return fmt.Errorf("kept: %s %v", b, err)
		}
		return nil
	})
}
