package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/sextant-net/sextant/lab/topo"
)

// What the provider of the demo gives.
var (
	accessLink4 = netip.MustParsePrefix("192.0.2.1/24")
	accessLink6 = netip.MustParsePrefix("2001:db8:1::1/64")
	before      = netip.MustParsePrefix("2001:db8:1100::/56")
	after       = netip.MustParsePrefix("2001:db8:2200::/56")
)

// accessDemo is the demo of uplinks: a host, its provider, two guests.
type accessDemo struct {
	*demo
	provider *topo.Provider
	old, new netip.Prefix // what the network default had first, and has then
}

// uplinkSteps show how networks follow their provider.
func (d *demo) uplinkSteps() []step {
	a := &accessDemo{demo: d}
	return []step{
		{"A host behind a provider that has one /64 for all on the link", a.world},
		{"Networks find their own IPv6: they share that /64", a.share},
		{"The provider delegates a /56: each network has a /64 of its own", a.delegate},
		{"The provider changes the prefix, as some do every night", a.renumber},
		{"The daemon is killed, and comes back", a.crash},
		{"The cable is pulled: guests keep their network, and what they had comes back", a.unplug},
		{"What happened", a.story},
	}
}

func (a *accessDemo) world(ctx context.Context) error {
	if err := a.buildPeer(ctx); err != nil {
		return err
	}
	var err error
	if a.provider, err = a.lab.Provider(ctx, topo.ProviderConfig{Link4: accessLink4, Link6: accessLink6, Peer: []string{a.peer}}); err != nil {
		return err
	}
	if a.host, err = a.lab.Machine(topo.HostConfig{Uplink: "enp1s0", Bin: a.bin}); err != nil {
		return err
	}
	if err := a.provider.Advertise(ctx, topo.Advert{Prefixes: []string{accessLink6.Masked().String()}}); err != nil {
		return err
	}
	if err := a.provider.Plug(ctx, "to-host", a.host.Node, a.host.Uplink); err != nil {
		return err
	}
	if err := a.quiet(ctx, a.host.Node, "ip addr add 192.0.2.2/24 dev enp1s0; ip route add default via 192.0.2.1"); err != nil {
		return err
	}
	err = topo.Until(ctx, 20*time.Second, "the host's IPv6", func(ctx context.Context) error {
		return a.quiet(ctx, a.host.Node, "ip -6 route show default | grep -q . && ip -6 -o addr show dev enp1s0 scope global -tentative | grep -q inet6")
	})
	if err != nil {
		return err
	}
	_, err = a.sh(ctx, a.host.Node, "ip -brief address; ip -6 route show default")
	return err
}

// daemon starts it and waits until it is ready.
func (a *accessDemo) daemon(ctx context.Context) error {
	fmt.Fprintln(a.out, "host# sextant serve &")
	p, err := a.host.Serve()
	if err != nil {
		return err
	}
	return a.host.Ready(ctx, p)
}

func (a *accessDemo) share(ctx context.Context) error {
	if err := a.daemon(ctx); err != nil {
		return err
	}
	if _, err := a.sh(ctx, a.host.Node, "sextant uplink set enp1s0 settle=2s; sextant network create lab"); err != nil {
		return err
	}
	for _, g := range []*guest{{name: "alpha"}, {name: "beta"}} {
		network := map[string]string{"alpha": "default", "beta": "lab"}[g.name]
		if err := a.plug(ctx, g, network); err != nil {
			return err
		}
		if err := a.quiet(ctx, g.node, "ip link set eth0 up"); err != nil {
			return err
		}
	}
	a.stands(ctx, "default", "proxied")
	for _, g := range a.guests {
		a.checkSource(ctx, g, "shared", g.ask("6", topo.Server6, topo.Server6.String()), "2001:db8:1:")
	}
	_, err := a.sh(ctx, a.host.Node, "sextant status")
	return err
}

// stands waits until a network stands on a rung, and shows why.
func (a *accessDemo) stands(ctx context.Context, network, rung string) {
	command := "sextant network show " + network + " | grep -e mode6 -e why6"
	var out string
	err := topo.Until(ctx, 30*time.Second, network+" on "+rung, func(ctx context.Context) (err error) {
		out, err = a.host.Sh(ctx, command)
		if err == nil {
			err = contains("mode6: " + rung)(out)
		}
		return err
	})
	a.judge("host# "+command, err, out)
}

// serve has the provider delegate a prefix.
func (a *accessDemo) serve(ctx context.Context, p netip.Prefix) error {
	fmt.Fprintf(a.out, "provider# kea-dhcp6 … # it delegates %s\n", p)
	if err := a.provider.Delegate(ctx, topo.Delegator{Software: "kea", Pool: p, Preferred: 8, Valid: 600}); err != nil {
		return err
	}
	return a.provider.Route6(ctx, p, a.host.Node, a.host.Uplink)
}

// has waits until a network has a /64 of a delegated prefix, and returns it.
func (a *accessDemo) has(ctx context.Context, network string, of netip.Prefix) (found netip.Prefix) {
	command := "sextant prefix list"
	err := topo.Until(ctx, 30*time.Second, network+" in "+of.String(), func(ctx context.Context) error {
		out, err := a.host.Sh(ctx, command)
		for line := range strings.Lines(out) {
			f := strings.Fields(line)
			if p, bad := netip.ParsePrefix(f[0]); bad == nil && of.Contains(p.Addr()) && p.Bits() == 64 && f[1] == network && strings.Contains(line, " active ") {
				found = p
				return nil
			}
		}
		return fmt.Errorf("not among\n%s: %w", out, err)
	})
	a.judge(network+" has a /64 of "+of.String(), err, found.String())
	return found
}

func (a *accessDemo) delegate(ctx context.Context) error {
	if err := a.serve(ctx, before); err != nil {
		return err
	}
	a.stands(ctx, "default", "delegated")
	a.old = a.has(ctx, "default", before)
	a.has(ctx, "lab", before)
	for _, g := range a.guests {
		a.checkSource(ctx, g, "delegated", g.ask("6", topo.Server6, topo.Server6.String()), "2001:db8:1100:")
	}
	_, err := a.sh(ctx, a.host.Node, "sextant uplink list; sextant prefix list; ip -6 route show type unreachable")
	return err
}

func (a *accessDemo) renumber(ctx context.Context) error {
	alpha := a.guests[0]
	conn, err := alpha.node.Start("hold", a.peer, "hold", netip.AddrPortFrom(topo.Server6, 7).String())
	if err != nil {
		return err
	}
	if err := a.serve(ctx, after); err != nil {
		return err
	}
	if err := a.provider.Unroute6(ctx, before); err != nil {
		return err
	}
	a.new = a.has(ctx, "default", after)
	for _, g := range a.guests {
		a.checkSource(ctx, g, "renumbered", g.ask("6", topo.Server6, topo.Server6.String()), "2001:db8:2200:")
	}
	wait, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err = conn.Wait(wait)
	if wait.Err() == nil {
		err = nil // it ended, with an error of its own
	}
	a.judge("what alpha said with its old address was reset, and does not hang", err, "connection reset")
	_, err = a.sh(ctx, alpha.node, "ip -6 -o addr show dev eth0 scope global | cut -c1-110")
	return err
}

func (a *accessDemo) crash(ctx context.Context) error {
	if _, err := a.sh(ctx, a.host.Node, "kill -9 $(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/' /run/sextant/*.pid)"); err != nil {
		return err
	}
	if err := a.daemon(ctx); err != nil {
		return err
	}
	now, err := a.has(ctx, "default", after), error(nil)
	if now != a.new {
		err = fmt.Errorf("it is %v, and was %v", now, a.new)
	}
	a.judge("it is the same as before", err, now.String())
	return nil
}

func (a *accessDemo) unplug(ctx context.Context) error {
	fmt.Fprintln(a.out, "provider# ip link set to-host down")
	if err := a.provider.Carrier(ctx, "to-host", false); err != nil {
		return err
	}
	if _, err := a.sh(ctx, a.host.Node, "ip -6 route flush default dev enp1s0 # as whoever manages the link does"); err != nil {
		return err
	}
	a.stands(ctx, "default", "ula")
	// Other networks are beyond a router that is none any more (RFC 7084 G-4).
	alpha := a.guests[0]
	prefix, err := alpha.sh(ctx, "ip -6 route show dev eth0 | grep -o '^fd[^/ ]*::' | head -1")
	if err != nil {
		return fmt.Errorf("%w: %s", err, prefix)
	}
	command := "ping -6 -c 1 -W 3 " + firstLine(prefix) + "1"
	out, err := a.patient(ctx, alpha, command, anything)
	a.judge("alpha# "+command, err, firstLine(out))
	fmt.Fprintln(a.out, "provider# ip link set to-host up")
	if err := a.provider.Carrier(ctx, "to-host", true); err != nil {
		return err
	}
	a.stands(ctx, "default", "delegated")
	a.checkSource(ctx, alpha, "back", alpha.ask("6", topo.Server6, topo.Server6.String()), "2001:db8:2200:")
	return nil
}

func (a *accessDemo) story(ctx context.Context) error {
	_, err := a.sh(ctx, a.host.Node, "sextant events | grep -e ' rung ' -e ' prefix ' -e ' delegation ' -e ' uplink ' | cut -c1-180")
	return err
}
