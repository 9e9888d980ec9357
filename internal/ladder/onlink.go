package ladder

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// OnLink lists the prefixes of an uplink that guests may live in beside the
// host: those that its routers advertise, and those of the host's own
// addresses. In each the host has an address, or else it would not be heard
// there either. Whether the prefix is on-link for others (the L flag) does not
// matter: with or without, whoever looks for a guest asks for its MAC on the
// link, or has the router do so.
func OnLink(u vnet.Uplink) []Source {
	var out []Source
	for _, r := range u.Routers {
		if r.Until.IsZero() {
			continue // no default router: what it routes is not known
		}
		for _, p := range r.Prefixes {
			if !inhabited(p.Prefix, u.Addresses) || !p.OnLink && !p.Autonomous {
				continue
			}
			s := Source{
				Prefix: p.Prefix.Masked(), Link: u.Name, From: "the router " + r.Address.String() + " on " + u.Name,
				Since: p.Since, PreferredUntil: p.PreferredUntil, ValidUntil: p.ValidUntil,
				// RFC 4862 section 5.5.3 d: interface identifiers have 64 bits.
				Named: !p.Autonomous || p.Prefix.Bits() != 64 || p.Prefix.Addr().IsPrivate(),
			}
			out = merge(out, s)
		}
	}
	for _, a := range u.Addresses {
		p := a.Masked()
		known := func(s Source) bool { return s.Prefix == p }
		if inhabited(p, u.Addresses) && !slices.ContainsFunc(out, known) {
			out = append(out, Source{Prefix: p, Link: u.Name, From: "the host's address on " + u.Name, Named: true})
		}
	}
	slices.SortStableFunc(out, func(a, b Source) int { return a.Prefix.Compare(b.Prefix) })
	return out
}

// longestShared leaves room for the router, the host and a guest.
const longestShared = 126

// inhabited reports whether a prefix can be shared: one of the addresses is in
// it, and it has room for others.
func inhabited(p netip.Prefix, addresses []netip.Prefix) bool {
	if !p.IsValid() || !p.Addr().Is6() || p.Addr().Is4In6() || !p.Addr().IsGlobalUnicast() || p.Bits() > longestShared {
		return false
	}
	return slices.ContainsFunc(addresses, func(a netip.Prefix) bool { return p.Contains(a.Addr()) })
}

// merge adds what one router advertises to what others do: a prefix lasts as
// long as the last of them says.
func merge(all []Source, s Source) []Source {
	for i := range all {
		o := &all[i]
		if o.Prefix != s.Prefix {
			continue
		}
		if s.Since.Before(o.Since) {
			o.Since = s.Since
		}
		o.PreferredUntil, o.ValidUntil = latest(o.PreferredUntil, s.PreferredUntil), latest(o.ValidUntil, s.ValidUntil)
		o.Named = o.Named && s.Named
		return all
	}
	return append(all, s)
}

// latest is the later of two deadlines, of which zero is never.
func latest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && a.After(b) {
		return a
	}
	return b
}

// shareable returns those of the on-link prefixes that may be shared now:
// first those in which guests find addresses by themselves, then the longest
// known.
func shareable(all []Source, now time.Time) []Source {
	out := slices.DeleteFunc(slices.Clone(all), func(s Source) bool {
		return !s.Prefix.IsValid() || !s.Prefix.Addr().Is6() || s.Prefix.Bits() > longestShared || !s.lasts(now)
	})
	for i := range out {
		out[i].Prefix = out[i].Prefix.Masked()
	}
	slices.SortStableFunc(out, func(a, b Source) int {
		switch {
		case a.Named != b.Named && b.Named:
			return -1
		case a.Named != b.Named:
			return 1
		}
		return cmp.Or(a.Since.Compare(b.Since), a.Prefix.Compare(b.Prefix))
	})
	return out
}

// part is what the subnet has of an on-link prefix, if it may have any: auto
// all of a prefix that guests find addresses in by themselves; who asks by name
// also the part that it wishes, or all of a longer one.
func (r *reach) part(s *Source) (netip.Prefix, bool) {
	if r.auto {
		return s.Prefix, !s.Named
	}
	if wish, ok := r.wished(); ok {
		return wish, s.Prefix.Bits() <= wish.Bits() && s.Prefix.Contains(wish.Addr())
	}
	return s.Prefix, s.Prefix.Bits() >= 64
}

// wished is the part of an on-link prefix that the subnet asks for, if it does.
func (r *reach) wished() (netip.Prefix, bool) {
	p := r.subnet.Prefix
	return p.Masked(), p.IsValid() && r.subnet.Source == vnet.SourceProxied
}

// share finds an on-link prefix for the subnet, or says why there is none.
func (u *uplifts) share(r *reach) (netip.Prefix, *Source, string) {
	for i := range u.onLink {
		if p, ok := r.part(&u.onLink[i]); ok {
			return p, &u.onLink[i], ""
		}
	}
	return netip.Prefix{}, nil, u.unshared(r)
}

// unshared says why no on-link prefix can be shared.
func (u *uplifts) unshared(r *reach) string {
	up := &u.d.in.Uplink
	wish, asks := r.wished()
	switch {
	case asks:
		return wish.String() + " is no part of a prefix that the host has an address in on its uplink"
	case len(u.onLink) > 0 && r.auto:
		return u.onLink[0].Prefix.String() + " on the uplink is not advertised for guests to find addresses in (ipv6=proxied shares it by name)"
	case len(u.onLink) > 0:
		return u.onLink[0].Prefix.String() + " on the uplink is too short to be shared as a whole (say which part with ipv6.address=)"
	case up.speaks6() && up.single6():
		return "the uplink has a single address and no /64 that could be shared"
	}
	return "no router on the uplink advertises a /64 that could be shared"
}

// single6 reports whether all that the host has outside are single addresses.
func (u *Uplink) single6() bool {
	return !slices.ContainsFunc(u.Addresses6, func(p netip.Prefix) bool { return p.Bits() < 128 })
}
