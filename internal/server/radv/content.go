package radv

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/mdlayher/ndp"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// variant is what a guest is told of a network.
type variant int

// The variants.
const (
	// whole: the router and everything else.
	whole variant = iota
	// aside is for guests whose default network is another one: neither a
	// default route nor resolvers, only what is on this network.
	aside
	// recalled is aside for guests that were told the whole before.
	recalled
	variants int = iota
)

// content is what a network's advertisements say, but for the moment.
type content struct {
	header   ndp.RouterAdvertisement // without options
	source   []byte                  // option, repeated in each message; nil: none
	mtu      []byte                  // option; nil: none
	prefixes []prefix

	routes      []vnet.Route // with their lifetimes
	servers     []netip.Addr
	search      []string
	encrypted   []vnet.EncryptedDNS
	dnsLifetime time.Duration
	pref64      netip.Prefix
	pref64Life  time.Duration
	portal      []byte
	mostMessage int // bytes of an ICMPv6 message that no link need fragment
}

// contentOf is what svc has advertised; old is what was until now.
func contentOf(svc *plan.Service, old *content, now Instant) content {
	p := &svc.RA.Policy
	three := 3 * policyOr(p.MaxInterval, maxInterval)
	c := content{
		prefixes:    prefixesOf(svc, old.prefixes, now),
		servers:     nameServers(svc),
		search:      searchList(svc),
		encrypted:   svc.DNS.Encrypted[:min(len(svc.DNS.Encrypted), maxEncrypted)],
		dnsLifetime: policyOr(p.DNSLifetime, three),
		pref64:      p.PREF64,
		pref64Life:  policyOr(p.PREF64Lifetime, three),
		portal:      portalOption(svc.CaptivePortal),
	}
	c.header = headerOf(svc, three)
	for _, r := range svc.Routes {
		if r.Prefix.Addr().Is6() && len(c.routes) < maxRoutes {
			r.Lifetime = vnet.Duration(policyOr(r.Lifetime, three))
			c.routes = append(c.routes, r)
		}
	}
	if told(p.SourceLink, true) && svc.MAC.IsUnicast() {
		c.source = sourceOption(svc.MAC)
	}
	link, mtu := max(svc.MTU, 1280), svc.MTU // RFC 8200 section 5
	if p.MTU != nil {
		mtu = *p.MTU
	}
	if mtu >= 1280 {
		c.mtu = mtuOption(mtu)
		link = min(link, mtu)
	}
	c.mostMessage = link - 40
	return c
}

// headerOf is the fixed part of advertisements (RFC 4861 section 4.2).
func headerOf(svc *plan.Service, three time.Duration) ndp.RouterAdvertisement {
	p := &svc.RA.Policy
	h := ndp.RouterAdvertisement{CurrentHopLimit: currentHopLimit, ReachableTime: p.Reachable.Std(), RetransmitTimer: p.Retrans.Std()}
	if p.HopLimit != nil {
		h.CurrentHopLimit = uint8(*p.HopLimit)
	}
	managed, other := flags(svc)
	h.ManagedConfiguration, h.OtherConfiguration = told(p.Managed, managed), told(p.Other, other)
	if svc.RA.DefaultRouter {
		h.RouterLifetime = min(three, mostLifetime)
		if p.Lifetime != nil {
			h.RouterLifetime = p.Lifetime.Std()
		}
	}
	// RFC 4191 section 2.2: without a lifetime, there is nothing to prefer.
	if h.RouterLifetime > 0 {
		h.RouterSelectionPreference = preference(p.Preference)
	}
	return h
}

// flags returns M and O (RFC 4861 section 4.2): M where some subnet gives
// addresses by DHCPv6, O where some only gives options. Deprecated subnets
// give no new addresses, so they count only when there is no other.
func flags(svc *plan.Service) (managed, other bool) {
	for _, deprecated := range []bool{false, true} {
		seen := false
		for i := range svc.Subnets {
			sub := &svc.Subnets[i]
			if sub.Family != vnet.IPv6 || sub.Deprecated != deprecated || delegated(sub) {
				continue
			}
			seen = true
			switch sub.Guests {
			case vnet.GuestsStateful, vnet.GuestsSLAACStateful:
				managed = true
			case vnet.GuestsStateless:
				other = true
			}
		}
		if seen {
			break
		}
	}
	return managed, other
}

// headerFor is the header for a variant.
func (c *content) headerFor(v variant) []byte {
	h := c.header
	if v != whole {
		h.RouterLifetime, h.RouterSelectionPreference = 0, ndp.Medium
	}
	b, err := ndp.MarshalMessage(&h)
	if err != nil { // only a preference that there is not could fail
		return nil
	}
	return b
}

// options are what a variant says at a moment beside header and source, and
// until when it is that; 0: for ever.
func (c *content) options(v variant, boot time.Duration) (out [][]byte, until time.Duration) {
	if c.mtu != nil {
		out = append(out, c.mtu)
	}
	for i := range c.prefixes {
		p := &c.prefixes[i]
		if p.deprecated && p.valid.over(boot) {
			continue
		}
		preferred, valid, u := p.lifetimes(boot)
		if p.deprecated && valid == 0 {
			u = p.valid.until.boot // the last moment it is spoken of
		}
		until = sooner(until, u)
		out = append(out, p.option(preferred, valid))
	}
	for _, r := range c.routes {
		if v == whole || r.Prefix.Bits() > 0 {
			out = append(out, routeOption(r, r.Lifetime.Std()))
		}
	}
	switch v {
	case whole:
		out = append(out, c.resolvers(c.dnsLifetime, c.pref64Life)...)
		if c.portal != nil {
			out = append(out, c.portal)
		}
	case recalled:
		out = append(out, c.resolvers(0, 0)...)
	}
	return out, until
}

// resolvers are the options that send a guest's names and IPv4 over this
// network.
func (c *content) resolvers(names, nat64 time.Duration) (out [][]byte) {
	if o := serversOption(c.servers, names); o != nil {
		out = append(out, o)
	}
	out = append(out, searchOptions(c.search, names)...)
	for _, e := range c.encrypted {
		if o := encryptedOption(e, names); o != nil {
			out = append(out, o)
		}
	}
	if o := pref64Option(c.pref64, nat64); o != nil {
		out = append(out, o)
	}
	return out
}

// recall is something that was told and is not so any more: an option with
// lifetime 0 (RFC 9096 section 3.5, RFC 8106 section 5, RFC 4191 section 2.3,
// RFC 8781 section 4), told until guests have forgotten by themselves.
type recall struct {
	key    string // what it is about
	option []byte
	until  time.Duration
	// local marks what also concerns guests whose default network is another.
	local bool
}

// recalls are all that c tells, called back.
func (c *content) recalls(boot time.Duration) (out []recall) {
	for i := range c.prefixes {
		p := &c.prefixes[i]
		_, valid, _ := p.lifetimes(boot)
		if valid > 0 {
			out = append(out, recall{"prefix " + p.prefix.String(), p.option(0, 0), boot + valid, true})
			if p.stranded {
				out = append(out, recall{"link of " + p.prefix.String(), p.offLink(), boot + valid, true})
			}
		}
	}
	for _, r := range c.routes {
		out = append(out, recall{"route " + r.Prefix.String(), routeOption(r, 0), boot + r.Lifetime.Std(), r.Prefix.Bits() > 0})
	}
	names := boot + c.dnsLifetime
	for _, a := range c.servers {
		out = append(out, recall{"server " + a.String(), serversOption([]netip.Addr{a}, 0), names, false})
	}
	for _, n := range c.search {
		for _, o := range searchOptions([]string{n}, 0) {
			out = append(out, recall{"search " + n, o, names, false})
		}
	}
	for _, e := range c.encrypted {
		if o := encryptedOption(e, 0); o != nil {
			out = append(out, recall{"encrypted " + e.Name, o, names, false})
		}
	}
	if o := pref64Option(c.pref64, 0); o != nil {
		out = append(out, recall{"pref64 " + c.pref64.String(), o, boot + c.pref64Life, false})
	}
	return out
}

// split puts options behind a header, into as many messages as the link's MTU
// needs (RFC 4861 section 6.2.3; RFC 6980 forbids fragments). Header and source
// are in each; an option that fits no message is left out.
func split(header, source []byte, options [][]byte, most int) [][]byte {
	var out [][]byte
	begin := func() []byte { return slices.Concat(header, source) }
	b := begin()
	empty := len(b)
	for _, o := range options {
		if empty+len(o) > most {
			continue
		}
		if len(b)+len(o) > most {
			out = append(out, b)
			b = begin()
		}
		b = append(b, o...)
	}
	return append(out, b)
}

// isAdvertisement reports whether b begins as a router advertisement does.
func isAdvertisement(b []byte) bool {
	return len(b) >= headerLen && b[0] == 134 && b[1] == 0
}

// withoutRouter makes a router advertisement's header that of a router which
// is nobody's default: lifetime 0 and, RFC 4191 section 2.2, no preference.
func withoutRouter(b []byte) {
	b[5] &^= 0x18
	binary.BigEndian.PutUint16(b[6:], 0)
}
