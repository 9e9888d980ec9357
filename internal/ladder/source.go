package ladder

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/ipam"
)

// Settle is how long auto waits before it climbs to what an uplink newly
// offers, if Input.Settle says nothing else: a flapping uplink must not make
// guests flap. It descends at once.
const Settle = 30 * time.Second

// Source is a prefix that an uplink offers for guests.
type Source struct {
	Prefix netip.Prefix // delegated: /64 or shorter; on-link: any length
	// Exclude is the part of a delegated prefix that the provider uses on the
	// uplink itself (RFC 6603).
	Exclude netip.Prefix
	Link    string
	From    string // who gives it, for people: "DHCPv6 on eth0", "the file /etc/…"
	// Since is when it was first offered: what comes back counts anew.
	Since time.Time
	// PreferredUntil and ValidUntil are wall-clock deadlines; zero: never.
	PreferredUntil, ValidUntil time.Time
	// Named: an on-link prefix that is shared only with networks that ask for it
	// by name, since guests cannot, or are not meant to, find addresses in it by
	// themselves.
	Named bool
}

// live reports whether new use may be made of the source.
func (s *Source) live(now time.Time) bool {
	return s.Prefix.IsValid() && s.Prefix.Addr().Is6() && s.Prefix.Bits() <= 64 && s.lasts(now)
}

// lasts reports whether its deadlines are to come.
func (s *Source) lasts(now time.Time) bool {
	return (s.ValidUntil.IsZero() || now.Before(s.ValidUntil)) && (s.PreferredUntil.IsZero() || now.Before(s.PreferredUntil))
}

// holds reports whether a /64 is a piece of the source that may be used.
func (s *Source) holds(p netip.Prefix) bool {
	return s.Prefix.Bits() <= p.Bits() && s.Prefix.Contains(p.Addr()) && (!s.Exclude.IsValid() || !s.Exclude.Overlaps(p))
}

// pieces is how many /64s the source has, as far as it can matter.
func (s *Source) pieces() uint64 { return 1 << min(64-s.Prefix.Bits(), 32) }

// piece is the n-th /64 of the source.
func (s *Source) piece(n uint64) (netip.Prefix, bool) {
	p, err := ipam.NthSubnet(s.Prefix, 64, n)
	return p, err == nil && s.holds(p)
}

// index is which piece of its source a /64 is: the same is sought in the next
// source, so that subnet numbers that people know stay.
func index(source, p netip.Prefix) uint64 {
	a, b := p.Addr().As16(), source.Masked().Addr().As16()
	n := uint64(0)
	for i := range 8 {
		n = n<<8 | uint64(a[i]^b[i])
	}
	return n
}

// sources returns those of a list that may be used, in the order in which they
// are tried: the longest known first, so that a second provider does not take
// networks from the first.
func sources(all []Source, now time.Time) []Source {
	var out []Source
	for _, s := range all {
		if s.live(now) {
			s.Prefix = s.Prefix.Masked()
			out = append(out, s)
		}
	}
	slices.SortStableFunc(out, func(a, b Source) int {
		return cmp.Or(a.Since.Compare(b.Since), a.Prefix.Compare(b.Prefix))
	})
	return out
}

// named says which source it is.
func (s *Source) named() string {
	if s.From == "" {
		return s.Prefix.String()
	}
	return fmt.Sprintf("%s, from %s", s.Prefix, s.From)
}
