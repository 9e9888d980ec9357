package pd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

// Bounds of what is read: larger messages, and more options, are not read.
const (
	maxMessage  = 4096
	maxOptions  = 128
	maxPrefixes = 16
)

// optionPDExclude is OPTION_PD_EXCLUDE (RFC 6603 section 4.2).
const optionPDExclude = dhcpv6.OptionCode(67)

// Errors about messages: they are dropped.
var (
	errSize    = errors.New("not a DHCPv6 message by its size")
	errOptions = errors.New("too many or broken options")
	errKind    = errors.New("no answer of a server")
	errForeign = errors.New("not an answer to this client's message")
)

// answer is a server's message, read.
type answer struct {
	kind       dhcpv6.MessageType
	server     []byte
	preference int
	rapid      bool
	status     iana.StatusCode // of the message
	iaStatus   iana.StatusCode // of our IA_PD
	hasIA      bool
	t1, t2     time.Duration
	prefixes   []offered
	solMaxRT   time.Duration // 0: not said
}

// offered is an IA Prefix option (RFC 9915 section 21.22) as it was sent.
type offered struct {
	prefix           netip.Prefix // with the bits below its length
	exclude          netip.Prefix
	preferred, valid time.Duration
}

// parse reads an answer to the message with the transaction id.
func (c *Client) parse(b []byte) (*answer, error) {
	if len(b) < 4 || len(b) > maxMessage {
		return nil, errSize
	}
	kind := dhcpv6.MessageType(b[0])
	if kind != dhcpv6.MessageTypeAdvertise && kind != dhcpv6.MessageTypeReply {
		return nil, errKind
	}
	if !bytes.Equal(b[1:4], c.xid[:]) {
		return nil, errForeign
	}
	count := 0
	if err := checkOptions(b[4:], 0, &count); err != nil {
		return nil, err
	}
	m, err := dhcpv6.MessageFromBytes(b)
	if err != nil {
		return nil, err
	}
	// Section 16.3 and 16.10: both identifiers, and ours is ours.
	if len(m.GetOption(dhcpv6.OptionClientID)) != 1 || len(m.GetOption(dhcpv6.OptionServerID)) != 1 ||
		!bytes.Equal(m.Options.ClientID().ToBytes(), c.cfg.DUID) {
		return nil, errForeign
	}
	a := &answer{kind: kind, server: m.Options.ServerID().ToBytes(), rapid: m.GetOneOption(dhcpv6.OptionRapidCommit) != nil}
	if s := m.Options.Status(); s != nil {
		a.status = s.StatusCode
	}
	if o := m.GetOneOption(dhcpv6.OptionPreference); o != nil {
		if p := o.ToBytes(); len(p) == 1 {
			a.preference = int(p[0])
		}
	}
	if o := m.GetOneOption(dhcpv6.OptionSolMaxRT); o != nil {
		if v := o.ToBytes(); len(v) == 4 {
			// Section 21.24: what is out of its bounds is not looked at.
			if n := time.Duration(binary.BigEndian.Uint32(v)) * time.Second; n >= time.Minute && n <= 24*time.Hour {
				a.solMaxRT = n
			}
		}
	}
	for _, ia := range m.Options.IAPD() {
		if binary.BigEndian.Uint32(ia.IaId[:]) == c.cfg.IAID && !a.hasIA {
			a.readIA(ia)
		}
	}
	return a, nil
}

// readIA reads our IA_PD (section 21.21).
func (a *answer) readIA(ia *dhcpv6.OptIAPD) {
	a.hasIA, a.t1, a.t2 = true, ia.T1, ia.T2
	if s := ia.Options.Status(); s != nil {
		a.iaStatus = s.StatusCode
	}
	for _, o := range ia.Options.Prefixes() {
		if len(a.prefixes) == maxPrefixes {
			return
		}
		if o.Prefix == nil {
			continue
		}
		ip, ok := netip.AddrFromSlice(o.Prefix.IP.To16())
		bits, size := o.Prefix.Mask.Size()
		if !ok || size != 128 {
			continue
		}
		p := offered{prefix: netip.PrefixFrom(ip, bits), preferred: o.PreferredLifetime, valid: o.ValidLifetime}
		if x := o.Options.GetOne(optionPDExclude); x != nil {
			p.exclude = readExclude(p.prefix.Masked(), x.ToBytes())
		}
		a.prefixes = append(a.prefixes, p)
	}
}

// readExclude reads OPTION_PD_EXCLUDE (RFC 6603 section 4.2): a length, and
// the bits between the delegated prefix's length and that one. What makes no
// sense is no exclusion.
func readExclude(p netip.Prefix, b []byte) netip.Prefix {
	if len(b) < 2 || int(b[0]) <= p.Bits() || b[0] > 128 {
		return netip.Prefix{}
	}
	bits := int(b[0])
	id := bits - p.Bits()
	if len(b) != 1+(id+7)/8 {
		return netip.Prefix{}
	}
	out := p.Addr().As16()
	for i := range id {
		if b[1+i/8]&(0x80>>(i%8)) != 0 {
			out[(p.Bits()+i)/8] |= 0x80 >> ((p.Bits() + i) % 8)
		}
	}
	x := netip.PrefixFrom(netip.AddrFrom16(out), bits)
	if x.Masked() != x {
		return netip.Prefix{}
	}
	return x
}

// checkOptions walks the options, and those inside IAs, without keeping them.
func checkOptions(b []byte, depth int, count *int) error {
	for len(b) > 0 {
		if *count++; *count > maxOptions || len(b) < 4 {
			return errOptions
		}
		code, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < 4+n {
			return errOptions
		}
		body := b[4 : 4+n]
		b = b[4+n:]
		fixed, nested := map[uint16]int{3: 12, 4: 4, 5: 24, 25: 12, 26: 25}[code]
		switch {
		case !nested:
		case depth >= 2 || n < fixed: // IA, prefix, status code
			return errOptions
		default:
			if err := checkOptions(body[fixed:], depth+1, count); err != nil {
				return err
			}
		}
	}
	return nil
}

// build makes a message of the kind, about the server and the prefixes.
func (c *Client) build(kind dhcpv6.MessageType, server []byte, prefixes []Prefix, now Instant) []byte {
	m := &dhcpv6.Message{MessageType: kind, TransactionID: c.xid}
	m.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionClientID, OptionData: c.cfg.DUID})
	if server != nil {
		m.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionServerID, OptionData: server})
	}
	m.AddOption(dhcpv6.OptElapsedTime(c.timer.elapsed(now.Boot)))
	if kind != dhcpv6.MessageTypeRelease {
		m.AddOption(dhcpv6.OptRequestedOption(optionPDExclude, dhcpv6.OptionSolMaxRT))
	}
	if kind == dhcpv6.MessageTypeSolicit {
		m.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit})
	}
	ia := &dhcpv6.OptIAPD{}
	binary.BigEndian.PutUint32(ia.IaId[:], c.cfg.IAID)
	for _, p := range prefixes {
		o := &dhcpv6.OptIAPrefix{Prefix: &net.IPNet{IP: p.Prefix.Addr().AsSlice(), Mask: net.CIDRMask(p.Prefix.Bits(), 128)}}
		if kind != dhcpv6.MessageTypeRelease {
			o.PreferredLifetime, o.ValidLifetime = left(p.Preferred, now.Wall), left(p.Valid, now.Wall)
		}
		ia.Options.Add(o)
	}
	m.AddOption(ia)
	return m.ToBytes()
}

// infinite is the lifetime that never ends (RFC 9915 section 7.7).
const infinite = math.MaxUint32 * time.Second

// left is the lifetime until a deadline.
func left(deadline, now time.Time) time.Duration {
	if deadline.IsZero() {
		return infinite
	}
	return max(0, deadline.Sub(now).Truncate(time.Second))
}

// deadline is the moment at which a lifetime ends; zero: never.
func deadline(now time.Time, life time.Duration) time.Time {
	if life >= infinite {
		return time.Time{}
	}
	return now.Add(life)
}

// take checks what a server offers and makes it what is held. What is odd is
// said, once for each message.
func take(a *answer, now time.Time) (prefixes []Prefix, notes []string) {
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	for _, o := range a.prefixes {
		p := Prefix{Prefix: o.prefix.Masked(), Exclude: o.exclude}
		switch {
		case o.preferred > o.valid: // section 21.22: not looked at
			note("the provider's prefix %s is preferred for longer (%s) than it is valid (%s): not used", o.prefix, o.preferred, o.valid)
			continue
		case o.prefix.Bits() > 64:
			note("the provider's prefix %s is longer than a /64, too long for a network: not used", o.prefix)
			continue
		case !usable(p.Prefix):
			note("the provider's prefix %s cannot be used for guests: not used", o.prefix)
			continue
		case o.valid == 0:
			continue // taken back: nothing is left of it
		}
		if o.prefix != p.Prefix {
			note("the provider's prefix %s has bits below its length: %s is used", o.prefix, p.Prefix)
		}
		p.Preferred, p.Valid = deadline(now, o.preferred), deadline(now, o.valid)
		prefixes = append(prefixes, p)
	}
	return prefixes, notes
}

// usable reports whether a prefix can be that of a network: global or unique
// local unicast.
func usable(p netip.Prefix) bool {
	a := p.Addr()
	return a.Is6() && !a.Is4In6() && p.Bits() > 3 && !a.IsMulticast() && !a.IsLinkLocalUnicast() && !a.IsLoopback() && !a.IsUnspecified()
}
