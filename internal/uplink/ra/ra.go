// Package ra keeps what the routers on the host's uplinks advertise. It is a
// function of messages and moments, without sockets: a Table hears, forgets in
// time, and says what it knows.
//
// Whoever manages a link, kernel or userspace, the advertisements come by: they
// are only listened to, and nothing here configures the host. What is heard is
// bounded, since anybody on an uplink may send it.
package ra

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/mdlayher/ndp"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Bounds of what is kept of one link, and of one router.
const (
	maxRouters, maxPrefixes, maxServers, maxNames, maxPREF64 = 16, 32, 8, 8, 4
	// maxMessage is larger than any MTU that matters.
	maxMessage = 9216
)

// twoHours is the time that one advertisement cannot take from an address's
// life (RFC 4862 section 5.5.3 e): it is not authenticated.
const twoHours = 2 * time.Hour

// infinite is the lifetime of all ones (RFC 4861 section 4.6.2).
const infinite = 0xffffffff * time.Second

// Table is what is known of the routers of all links.
type Table struct {
	links map[string]map[netip.Addr]*router
	noted map[string]bool
}

// router is one router; the lifetimes of its options are kept beside it.
type router struct {
	vnet.HeardRouter
	heard  time.Time
	seen   time.Time // when it was last looked at
	again  bool      // heard more than once
	dns    time.Time // end of its resolvers and search domains
	pref64 time.Time
}

// New returns a table that has heard nothing.
func New() *Table {
	return &Table{links: map[string]map[netip.Addr]*router{}, noted: map[string]bool{}}
}

// Errors about messages: they are dropped.
var (
	errSource = errors.New("not from a neighbouring router: the source is no link-local address, or the hop limit not 255")
	errSize   = errors.New("not an advertisement by its size")
)

// Hear takes an ICMPv6 message, from its type on. It reports whether anything
// but a refreshed lifetime is new. Notes are oddities for events, each said
// once for a router, also of what is an error.
func (t *Table) Hear(link string, from netip.Addr, hopLimit int, mac vnet.MAC, b []byte, now time.Time) (news bool, notes []string, err error) {
	if hopLimit != 255 || !from.Is6() || !from.IsLinkLocalUnicast() { // RFC 4861 section 6.1.2
		return false, nil, errSource
	}
	if len(b) < 16 || len(b) > maxMessage || b[0] != 134 || b[1] != 0 {
		return false, nil, errSize
	}
	m, err := ndp.ParseMessage(b)
	if err != nil {
		note := fmt.Sprintf("%s sends advertisements that cannot be read: not used", from.WithZone(""))
		return false, t.unsaid(link, []string{note}), fmt.Errorf("garbled advertisement of %s: %w", from, err)
	}
	a, ok := m.(*ndp.RouterAdvertisement)
	if !ok {
		return false, nil, errSize
	}
	r, isNew := t.router(link, from.WithZone(""), now)
	before := r.gist()
	r.take(a, mac, now)
	notes = t.unsaid(link, r.prefixes(a, now))
	return isNew || before != r.gist(), notes, nil
}

// unsaid keeps the notes that were not said of a link before, and takes them
// for said.
func (t *Table) unsaid(link string, notes []string) []string {
	return slices.DeleteFunc(notes, func(n string) bool {
		n = link + " " + n
		said := t.noted[n] || len(t.noted) >= 256
		if !said {
			t.noted[n] = true
		}
		return said
	})
}

// router returns the entry of a router. Of too many, one makes room.
func (t *Table) router(link string, from netip.Addr, now time.Time) (r *router, isNew bool) {
	l := t.links[link]
	if l == nil {
		l = map[netip.Addr]*router{}
		t.links[link] = l
	}
	if r := l[from]; r != nil {
		r.again = true
		return r, false
	}
	if len(l) >= maxRouters {
		var last *router
		for _, o := range l {
			if last == nil || o.before(last) {
				last = o
			}
		}
		delete(l, last.Address)
	}
	r = &router{HeardRouter: vnet.HeardRouter{Address: from, Since: now}}
	l[from] = r
	return r, true
}

// before reports whether r makes room rather than o does: one that is no
// default router, then one that was heard only once, as those are that a flood
// invents, then the one that was heard the longest ago.
func (r *router) before(o *router) bool {
	switch {
	case r.Until.IsZero() != o.Until.IsZero():
		return r.Until.IsZero()
	case r.again != o.again:
		return o.again
	}
	return r.heard.Before(o.heard)
}

// take reads everything but the prefixes.
func (r *router) take(a *ndp.RouterAdvertisement, mac vnet.MAC, now time.Time) {
	r.heard, r.seen, r.MAC = now, now, mac
	r.Managed, r.Other = a.ManagedConfiguration, a.OtherConfiguration
	r.Until = time.Time{}
	if a.RouterLifetime > 0 {
		r.Until = now.Add(a.RouterLifetime)
	}
	r.Preference = map[ndp.Preference]vnet.Preference{ndp.Low: vnet.PreferenceLow, ndp.High: vnet.PreferenceHigh}[a.RouterSelectionPreference]
	r.options(a, now)
}

// options reads what else is told. What an advertisement does not mention
// lasts as long as was said before: routers may tell things apart (RFC 4861
// section 6.2.3, RFC 8106 section 5.3.1, RFC 8781 section 4.1).
func (r *router) options(a *ndp.RouterAdvertisement, now time.Time) {
	var servers []netip.Addr
	var names []string
	var pref64 []netip.Prefix
	var dns, nat64 bool // mentioned
	var dnsEnd, nat64End time.Time
	longest := func(t *time.Time, life time.Duration) {
		if end := now.Add(min(life, 10*365*24*time.Hour)); end.After(*t) {
			*t = end
		}
	}
	for _, o := range a.Options {
		switch o := o.(type) {
		case *ndp.MTU:
			if o.MTU >= 1280 && o.MTU <= 65535 {
				r.MTU = int(o.MTU)
			}
		case *ndp.RecursiveDNSServer:
			dns = true
			if o.Lifetime > 0 {
				servers = append(servers, o.Servers...)
				longest(&dnsEnd, o.Lifetime)
			}
		case *ndp.DNSSearchList:
			dns = true
			if o.Lifetime > 0 {
				names = append(names, o.DomainNames...)
				longest(&dnsEnd, o.Lifetime)
			}
		case *ndp.PREF64:
			nat64 = true
			if o.Lifetime > 0 && o.Prefix.IsValid() {
				pref64 = append(pref64, o.Prefix.Masked())
				longest(&nat64End, o.Lifetime)
			}
		}
	}
	if dns {
		r.Resolvers, r.Search, r.dns = servers[:min(len(servers), maxServers)], names[:min(len(names), maxNames)], dnsEnd
	}
	if nat64 {
		r.PREF64, r.pref64 = pref64[:min(len(pref64), maxPREF64)], nat64End
	}
}

// prefixes reads the prefixes (RFC 4861 section 6.3.4, RFC 4862 section 5.5.3).
func (r *router) prefixes(a *ndp.RouterAdvertisement, now time.Time) (notes []string) {
	for _, o := range a.Options {
		pi, ok := o.(*ndp.PrefixInformation)
		if !ok {
			continue
		}
		if pi.PrefixLength > 128 {
			notes = append(notes, fmt.Sprintf("%s advertises a prefix of %d bits: not used", r.Address, pi.PrefixLength))
			continue
		}
		if !pi.Prefix.Is6() {
			continue
		}
		p := netip.PrefixFrom(pi.Prefix.WithZone(""), int(pi.PrefixLength)).Masked()
		switch {
		case p.Addr().IsLinkLocalUnicast() || p.Addr().IsMulticast() || p.Bits() == 0:
			notes = append(notes, fmt.Sprintf("%s advertises %s, which is no prefix of a network: not used", r.Address, p))
			continue
		case pi.PreferredLifetime > pi.ValidLifetime:
			notes = append(notes, fmt.Sprintf("%s advertises %s as preferred for longer than it is valid: not used", r.Address, p))
			continue
		}
		r.prefix(p, pi, now)
	}
	r.Prefixes = slices.DeleteFunc(r.Prefixes, func(h vnet.HeardPrefix) bool { return over(h.ValidUntil, now) })
	return notes
}

// prefix takes one prefix in.
func (r *router) prefix(p netip.Prefix, pi *ndp.PrefixInformation, now time.Time) {
	i := slices.IndexFunc(r.Prefixes, func(h vnet.HeardPrefix) bool { return h.Prefix == p })
	if i < 0 {
		if pi.ValidLifetime == 0 || len(r.Prefixes) >= maxPrefixes {
			return
		}
		r.Prefixes = append(r.Prefixes, vnet.HeardPrefix{Prefix: p, Since: now, ValidUntil: deadline(now, pi.ValidLifetime)})
		i = len(r.Prefixes) - 1
	}
	h := &r.Prefixes[i]
	h.OnLink, h.Autonomous = pi.OnLink, pi.AutonomousAddressConfiguration
	h.PreferredUntil = deadline(now, pi.PreferredLifetime)
	switch left := h.ValidUntil.Sub(now); {
	case pi.ValidLifetime > twoHours, !h.ValidUntil.IsZero() && pi.ValidLifetime > left:
		h.ValidUntil = deadline(now, pi.ValidLifetime)
	case h.ValidUntil.IsZero() || left > twoHours:
		h.ValidUntil = now.Add(twoHours)
	}
}

func deadline(now time.Time, life time.Duration) time.Time {
	if life >= infinite {
		return time.Time{}
	}
	return now.Add(life)
}

func over(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }

// gist is what changes when there is news: everything but lifetimes that are
// refreshed.
func (r *router) gist() string {
	s := fmt.Sprint(r.MAC, r.Until.IsZero(), r.Preference, r.Managed, r.Other, r.MTU, r.Resolvers, r.Search, r.PREF64)
	for _, p := range r.Prefixes {
		s += fmt.Sprint(" ", p.Prefix, p.OnLink, p.Autonomous, !p.PreferredUntil.IsZero() && !p.PreferredUntil.After(r.seen))
	}
	return s
}

// Expire forgets what is over, and reports whether that was anything.
func (t *Table) Expire(now time.Time) bool {
	news := false
	for link, l := range t.links {
		for a, r := range l {
			before := r.gist()
			r.seen = now
			if over(r.Until, now) {
				r.Until = time.Time{}
			}
			if over(r.dns, now) {
				r.Resolvers, r.Search, r.dns = nil, nil, time.Time{}
			}
			if over(r.pref64, now) {
				r.PREF64, r.pref64 = nil, time.Time{}
			}
			r.Prefixes = slices.DeleteFunc(r.Prefixes, func(h vnet.HeardPrefix) bool { return over(h.ValidUntil, now) })
			if r.Until.IsZero() && len(r.Prefixes)+len(r.Resolvers)+len(r.PREF64) == 0 && now.Sub(r.heard) > twoHours {
				delete(l, a)
				news = true
				continue
			}
			news = news || before != r.gist()
		}
		if len(l) == 0 {
			delete(t.links, link)
		}
	}
	return news
}

// Next is the first deadline after now; ok is false for none.
func (t *Table) Next(now time.Time) (at time.Time, ok bool) {
	sooner := func(d time.Time) {
		if d.After(now) && (!ok || d.Before(at)) {
			at, ok = d, true
		}
	}
	for _, l := range t.links {
		for _, r := range l {
			sooner(r.Until)
			sooner(r.dns)
			sooner(r.pref64)
			for _, p := range r.Prefixes {
				sooner(p.ValidUntil)
				sooner(p.PreferredUntil)
			}
		}
	}
	return at, ok
}

// Forget drops what was heard on a link that is gone, or is another one now.
func (t *Table) Forget(link string) { delete(t.links, link) }

// Drop forgets the routers of a link that were not heard since a moment, if
// others were: the link leads elsewhere now. Where nobody was heard, nothing
// is known to be over. It reports whether anything was forgotten.
func (t *Table) Drop(link string, since time.Time) bool {
	l := t.links[link]
	var old []netip.Addr
	for a, r := range l {
		if r.heard.Before(since) {
			old = append(old, a)
		}
	}
	if len(old) == len(l) {
		return false
	}
	for _, a := range old {
		delete(l, a)
	}
	return len(old) > 0
}

// Knows reports whether a router was heard on a link.
func (t *Table) Knows(link string, from netip.Addr) bool { return t.links[link][from] != nil }

// Shift moves every moment with the wall clock that somebody set.
func (t *Table) Shift(by time.Duration) {
	for _, l := range t.links {
		for _, r := range l {
			moments := []*time.Time{&r.Since, &r.Until, &r.heard, &r.seen, &r.dns, &r.pref64}
			for i := range r.Prefixes {
				p := &r.Prefixes[i]
				moments = append(moments, &p.Since, &p.PreferredUntil, &p.ValidUntil)
			}
			for _, m := range moments {
				if !m.IsZero() {
					*m = m.Add(by)
				}
			}
		}
	}
}

// Routers returns what is known of a link's routers: default routers first,
// then in the order in which they were first heard.
func (t *Table) Routers(link string) []vnet.HeardRouter {
	var out []vnet.HeardRouter
	for _, r := range t.links[link] {
		c := r.HeardRouter
		c.Prefixes = slices.Clone(r.Prefixes)
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b vnet.HeardRouter) int {
		if a.Until.IsZero() != b.Until.IsZero() {
			if b.Until.IsZero() {
				return -1
			}
			return 1
		}
		return cmp.Or(a.Since.Compare(b.Since), a.Address.Compare(b.Address))
	})
	return out
}
