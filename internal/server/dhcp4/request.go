package dhcp4

import (
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/vnet"
)

// request is a client's message, read.
type request struct {
	m    *dhcpv4.DHCPv4
	kind dhcpv4.MessageType
	mac  vnet.MAC
	// id is option 61 in hex, client what a dynamic lease belongs to.
	id, client string
	hostname   string
	// Zero where the message has none.
	ciaddr, requested, server netip.Addr
	asked                     map[uint8]bool // option 55; nil: not said
	room                      int            // bytes that a reply may have
}

// Errors about messages: they are dropped without an answer.
var (
	errSize    = errors.New("not a DHCP message by its size")
	errOptions = errors.New("too many or broken options")
	errNotOurs = errors.New("no request of an Ethernet client on this link")
)

// parse reads a message from a client. It looks at the bounds before the
// options are unpacked.
func parse(b []byte) (*request, error) {
	const fixed = 240 // RFC 2131 section 2: up to and with the magic cookie
	if len(b) < fixed || len(b) > maxMessage {
		return nil, errSize
	}
	if err := checkOptions(b[fixed:]); err != nil {
		return nil, err
	}
	m, err := dhcpv4.FromBytes(b)
	if err != nil {
		return nil, err
	}
	r := &request{
		m: m, kind: m.MessageType(),
		ciaddr: addr(m.ClientIPAddr), requested: addr(m.RequestedIPAddress()), server: addr(m.ServerIdentifier()),
		room: minMaxMessage - headers,
	}
	copy(r.mac[:], m.ClientHWAddr)
	if m.OpCode != dhcpv4.OpcodeBootRequest || m.HWType != iana.HWTypeEthernet || len(m.ClientHWAddr) != 6 ||
		!r.mac.IsUnicast() || !m.GatewayIPAddr.Equal(net.IPv4zero) {
		return nil, errNotOurs
	}
	r.client = "mac:" + r.mac.String()
	// RFC 2132 section 9.14: at least two bytes.
	if id := m.Options.Get(dhcpv4.OptionClientIdentifier); len(id) >= 2 && len(id) <= 255 {
		r.id = hex.EncodeToString(id)
		r.client = "id:" + r.id
	}
	if list := m.Options.Get(dhcpv4.OptionParameterRequestList); len(list) > 0 {
		r.asked = make(map[uint8]bool, len(list))
		for _, c := range list {
			r.asked[c] = true
		}
	}
	if n, err := m.MaxMessageSize(); err == nil && int(n) > minMaxMessage {
		r.room = min(int(n), maxMessage) - headers
	}
	r.hostname = hostname(m)
	return r, nil
}

// checkOptions walks the options without keeping them.
func checkOptions(b []byte) error {
	for n := 0; len(b) > 0; n++ {
		switch {
		case b[0] == 255:
			return nil
		case b[0] == 0:
			b, n = b[1:], n-1
			continue
		case n >= maxOptions || len(b) < 2 || len(b) < 2+int(b[1]):
			return errOptions
		}
		b = b[2+int(b[1]):]
	}
	return errOptions
}

// hostname returns the name that the client gives itself (RFC 4702 before
// option 12), as one DNS label in lower case, or "".
func hostname(m *dhcpv4.DHCPv4) string {
	if f := m.Options.Get(dhcpv4.OptionFQDN); len(f) > 3 {
		if f[0]&4 == 0 { // RFC 4702 section 2.1: ASCII encoding
			if s := dhcp.Label(string(f[3:])); s != "" {
				return s
			}
		} else if n := int(f[3]); n > 0 && n < 64 && len(f) >= 4+n {
			if s := dhcp.Label(string(f[4 : 4+n])); s != "" {
				return s
			}
		}
	}
	return dhcp.Label(m.HostName())
}

// addr converts an address of the codec; the unspecified one is zero.
func addr(ip net.IP) netip.Addr {
	a, ok := netip.AddrFromSlice(ip)
	if !ok || a.Unmap().IsUnspecified() {
		return netip.Addr{}
	}
	return a.Unmap()
}

// wants reports whether the client is to be told an option; unasked says
// whether one that did not say what it wants is told it.
func (r *request) wants(code dhcpv4.OptionCode, unasked bool) bool {
	if r.asked == nil {
		return unasked
	}
	return r.asked[code.Code()]
}

// leaseTime is what the client asks for, within what the network gives.
func (r *request) leaseTime(limit time.Duration) time.Duration {
	return min(max(r.m.IPAddressLeaseTime(limit), lease.MinTime), limit)
}
