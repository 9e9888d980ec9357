package dhcp6

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// request is a client's message, read.
type request struct {
	m      *dhcpv6.Message
	kind   dhcpv6.MessageType
	peer   netip.Addr
	mac    vnet.MAC // of the port it was identified as, or what is known; may be zero
	raw    []byte   // the client's DUID; nil: none
	duid   string   // the same in hex with colons
	server []byte   // the server's DUID it names; nil: none
	ias    []ia
	pds    []uint32 // IAIDs of IA_PD
	asked  dhcpv6.OptionCodes
	rapid  bool
	name   string
}

// ia is an IA_NA of a message.
type ia struct {
	iaid  uint32
	addrs []netip.Addr
}

// Errors about messages: they are dropped without an answer.
var (
	errSize     = errors.New("not a DHCPv6 message by its size")
	errOptions  = errors.New("too many or broken options")
	errPeer     = errors.New("not from a link-local address")
	errIgnored  = errors.New("of no kind that a server answers")
	errIdentity = errors.New("client or server identifier missing, too many or not ours")
)

// parse reads a message from a client. It looks at the bounds before the
// options are unpacked.
func parse(p listen.Packet) (*request, error) {
	if !p.From.IsLinkLocalUnicast() {
		return nil, errPeer
	}
	if len(p.Data) < 4 || len(p.Data) > maxMessage {
		return nil, errSize
	}
	switch dhcpv6.MessageType(p.Data[0]) {
	case dhcpv6.MessageTypeSolicit, dhcpv6.MessageTypeRequest, dhcpv6.MessageTypeConfirm, dhcpv6.MessageTypeRenew,
		dhcpv6.MessageTypeRebind, dhcpv6.MessageTypeRelease, dhcpv6.MessageTypeDecline, dhcpv6.MessageTypeInformationRequest:
	default:
		return nil, errIgnored
	}
	count := 0
	if err := checkOptions(p.Data[4:], 0, &count); err != nil {
		return nil, err
	}
	m, err := dhcpv6.MessageFromBytes(p.Data)
	if err != nil {
		return nil, err
	}
	r := &request{m: m, kind: m.MessageType, peer: p.From.WithZone(""), mac: p.MAC}
	if len(m.GetOption(dhcpv6.OptionClientID)) > 1 || len(m.GetOption(dhcpv6.OptionServerID)) > 1 {
		return nil, errIdentity
	}
	if d := m.Options.ClientID(); d != nil {
		if r.raw = d.ToBytes(); len(r.raw) < minDUID || len(r.raw) > maxDUID {
			return nil, errIdentity
		}
		r.duid = formatDUID(r.raw)
	}
	if d := m.Options.ServerID(); d != nil {
		r.server = d.ToBytes()
	}
	r.readIAs()
	if m.GetOneOption(dhcpv6.OptionORO) != nil {
		r.asked = m.Options.RequestedOptions()
	}
	r.rapid = m.GetOneOption(dhcpv6.OptionRapidCommit) != nil
	if f := m.Options.FQDN(); f != nil && f.DomainName != nil && len(f.DomainName.Labels) > 0 {
		r.name = dhcp.Label(f.DomainName.Labels[0])
	}
	return r, nil
}

// readIAs collects the IAs, each IAID once.
func (r *request) readIAs() {
	for _, o := range r.m.Options.IANA() {
		x := ia{iaid: binary.BigEndian.Uint32(o.IaId[:])}
		if len(r.ias) == maxIAs || slices.ContainsFunc(r.ias, func(y ia) bool { return y.iaid == x.iaid }) {
			continue
		}
		for _, a := range o.Options.Addresses() {
			ip, ok := netip.AddrFromSlice(a.IPv6Addr)
			if ok && !ip.IsUnspecified() && !slices.Contains(x.addrs, ip) && len(x.addrs) < maxAddresses {
				x.addrs = append(x.addrs, ip)
			}
		}
		r.ias = append(r.ias, x)
	}
	for _, o := range r.m.Options.IAPD() {
		if len(r.pds) < maxIAs {
			r.pds = append(r.pds, binary.BigEndian.Uint32(o.IaId[:]))
		}
	}
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
		case depth >= 2 || n < fixed: // IA, address, status code
			return errOptions
		default:
			if err := checkOptions(body[fixed:], depth+1, count); err != nil {
				return err
			}
		}
	}
	return nil
}

// wants reports whether the client is to be told an option; unasked says
// whether one that asks for nothing in particular is told it.
func (r *request) wants(code dhcpv6.OptionCode, unasked bool) bool {
	if len(r.asked) == 0 {
		return unasked
	}
	return r.asked.Contains(code)
}

// formatDUID writes a DUID as users read it: hex with colons.
func formatDUID(b []byte) string {
	s := hex.EncodeToString(b)
	var out strings.Builder
	for i := 0; i < len(s); i += 2 {
		if i > 0 {
			out.WriteByte(':')
		}
		out.WriteString(s[i : i+2])
	}
	return out.String()
}

// macOfDUID returns the Ethernet MAC inside a DUID-LLT or DUID-LL (RFC 9915
// sections 11.2 and 11.4).
func macOfDUID(b []byte) (m vnet.MAC, ok bool) {
	switch {
	case len(b) == 14 && b[0] == 0 && b[1] == 1 && b[2] == 0 && b[3] == 1:
		copy(m[:], b[8:])
	case len(b) == 10 && b[0] == 0 && b[1] == 3 && b[2] == 0 && b[3] == 1:
		copy(m[:], b[4:])
	}
	return m, m.IsUnicast()
}
