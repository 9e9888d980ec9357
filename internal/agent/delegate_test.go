package agent_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// routedV6 puts a started network into the store that routes a prefix, and
// delegates prefixes of another one.
func (h *host) routedV6() (*vnet.Network, vnet.Ref) {
	n := &vnet.Network{
		Meta: vnet.Meta{ID: "pub", Name: "pub", Project: "p1"}, Bridge: "sx-pub", Number: 2, MAC: vnet.MAC{0x52, 0x54, 0, 0, 0, 2},
		IPv4: vnet.FamilyPolicy{Mode: vnet.EgressNone}, IPv6: vnet.FamilyPolicy{Mode: vnet.EgressRouted},
		Admit: vnet.AdmitAny, LeaseTime: vnet.Duration(vnet.DefaultLease),
	}
	h.store.Put(n, &vnet.Activation{Meta: vnet.Meta{ID: "pub-a"}, Network: n.ID, Host: "h1", Started: true},
		&vnet.Subnet{Meta: vnet.Meta{ID: "pub-6"}, Network: n.ID, Family: vnet.IPv6, Source: vnet.SourceFixed,
			Prefix: netip.MustParsePrefix("2001:db8:7::/64"), Guests: vnet.GuestsSLAACStateful, Primary: true},
		&vnet.Subnet{Meta: vnet.Meta{ID: "pub-pd"}, Network: n.ID, Family: vnet.IPv6, Source: vnet.SourceFixed,
			Prefix: netip.MustParsePrefix("2001:db8:7:100::/56"), Guests: vnet.GuestsDelegation, Delegate: 64})
	return n, vnet.RefOf(n)
}

// TestDelegatedPrefix: whoever leases a prefix is reached in it and reaches the
// outside from it, as long as the lease lasts; nobody else does from there.
func TestDelegatedPrefix(t *testing.T) {
	netnstest.NeedCommands(t, "ping")
	h := newHost(t)
	up, guest := netnstest.New(t, "pdup"), netnstest.New(t, "pdguest")
	netnstest.Veth(h.ns, "eth6", up, "eth0")
	h.ns.Run("sh", "-c", "ip addr add 2001:db8:ffff::2/64 dev eth6 nodad; ip route add default via 2001:db8:ffff::1")
	up.Run("sh", "-c", "ip addr add 2001:db8:ffff::1/64 dev eth0 nodad; ip route add 2001:db8:7::/48 via 2001:db8:ffff::2")
	h.start()
	n, ref := h.routedV6()
	port := &vnet.Port{Meta: vnet.Meta{ID: "cpe", Name: "cpe", Project: "p1"}, Network: n.ID, MAC: vnet.MAC{2, 0, 0, 0, 0, 9},
		Binding: &vnet.Binding{Host: "h1", Plug: vnet.PlugVeth, Netns: guest.Path(), Device: "eth0"}}
	h.store.Put(port)
	h.await(ref, vnet.StateRunning)
	h.await(vnet.RefOf(port), vnet.StateRunning)
	guest.Run("sh", "-c", `set -e
sysctl -qw net.ipv6.conf.all.forwarding=1
ip addr add fe80::9/64 dev eth0 nodad
for p in 101 102; do ip addr add 2001:db8:7:$p::5/128 dev lo nodad; done
ip route replace default via fe80::5054:ff:fe00:2 dev eth0`)
	ping := func(ns *netnstest.NS, from, to string) error {
		_, err := ns.Try("ping", "-6", "-c1", "-W1", "-I", from, to)
		return err
	}
	if err := ping(up, "2001:db8:ffff::1", "2001:db8:7:101::5"); err == nil {
		t.Error("a prefix that nobody leases is reached")
	}
	lease := func(expires time.Time) *vnet.Lease {
		return &vnet.Lease{Meta: vnet.Meta{ID: "pd", Project: "p1"}, Network: n.ID, Subnet: "pub-pd", Port: port.ID, Host: "h1",
			Address: netip.MustParseAddr("2001:db8:7:101::"), Length: 64, Via: netip.MustParseAddr("fe80::9"),
			Family: vnet.IPv6, How: vnet.HowDHCPv6, MAC: port.MAC, Expires: expires}
	}
	h.store.Put(lease(time.Now().Add(time.Hour)))
	netnstest.Eventually(t, 10*time.Second, "the prefix is reached", func() error {
		return ping(up, "2001:db8:ffff::1", "2001:db8:7:101::5")
	})
	if err := ping(guest, "2001:db8:7:101::5", "2001:db8:ffff::1"); err != nil {
		t.Errorf("the outside is not reached from it: %v\n%s", err, h.show())
	}
	if err := ping(guest, "2001:db8:7:102::5", "2001:db8:ffff::1"); err == nil {
		t.Error("the outside is reached from a prefix that the guest does not lease")
	}
	routes := func() string { return h.ns.Run("ip", "-6", "route", "show", "proto", "83") }
	if got := routes(); !strings.Contains(got, "unreachable 2001:db8:7:100::/56") || !strings.Contains(got, "2001:db8:7:101::/64 via fe80::9 dev sx-pub") {
		t.Errorf("routes\n%s", got)
	}
	netnstest.Eventually(t, 10*time.Second, "DAD is over", func() error {
		if got := h.ns.Run("ip", "-6", "addr", "show", "tentative"); got != "" {
			return errors.New(got)
		}
		return nil
	})
	h.stop()
	changes := h.monitor()
	h.start()
	h.store.Put(&vnet.Port{Meta: vnet.Meta{ID: "unbound", Name: "unbound", Project: "p1"}, Network: n.ID, MAC: vnet.MAC{2, 0, 0, 0, 0, 8}})
	h.await(vnet.Ref{Kind: vnet.KindPort, ID: "unbound"}, vnet.StateStopped)
	if seen := changes(); seen != "" {
		t.Errorf("the agent's start changed the host:\n%s", seen)
	}

	h.store.Put(lease(time.Now().Add(-time.Second)))
	netnstest.Eventually(t, 10*time.Second, "the route ends with the lease", func() error {
		if got := routes(); strings.Contains(got, ":101::") {
			return errors.New(got)
		}
		return nil
	})
	netnstest.Eventually(t, 30*time.Second, "the lease is given back", func() error {
		for _, o := range h.store.All(vnet.KindLease) { // the guest's own address may be among them
			if l := o.(*vnet.Lease); l.Length > 0 {
				return fmt.Errorf("%+v", l)
			}
		}
		return nil
	})
	h.store.Put(lease(time.Now().Add(time.Hour)))
	netnstest.Eventually(t, 10*time.Second, "it is leased again", func() error {
		return ping(up, "2001:db8:ffff::1", "2001:db8:7:101::5")
	})
	h.store.Put(&vnet.Activation{Meta: vnet.Meta{ID: "pub-a"}, Network: n.ID, Host: "h1"})
	h.await(ref, vnet.StateStopped)
	if got := routes(); strings.TrimSpace(got) != "" {
		t.Errorf("left behind:\n%s", got)
	}
}
