package uplink

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/lab/topo"
)

// mac is a link's of the host.
func (w *world) mac(link string) string {
	w.t.Helper()
	return w.sh("cat /sys/class/net/" + link + "/address")
}

// neighbour is another machine on the provider's link.
func (w *world) neighbour(a *access, name string) *topo.Node {
	w.t.Helper()
	n, err := w.lab.Node(name)
	w.ok(err)
	w.ok(a.Plug(w.ctx, "to-"+name, n, "eth0"))
	return n
}

// TestOnLink: the provider's only prefix is the link's, which two networks
// share with the host and its neighbours: on a link as it is at home, where
// routers say that the prefix is not on-link, and at a provider that takes
// frames of the host's MAC only, forgets everybody in seconds and asks again by
// unicast.
func TestOnLink(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, uplink, flags string
		picky               bool
	}{
		{"at home", "enp0s25", "", false},
		{"not on-link", "eth", " AdvOnLink off;", false},
		{"picky", "ens3", " AdvOnLink off;", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2*time.Minute, c.uplink)
			isp := w.access(first, c.uplink, &topo.Advert{Prefixes: []string{onLink(first) + c.flags}})
			if c.picky {
				w.ok(isp.Pick(w.ctx, isp.port, w.mac(c.uplink), true))
			}
			w.shares(isp, c.picky)
		})
	}
}

// shares judges two networks on the on-link prefix.
func (w *world) shares(isp *access, picky bool) {
	w.t.Helper()
	link := first.Link6.Masked()
	kept := w.watched(isp)
	w.settled(isp)
	w.sh("sextant network create lab")
	w.stands("default", "proxied", link.String(), isp.link)
	w.stands("lab", "proxied", link.String())
	alpha, beta := w.guest("alpha", "default"), w.guest("beta", "lab")
	a, b := w.usable(alpha, link), w.usable(beta, link)
	w.reaches(alpha, b.String())
	w.reaches(beta, a.String())
	for range 3 { // the router forgets, and has to ask
		w.on(isp.Node, "ip -6 neigh flush dev wan0")
		w.reaches(isp.Node, a.String())
		w.reaches(isp.Node, b.String())
	}
	if out := w.on(alpha, "rdisc6 -1 eth0"); !strings.Contains(onlyPrefix(out, link), "On-link                 :           No") {
		w.t.Errorf("guests must not believe the shared prefix on-link:\n%s", out)
	}
	if out := w.sh("ip -6 -o addr show scope global | grep -v 'dev \\|" + isp.link + " ' | grep " + strings.TrimSuffix(link.Addr().String(), ":") + ": || true"); out != "" {
		w.t.Errorf("a gateway has an address of the shared prefix:\n%s", out)
	}
	if picky {
		// Sixteen seconds are longer than anything is remembered.
		out, err := alpha.Sh(w.ctx, fmt.Sprintf("ping -n -c 80 -i 0.2 -W 3 %s", topo.Server6))
		if err != nil || !strings.Contains(out, " 0% packet loss") {
			w.t.Errorf("the guest's packets to a provider that forgets: %v\n%s", err, out)
		}
		if n, err := isp.Picked(w.ctx); err != nil || n != "0" {
			w.t.Errorf("%s frames came from another MAC than the host's (%v)", n, err)
		}
		kept("all of it")
		return
	}
	nb := w.neighbour(isp, "neighbour")
	w.usableOn(nb, link)
	n := w.in(nb, link)
	w.reaches(alpha, n.String())
	w.reaches(nb, a.String())
	w.on(nb, "ip -6 addr add "+a.String()+"/64 dev eth0")
	w.eventually(patience, "nobody on the link can take a guest's address", func() error {
		out, err := nb.Sh(w.ctx, "ip -6 -o addr show dadfailed to "+a.String())
		if err == nil && out == "" {
			err = fmt.Errorf("%s", w.on(nb, "ip -6 addr show dev eth0"))
		}
		return err
	})
	kept("all of it")
	w.told(isp.link + " " + link.String())
}

// usableOn waits until a node that is no guest of ours has an address.
func (w *world) usableOn(n *topo.Node, p netip.Prefix) {
	w.t.Helper()
	w.eventually(patience, n.Name+" has an address in "+p.String(), func() error {
		if a := w.in(n, p); !a.IsValid() {
			return fmt.Errorf("it has %v", w.own(n))
		}
		return nil
	})
}

// onlyPrefix is what rdisc6 prints of one prefix.
func onlyPrefix(out string, p netip.Prefix) string {
	_, rest, _ := strings.Cut(out, " Prefix                   : "+p.String())
	if i := strings.Index(rest, " Prefix  "); i >= 0 {
		return rest[:i]
	}
	return rest
}

// TestWiFi: an access point takes frames of the host's MAC only. A network that
// is to be bridged there falls to what can be, and says so.
func TestWiFi(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Minute, "wlp2s0")
	isp := w.access(first, w.host.Uplink, &topo.Advert{Prefixes: []string{onLink(first)}})
	w.ok(isp.Pick(w.ctx, isp.port, w.mac(isp.link), false))
	kept := w.watched(isp)
	w.settled(isp)
	alpha := w.guest("alpha", "default")
	w.stands("default", "proxied", onLink(first))
	w.usable(alpha, first.Link6.Masked())
	w.sh("sextant network create wire ipv4=nat ipv6=bridged")
	w.stands("wire", "proxied", "shared")
	beta := w.guest("beta", "wire")
	w.usable(beta, first.Link6.Masked())
	w.reaches(alpha, w.in(beta, first.Link6.Masked()).String())
	w.address4(beta)
	w.seenIn(beta, first.Link4.Masked())
	if n, err := isp.Picked(w.ctx); err != nil || n != "0" {
		t.Errorf("%s frames came from another MAC than the host's (%v)", n, err)
	}
	kept("all of it")
}

// TestOnLink80: at a provider that gives a /64 and no advertisement by which
// anybody finds an address, a network has a /80 of it by name, and its guests
// theirs by DHCPv6 or by hand.
func TestOnLink80(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Minute, "eno1")
	isp := w.access(first, w.host.Uplink, noAddress(first))
	w.byHand(isp)
	w.ok(isp.Pick(w.ctx, isp.port, w.mac(isp.link), true))
	kept := w.watched(isp)
	w.settled(isp)
	w.stands("default", "nat66")
	part := prefix("2001:db8:1:0:80::/80")
	w.sh("sextant network create part ipv6=proxied ipv6.address=" + part.String())
	w.stands("part", "proxied", onLink(first))
	alpha, beta := w.plug("alpha", "network=part"), w.plug("beta", "network=part")
	w.linkLocal(alpha)
	w.on(alpha, "dhclient -6 -1 -D LL eth0")
	w.usableOn(alpha, part)
	w.seenIn(alpha, part)
	w.reaches(isp.Node, w.in(alpha, part).String())
	byHand := part.Addr().As16()
	byHand[15] = 0x99
	w.sh("sextant port set beta addresses=" + netip.AddrFrom16(byHand).String())
	w.linkLocal(beta)
	w.on(beta, "ip -6 addr add "+netip.AddrFrom16(byHand).String()+"/128 dev eth0")
	w.seenIn(beta, part)
	w.reaches(alpha, netip.AddrFrom16(byHand).String())
	if n, err := isp.Picked(w.ctx); err != nil || n != "0" {
		t.Errorf("%s frames came from another MAC than the host's (%v)", n, err)
	}
	kept("all of it")
}

// linkLocal waits until the guest may speak DHCPv6.
func (w *world) linkLocal(n *topo.Node) {
	w.t.Helper()
	w.eventually(patience, n.Name+" has a link-local address", func() error {
		_, err := n.Sh(w.ctx, "ip -6 -o addr show dev eth0 scope link -tentative | grep -q fe80")
		return err
	})
}
