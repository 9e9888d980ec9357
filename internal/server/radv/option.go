package radv

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/mdlayher/ndp"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Types of options that are written or read by hand: RFC 4861 section 4.6, RFC
// 4191, RFC 8106, RFC 8910, RFC 8781, RFC 9463.
const (
	optSource    = 1
	optPrefix    = 3
	optMTU       = 5
	optRoute     = 24
	optRDNSS     = 25
	optDNSSL     = 31
	optPortal    = 37
	optPREF64    = 38
	optEncrypted = 144
)

// Bounds that keep a wish from becoming a flood; what is beyond is left out.
const (
	maxServers   = 15 // what one option of the codec holds
	maxSearch    = 32
	maxEncrypted = 16
	maxRoutes    = 16 // RFC 4191 section 4: at most 17 on a link
)

// mostOption is the longest option there can be (RFC 4861 section 4.6).
const mostOption = 255 * 8

// headerLen is what precedes the options of an advertisement.
const headerLen = 16

// encode is one option as the codec writes it, nil if it cannot.
func encode(o ndp.Option) []byte {
	b, err := ndp.MarshalMessage(&ndp.RouterAdvertisement{Options: []ndp.Option{o}})
	if err != nil {
		return nil
	}
	return b[headerLen:]
}

// finish gives an option its length, padded with zeros to units of 8 bytes;
// nil if it is too long for one.
func finish(b []byte) []byte {
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	if len(b) > mostOption {
		return nil
	}
	b[1] = byte(len(b) / 8)
	return b
}

func sourceOption(m vnet.MAC) []byte {
	return encode(&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: net.HardwareAddr(m[:])})
}

func mtuOption(mtu int) []byte { return encode(ndp.NewMTU(uint32(mtu))) }

// preference is a preference on the wire (RFC 4191 section 2.1).
func preference(p vnet.Preference) ndp.Preference {
	switch p {
	case vnet.PreferenceLow:
		return ndp.Low
	case vnet.PreferenceHigh:
		return ndp.High
	}
	return ndp.Medium
}

// routeOption is route information (RFC 4191 section 2.3).
func routeOption(r vnet.Route, lifetime time.Duration) []byte {
	p := r.Prefix.Masked()
	return encode(&ndp.RouteInformation{
		PrefixLength: uint8(p.Bits()), Prefix: p.Addr(), Preference: preference(r.Preference), RouteLifetime: lifetime,
	})
}

// serversOption is RDNSS (RFC 8106 section 5.1).
func serversOption(servers []netip.Addr, lifetime time.Duration) []byte {
	if len(servers) == 0 {
		return nil
	}
	return encode(&ndp.RecursiveDNSServer{Lifetime: lifetime, Servers: servers})
}

// searchOptions are DNSSL (RFC 8106 section 5.2): one, or where the names are
// too many for the least MTU, several. They are written by hand, since the
// codec's may not be longer than 248 bytes, and a single name may.
func searchOptions(names []string, lifetime time.Duration) (out [][]byte) {
	const most = 1024
	var b []byte
	flush := func() {
		if len(b) > 0 {
			out = append(out, finish(b))
		}
		b = nil
	}
	for _, n := range names {
		if len(b)+len(n)+2 > most {
			flush()
		}
		if len(b) == 0 {
			b = binary.BigEndian.AppendUint32([]byte{optDNSSL, 0, 0, 0}, seconds(lifetime))
		}
		b = vnet.AppendName(b, n)
	}
	flush()
	return out
}

// pref64Option is the NAT64 prefix (RFC 8781 section 4).
func pref64Option(p netip.Prefix, lifetime time.Duration) []byte {
	if !p.IsValid() {
		return nil
	}
	const unit = 8 * time.Second
	lifetime = min((lifetime+unit-1)/unit*unit, mostPREF64) // section 4.1: rounded up
	return encode(&ndp.PREF64{Prefix: p, Lifetime: lifetime})
}

// portalOption is the captive portal's URI (RFC 8910 section 2.3).
func portalOption(uri string) []byte {
	if uri == "" || len(uri) > 246 {
		return nil
	}
	return finish(append([]byte{optPortal, 0}, uri...))
}

// nameServers returns what RDNSS tells (RFC 8106): the network's IPv6 name
// servers, or our own addresses when we serve and nothing was chosen.
func nameServers(svc *plan.Service) []netip.Addr {
	var out []netip.Addr
	for _, a := range svc.DNS.Servers {
		if a.Is6() && !a.Is4In6() {
			out = append(out, a.WithZone(""))
		}
	}
	if svc.DNS.Serve && len(svc.DNS.Servers) == 0 {
		for _, sub := range svc.Subnets {
			if sub.Family == vnet.IPv6 && sub.Gateway.IsValid() && !sub.Deprecated {
				out = append(out, sub.Gateway)
			}
		}
	}
	return out[:min(len(out), maxServers)]
}

// searchList returns what DNSSL tells. Names that do not fit a DNS message are
// left out: one bad name must not silence the router.
func searchList(svc *plan.Service) []string {
	names := svc.DNS.Search
	if len(names) == 0 && svc.Domain != "" {
		names = []string{svc.Domain}
	}
	var out []string
	for _, n := range names {
		n = strings.TrimSuffix(n, ".")
		if isDomain(n) && !slices.Contains(out, n) && len(out) < maxSearch {
			out = append(out, n)
		}
	}
	return out
}

// isDomain reports whether s can be written as RFC 1035 labels.
func isDomain(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || strings.HasPrefix(label, "xn--") && len(label) < 5 {
			return false
		}
		for _, c := range []byte(label) {
			switch {
			case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			default:
				return false
			}
		}
	}
	return true
}
