package uplink

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/sextant-net/sextant/lab/topo"
)

// access is a provider and the cable that leads from it to the host.
type access struct {
	*topo.Provider
	link string // the host's
	port string // the provider's
}

// The first and the second provider of a test, from documentation prefixes
// (RFC 5737, RFC 3849).
var (
	first = topo.ProviderConfig{Name: "isp1", Link4: prefix("192.0.2.1/24"), Link6: prefix("2001:db8:1::1/64")}
	other = topo.ProviderConfig{Name: "isp2", Link4: prefix("198.51.100.1/24"), Link6: prefix("2001:db8:2::1/64")}
)

// Prefixes that providers delegate.
var (
	pool1 = prefix("2001:db8:1100::/56")
	pool2 = prefix("2001:db8:2200::/56")
)

// onLink is what the router's advertisement says of the link's own prefix,
// which is what hosts have addresses of.
func onLink(c topo.ProviderConfig) string { return c.Link6.Masked().String() }

// access makes a provider whose router advertises as said, plugs the host's
// link into it, and waits until the host is online.
func (w *world) access(c topo.ProviderConfig, link string, ad *topo.Advert) *access {
	w.t.Helper()
	a := w.isolated(c)
	w.connect(a, link, ad)
	return a
}

// isolated makes a provider to which nobody is plugged yet.
func (w *world) isolated(c topo.ProviderConfig) *access {
	w.t.Helper()
	c.Peer = []string{peerBinary}
	p, err := w.lab.Provider(w.ctx, c)
	w.ok(err)
	return &access{Provider: p}
}

// connect plugs the host's link into a provider, as an installer configures
// it: static IPv4, IPv6 by the kernel.
func (w *world) connect(a *access, link string, ad *topo.Advert) *access {
	w.t.Helper()
	a.link, a.port = link, "to-host"
	if ad != nil {
		w.ok(a.Advertise(w.ctx, *ad))
	}
	w.ok(a.Plug(w.ctx, a.port, w.host.Node, link))
	if c := a.Config.Link4; c.IsValid() {
		w.sh(fmt.Sprintf("ip addr add %s dev %s; ip route append default via %s dev %s",
			netip.PrefixFrom(c.Addr().Next(), c.Bits()), link, c.Addr(), link))
	}
	if ad != nil {
		w.online(link, len(ad.Prefixes) > 0 && !strings.Contains(ad.Prefixes[0], "AdvAutonomous off"))
	}
	return a
}

// online waits until the host has IPv6 over the link.
func (w *world) online(link string, address bool) {
	w.t.Helper()
	w.eventually(patience, "the host's own IPv6 over "+link, func() error {
		out, err := w.host.Sh(w.ctx, "ip -6 route show default dev "+link+"; ip -6 -o addr show dev "+link+" scope global -tentative")
		if err == nil && (!strings.Contains(out, "default") || address && !strings.Contains(out, "inet6")) {
			err = fmt.Errorf("it has %q", out)
		}
		if err == nil && address {
			_, err = w.host.Sh(w.ctx, "nc -6 -w 2 "+topo.Server6.String()+" 80 </dev/null")
		}
		return err
	})
}

// watched follows the host's connectivity over this access.
func (w *world) watched(a *access) func(what string) {
	w.t.Helper()
	var to []string
	if a.Config.Link4.IsValid() {
		to = append(to, topo.Server4.String())
	}
	if !a.Config.NoIPv6 && a.Config.Link6.IsValid() {
		to = append(to, topo.Server6.String())
	}
	return w.watch(a.link, to...)
}

// delegates has the provider delegate a pool, and carry it to the host.
func (w *world) delegates(a *access, d topo.Delegator) {
	w.t.Helper()
	w.ok(a.Delegate(w.ctx, d))
	w.ok(a.Route6(w.ctx, d.Pool, w.host.Node, a.link))
}
