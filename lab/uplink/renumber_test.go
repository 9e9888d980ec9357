package uplink

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sextant-net/sextant/lab/topo"
)

const (
	stop   = syscall.SIGSTOP
	resume = syscall.SIGCONT
)

// brief has what is delegated renewed after seconds.
func brief(software string, pool netip.Prefix) topo.Delegator {
	return topo.Delegator{Software: software, Pool: pool, Preferred: 10, Valid: 300}
}

// noAddress is an advertisement by which hosts get no address by themselves.
func noAddress(c topo.ProviderConfig) *topo.Advert {
	return &topo.Advert{Prefixes: []string{onLink(c) + " AdvAutonomous off;"}}
}

// byHand gives the host an address on the provider's link.
func (w *world) byHand(a *access) {
	w.t.Helper()
	c := a.Config.Link6
	w.sh(fmt.Sprintf("ip -6 addr add %s dev %s nodad", netip.PrefixFrom(c.Addr().Next(), c.Bits()), a.link))
}

// forgotten waits until the guest does not use the prefix for anything new.
func (w *world) forgotten(n *topo.Node, p netip.Prefix) {
	w.t.Helper()
	w.eventually(renumbering, fmt.Sprintf("%s does not use %s any more", n.Name, p), func() error {
		if a := w.in(n, p); a.IsValid() {
			return fmt.Errorf("it prefers %v", a)
		}
		return nil
	})
}

// TestDelegationChanges: the provider delegates another prefix and carries the
// old one no more. Guests have new addresses, what they said with the old ones
// is reset, and what they say among themselves goes on.
func TestDelegationChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2*time.Minute, "wan")
	isp := w.access(first, w.host.Uplink, noAddress(first))
	w.byHand(isp)
	w.delegates(isp, brief("kea", pool1))
	kept := w.watched(isp)
	w.settled(isp)
	alpha, beta := w.guest("alpha", "default"), w.guest("beta", "default")
	w.stands("default", "delegated", pool1.String())
	old := w.holds("default", pool1, "active")
	w.usable(alpha, old)
	b := w.usable(beta, old)
	_, err := beta.Start("echo", peerBinary, "echo", "[::]:7")
	w.ok(err)
	w.eventually(patience, "beta's echo", func() error {
		_, err := alpha.Sh(w.ctx, fmt.Sprintf("nc -z -w 1 %s 7", b))
		return err
	})
	outside, inside := w.hold(alpha, topo.Server6), w.hold(alpha, b)
	w.delegates(isp, brief("kea", pool2))
	w.ok(isp.Unroute6(w.ctx, pool1))
	now := w.holds("default", pool2, "active")
	w.usable(alpha, now)
	w.usable(beta, now)
	w.forgotten(alpha, old)
	outside.breaks("the old prefix is carried no more")
	inside.lives("guests among themselves")
	w.holds("default", pool1, "deprecated")
	w.eventually(patience, "DNS has the new addresses", func() error {
		gateway := w.gateway("default", now)
		out, err := alpha.Sh(w.ctx, fmt.Sprintf("dig +short +time=1 +tries=1 AAAA beta.default.internal @%s", gateway))
		if err == nil && (!strings.Contains(out, w.in(beta, now).String()) || strings.Contains(out, b.String())) {
			err = fmt.Errorf("%q", out)
		}
		return err
	})
	if out := w.sh("ip -6 route show type unreachable"); !strings.Contains(out, pool2.String()) {
		t.Errorf("no unreachable route for the new aggregate:\n%s", out)
	}
	w.told("default "+old.String()+" "+now.String(), isp.link+" "+pool2.String())
	kept("all of it")
}

// gateway is the network's gateway address in a prefix.
func (w *world) gateway(name string, p netip.Prefix) netip.Addr {
	w.t.Helper()
	var n network
	w.ok(w.json(&n, "sextant network show "+name))
	for _, g := range n.Status.Gateways {
		if p.Contains(g.Addr()) {
			return g.Addr()
		}
	}
	w.t.Fatalf("%s has no gateway in %v: %v", name, p, n.Status.Gateways)
	return netip.Addr{}
}

// TestGivenPrefixChanges: the host's own DHCPv6 client writes what it is
// delegated into a file. The old prefix is valid for a while: what was begun
// with it goes on. DHCPv6 leases follow, with the same interface identifier.
func TestGivenPrefixChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2*time.Minute, "enp1s0")
	isp := w.access(first, w.host.Uplink, &topo.Advert{Prefixes: []string{onLink(first)}})
	w.ok(isp.Route6(w.ctx, pool1, w.host.Node, isp.link))
	w.ok(isp.Route6(w.ctx, pool2, w.host.Node, isp.link))
	kept := w.watched(isp)
	w.sh("echo '" + pool1.String() + " 3600 7200' >/run/prefixes")
	w.settled(isp)
	w.sh("sextant uplink set " + isp.link + " ask=off file=/run/prefixes")
	alpha := w.guest("alpha", "default")
	w.stands("default", "delegated", pool1.String(), "/run/prefixes")
	old := w.holds("default", pool1, "active")
	w.usable(alpha, old)
	w.on(alpha, "dhclient -6 -nw -D LL eth0")
	leased := func(p netip.Prefix) (a netip.Addr) {
		w.eventually(patience, "alpha's lease in "+p.String(), func() error {
			var list []struct {
				Address netip.Addr
				How     string
			}
			if err := w.json(&list, "sextant lease list network=default"); err != nil {
				return err
			}
			for _, l := range list {
				if l.How == "dhcpv6" && p.Contains(l.Address) {
					a = l.Address
					return nil
				}
			}
			return fmt.Errorf("%v", list)
		})
		return a
	}
	before := leased(old)
	conn := w.hold(alpha, topo.Server6)
	w.sh("printf '%s\n' '" + pool1.String() + " 0 3600' '" + pool2.String() + " 3600 7200' >/run/prefixes.new; mv /run/prefixes.new /run/prefixes")
	now := w.holds("default", pool2, "active")
	w.usableOn(alpha, now)
	w.on(alpha, "dhclient -6 -r eth0; dhclient -6 -nw -D LL eth0") // by itself it renews at T1
	x, y := before.As16(), leased(now).As16()
	if [8]byte(x[8:]) != [8]byte(y[8:]) {
		t.Errorf("the lease was %v and is %v: another interface identifier", before, netip.AddrFrom16(y))
	}
	w.forgotten(alpha, old)
	w.seenIn(alpha, now)
	conn.lives("the old prefix is valid upstream")
	w.sh("echo '" + pool2.String() + " 3600 7200' >/run/prefixes.new; mv /run/prefixes.new /run/prefixes")
	kept("all of it")
}

// TestDelegationChangesWhileOff: host and provider were both off, and what the
// host was delegated is somebody else's now.
func TestDelegationChangesWhileOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2*time.Minute, "enp0s3.100")
	isp := w.access(first, w.host.Uplink, &topo.Advert{Prefixes: []string{onLink(first)}})
	w.delegates(isp, brief("dhcpd", pool1))
	kept := w.watched(isp)
	w.settled(isp)
	alpha := w.guest("alpha", "default")
	old := w.holds("default", pool1, "active")
	w.usable(alpha, old)
	conn := w.hold(alpha, topo.Server6)
	w.kill()
	w.delegates(isp, brief("kea", pool2))
	w.ok(isp.Unroute6(w.ctx, pool1))
	w.serve(w.flags...)
	now := w.holds("default", pool2, "active")
	w.usable(alpha, now)
	w.forgotten(alpha, old)
	conn.breaks("the old prefix is somebody else's")
	w.told("default " + old.String() + " " + now.String())
	kept("all of it")
}

// TestKilledWhileRenumbering: the daemon is killed at the worst moment, again
// and again, and it comes out the same.
func TestKilledWhileRenumbering(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2*time.Minute, "enp6s0f1np1")
	isp := w.access(first, w.host.Uplink, &topo.Advert{Prefixes: []string{onLink(first)}})
	w.delegates(isp, brief("kea", pool1))
	kept := w.watched(isp)
	w.settled(isp)
	alpha := w.guest("alpha", "default")
	old := w.holds("default", pool1, "active")
	w.usable(alpha, old)
	w.delegates(isp, brief("kea", pool2))
	for range 3 {
		w.eventually(patience, "something of the new prefix", func() error {
			out, err := w.host.Sh(w.ctx, "ip -6 route show; sextant prefix list")
			if err == nil && !strings.Contains(out, "2001:db8:22") {
				err = fmt.Errorf("%s", out)
			}
			return err
		})
		w.kill()
		w.serve(w.flags...)
	}
	now := w.holds("default", pool2, "active")
	w.usable(alpha, now)
	w.forgotten(alpha, old)
	w.holds("default", pool1, "deprecated")
	if n := len(w.held("default", pool2)); n != 1 {
		t.Errorf("%d prefixes of the new delegation are held", n)
	}
	kept("all of it")
}

// held are the prefixes within a larger one that the host holds for a network.
func (w *world) held(name string, within netip.Prefix) []netip.Prefix {
	w.t.Helper()
	var list []struct {
		Network string
		Prefix  netip.Prefix
	}
	w.ok(w.json(&list, "sextant prefix list"))
	var out []netip.Prefix
	for _, p := range list {
		if p.Network == name && p.Prefix.Bits() >= within.Bits() && within.Contains(p.Prefix.Addr()) {
			out = append(out, p.Prefix)
		}
	}
	return out
}

// TestDelegationLost: the server forgets the host, and comes back.
func TestDelegationLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2*time.Minute, "wan10")
	isp := w.access(first, w.host.Uplink, noAddress(first))
	w.byHand(isp)
	d := topo.Delegator{Software: "kea", Pool: pool1, Preferred: 6, Valid: 10}
	w.delegates(isp, d)
	kept := w.watched(isp)
	w.settled(isp)
	alpha := w.guest("alpha", "default")
	old := w.holds("default", pool1, "active")
	w.usable(alpha, old)
	w.ok(isp.Undelegate(w.ctx))
	w.stands("default", "nat66", "delegated")
	w.forgotten(alpha, old)
	w.seenIn(alpha, first.Link6.Masked())
	d.Preferred, d.Valid = 100, 200
	w.delegates(isp, d)
	w.stands("default", "delegated", pool1.String())
	if now := w.holds("default", pool1, "active"); now != old {
		t.Errorf("default has %v, and had %v", now, old)
	}
	w.usable(alpha, old)
	w.told("default nat66", "default delegated "+pool1.String())
	kept("all of it")
}
