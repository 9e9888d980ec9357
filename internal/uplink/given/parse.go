package given

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Bounds of what is read.
const (
	maxBytes    = 64 << 10
	maxPrefixes = 16
	maxWord     = 64 // of what is quoted in an error
)

// Forever is a lifetime without end.
const Forever = time.Duration(math.MaxInt64)

// Prefix is one prefix as it was written.
type Prefix struct {
	Prefix           netip.Prefix // masked, /64 or shorter
	Preferred, Valid time.Duration
}

// Parse reads lines of
//
//	PREFIX [PREFERRED VALID]  # comment
//
// where the lifetimes are seconds, durations like 2h30m, or "forever"; without
// them, forever. Notes are about prefixes that are well written and of no use,
// or only in part. An error means that nothing of it is to be used: a file
// that is half written must not take prefixes from guests.
func Parse(b []byte) (prefixes []Prefix, notes []string, err error) {
	if len(b) > maxBytes {
		return nil, nil, fmt.Errorf("longer than %d bytes", maxBytes)
	}
	number := 0
	for line := range strings.Lines(string(b)) {
		number++
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		p, err := parseLine(f)
		if err != nil {
			return nil, nil, fmt.Errorf("line %d: %w", number, err)
		}
		note := p.check()
		if note != "" && len(notes) < maxPrefixes {
			notes = append(notes, note)
		}
		if !p.Prefix.IsValid() {
			continue
		}
		if len(prefixes) == maxPrefixes {
			return nil, nil, fmt.Errorf("line %d: more than %d prefixes", number, maxPrefixes)
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, notes, nil
}

func parseLine(f []string) (Prefix, error) {
	if len(f) != 1 && len(f) != 3 {
		return Prefix{}, fmt.Errorf("%d words; write PREFIX, or PREFIX PREFERRED VALID", len(f))
	}
	n, err := netip.ParsePrefix(f[0])
	if err != nil || !n.Addr().Is6() || n.Addr().Is4In6() {
		return Prefix{}, fmt.Errorf("%q is no IPv6 prefix; write it as 2001:db8:1200::/56", clip(f[0]))
	}
	p := Prefix{Prefix: n, Preferred: Forever, Valid: Forever}
	if len(f) == 3 {
		if p.Preferred, err = parseLifetime(f[1]); err == nil {
			p.Valid, err = parseLifetime(f[2])
		}
	}
	return p, err
}

// parseLifetime reads a lifetime. All ones is without end in DHCPv6 and in
// advertisements, whose numbers hooks pass on.
func parseLifetime(s string) (time.Duration, error) {
	if s == "forever" || s == "infinite" || s == "infinity" {
		return Forever, nil
	}
	if n, err := strconv.ParseUint(s, 10, 32); err == nil {
		if n == math.MaxUint32 {
			return Forever, nil
		}
		return time.Duration(n) * time.Second, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is no lifetime; write seconds, 2h30m or forever", clip(s))
	}
	return d, nil
}

func clip(s string) string { return s[:min(len(s), maxWord)] }

// check says what is odd about a prefix. One that is of no use is made
// invalid.
func (p *Prefix) check() (note string) {
	n := p.Prefix
	a := n.Addr()
	drop := func(format string, args ...any) string {
		p.Prefix = netip.Prefix{}
		return fmt.Sprintf(format, args...) + ": not used"
	}
	switch {
	case n.Bits() > 64:
		return drop("%s is longer than a /64, too long for a network", n)
	case n.Bits() < 4 || a.IsMulticast() || a.IsLinkLocalUnicast() || a.IsLoopback() || a.IsUnspecified() || a.Zone() != "":
		return drop("%s cannot be used for guests", n)
	case p.Preferred > p.Valid:
		return drop("%s is preferred for longer than it is valid", n)
	case p.Valid == 0:
		p.Prefix = netip.Prefix{} // taken back
		return ""
	}
	p.Prefix = n.Masked()
	if p.Prefix != n {
		return fmt.Sprintf("%s has bits below its length: %s is used", n, p.Prefix)
	}
	return ""
}
