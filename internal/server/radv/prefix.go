package radv

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Flags of the prefix information option: RFC 4861 section 4.6.2, RFC 6275
// section 7.2 (R), RFC 9762 (P).
const (
	flagOnLink     = 0x80
	flagAutonomous = 0x40
	flagRouter     = 0x20
	flagDelegate   = 0x10
)

// prefix is one prefix as it is advertised.
type prefix struct {
	prefix           netip.Prefix // masked
	router           netip.Addr   // our address in it, if that is told
	flags            byte
	stranded         bool // on-link only for want of a router, see newPrefix
	deprecated       bool
	preferred, valid lifetime
}

// prefixesOf are the prefixes that svc has advertised, each once; old are
// those of before, whose promises go on.
func prefixesOf(svc *plan.Service, old []prefix, now Instant) []prefix {
	var out []prefix
	for i := range svc.Subnets {
		sub := &svc.Subnets[i]
		if sub.Family != vnet.IPv6 || delegated(sub) || sub.Advertise.Off || find(out, sub.Prefix.Masked()) != nil {
			continue
		}
		p := newPrefix(sub, svc.RA.DefaultRouter, find(old, sub.Prefix.Masked()), now)
		if p.deprecated && p.valid.over(now.Boot) {
			continue
		}
		out = append(out, p)
	}
	return out
}

// delegated reports whether guests get prefixes of their own out of the
// subnet: nothing of it is on the link.
func delegated(sub *plan.Subnet) bool {
	return sub.Delegate > 0 || sub.Guests == vnet.GuestsDelegation
}

func find(all []prefix, p netip.Prefix) *prefix {
	for i := range all {
		if all[i].prefix == p {
			return &all[i]
		}
	}
	return nil
}

// newPrefix is how a subnet is advertised. Guests reach each other in a prefix
// that is an uplink's by way of us. When the uplink has gone we are no router any
// more (RFC 7084 G-4), so they would lose each other as well: then all who are
// left of the prefix are on this link.
func newPrefix(sub *plan.Subnet, router bool, old *prefix, now Instant) prefix {
	if old == nil {
		old = &prefix{}
	}
	a := sub.Advertise
	p := prefix{prefix: sub.Prefix.Masked(), deprecated: sub.Deprecated}
	p.stranded = sub.OffLink && !router && a.OnLink == nil
	if told(a.OnLink, !sub.OffLink || !router) {
		p.flags |= flagOnLink
	}
	// RFC 4862 section 5.5.3 d: interface identifiers have 64 bits.
	if told(a.Autonomous, autonomous(sub.Guests)) && p.prefix.Bits() == 64 {
		p.flags |= flagAutonomous
	}
	if a.RouterAddress && sub.Gateway.Is6() && sub.Prefix.Contains(sub.Gateway) {
		p.flags |= flagRouter
		p.router = sub.Gateway
	}
	if a.PreferDelegation {
		p.flags |= flagDelegate
	}
	preferred, valid := policyOr(a.Preferred, vnet.DefaultPreferred), policyOr(a.Valid, vnet.DefaultValid)
	p.preferred.most, p.valid.most = min(preferred, valid), valid
	preferredUntil, validUntil := sub.PreferredUntil, sub.ValidUntil
	if a.Decrement && !sub.Written.IsZero() {
		preferredUntil = earlier(preferredUntil, sub.Written.Add(p.preferred.most))
		validUntil = earlier(validUntil, sub.Written.Add(valid))
	}
	if sub.Deprecated && !sub.ValidUntil.IsZero() {
		// RFC 9096 section 3.5: what is left of what guests were promised.
		p.valid.most = infinity - time.Second
	}
	p.preferred.until = newDeadline(preferredUntil, old.preferred.until, now)
	p.valid.until = newDeadline(validUntil, old.valid.until, now)
	return p
}

// autonomous reports whether guests are to make addresses of a prefix.
func autonomous(g vnet.Guests) bool {
	return g == vnet.GuestsSLAAC || g == vnet.GuestsStateless || g == vnet.GuestsSLAACStateful
}

// told is what was said, or else.
func told(said *bool, or bool) bool {
	if said != nil {
		return *said
	}
	return or
}

// policyOr is a duration that may be left out.
func policyOr(d vnet.Duration, or time.Duration) time.Duration {
	if d != 0 {
		return d.Std()
	}
	return or
}

// earlier is the earlier of two moments, zero being never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// lifetimes are what is told at a moment, and until when.
func (p *prefix) lifetimes(boot time.Duration) (preferred, valid, until time.Duration) {
	valid, until = p.valid.at(boot)
	if p.deprecated {
		return 0, valid, until
	}
	preferred, u := p.preferred.at(boot)
	return min(preferred, valid), valid, sooner(until, u)
}

// option is the prefix information option (RFC 4861 section 4.6.2). It is
// written by hand, since the codec knows neither R nor P.
func (p *prefix) option(preferred, valid time.Duration) []byte {
	b := make([]byte, 32)
	b[0], b[1], b[2], b[3] = optPrefix, 4, byte(p.prefix.Bits()), p.flags
	binary.BigEndian.PutUint32(b[4:], seconds(valid))
	binary.BigEndian.PutUint32(b[8:], seconds(preferred))
	a := p.prefix.Addr().As16()
	if p.router.IsValid() { // RFC 6275 section 7.2: the whole address
		a = p.router.As16()
	}
	copy(b[16:], a[:])
	return b
}

// offLink takes back that the prefix is on-link, which an option that does not
// say so would not (RFC 4861 section 6.3.4), and nothing else.
func (p *prefix) offLink() []byte {
	q := *p
	q.flags, q.router = flagOnLink, netip.Addr{}
	return q.option(0, 0)
}

// seconds is a lifetime on the wire.
func seconds(d time.Duration) uint32 { return uint32(min(d, infinity) / time.Second) }
