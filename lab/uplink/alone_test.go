package uplink

import (
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/lab/topo"
)

// TestAddressOnly: the host has a /128 and nothing else. Guests share it.
func TestAddressOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Minute, "venet0")
	isp := w.access(first, w.host.Uplink, &topo.Advert{})
	single := prefix("2001:db8:128::5/128")
	w.sh("ip -6 addr add " + single.String() + " dev " + isp.link + " nodad")
	w.ok(isp.Route6(w.ctx, single, w.host.Node, isp.link))
	w.eventually(patience, "the host is online", func() error {
		_, err := w.host.Sh(w.ctx, "ping -n -c 1 -W 1 "+topo.Server6.String())
		return err
	})
	kept := w.watched(isp)
	w.settled(isp)
	w.stands("default", "nat66", isp.link, "no prefix is delegated", "a single address")
	w.seenIn(w.guest("alpha", "default"), single)
	if out := w.sh("sextant status"); !strings.Contains(out, "prefer IPv4") {
		t.Errorf("status does not say that hosts prefer IPv4 over unique local addresses:\n%s", out)
	}
	kept("all of it")
}

// TestNoUplinkAtFirst: guests have each other before there is any uplink. Then
// one appears, with everything.
func TestNoUplinkAtFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Minute, "late0")
	isp := w.isolated(first)
	w.serve()
	w.sh("sextant uplink set late0 settle=2s") // whose link is not there yet
	alpha, beta := w.guest("alpha", "default"), w.guest("beta", "default")
	w.stands("default", "ula", "uplink")
	w.eventually(patience, "beta has a unique local address", func() error {
		_, err := beta.Sh(w.ctx, "ip -6 -o addr show dev eth0 scope global -tentative | grep -q inet6")
		return err
	})
	conn := w.own(beta)[0]
	w.reaches(alpha, conn.String())
	w.ok(isp.Advertise(w.ctx, topo.Advert{Prefixes: []string{onLink(first)}}))
	w.ok(isp.Delegate(w.ctx, topo.Delegator{Software: "kea", Pool: pool1}))
	w.connect(isp, "late0", &topo.Advert{Prefixes: []string{onLink(first)}})
	w.ok(isp.Route6(w.ctx, pool1, w.host.Node, "late0"))
	kept := w.watched(isp)
	w.stands("default", "delegated", pool1.String())
	w.usable(alpha, pool1)
	w.reaches(alpha, conn.String())
	w.told("default delegated", "late0 "+pool1.String())
	kept("all of it")
}

// TestIPv4Only: the provider has no IPv6. Guests reach the outside by IPv4 and
// each other by both.
func TestIPv4Only(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Minute, "usb0")
	c := first
	c.NoIPv6 = true
	isp := w.access(c, w.host.Uplink, nil)
	kept := w.watched(isp)
	w.settled(isp)
	n := w.stands("default", "ula", "no uplink has IPv6")
	if n.Status.Mode4 != "nat" {
		t.Errorf("IPv4 is %s", n.Status.Mode4)
	}
	alpha, beta := w.guest("alpha", "default"), w.guest("beta", "default")
	w.address4(alpha)
	w.seenIn(alpha, first.Link4.Masked())
	w.eventually(patience, "beta has an address", func() error {
		_, err := beta.Sh(w.ctx, "ip -6 -o addr show dev eth0 scope global -tentative | grep -q inet6")
		return err
	})
	w.reaches(alpha, w.own(beta)[0].String())
	w.unseen(alpha, topo.Server6)
	kept("all of it")
}
