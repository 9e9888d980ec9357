package radv

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/mdlayher/ndp"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// allNodes is where multicast advertisements go.
var allNodes = netip.MustParseAddr("ff02::1")

// advertisement builds the router advertisement of svc at a moment. gone are
// prefixes that are called back; final makes it the last one: no router, no
// prefix to prefer.
func advertisement(svc *plan.Service, gone []netip.Prefix, now time.Time, final bool) *ndp.RouterAdvertisement {
	ra := &ndp.RouterAdvertisement{CurrentHopLimit: currentHopLimit}
	if svc.RA.DefaultRouter && !final {
		ra.RouterLifetime = routerLifetime
	}
	ra.ManagedConfiguration, ra.OtherConfiguration = flags(svc)
	if svc.MAC.IsUnicast() {
		ra.Options = append(ra.Options, &ndp.LinkLayerAddress{
			Direction: ndp.Source, Addr: net.HardwareAddr(svc.MAC[:]),
		})
	}
	if svc.MTU >= 1280 { // RFC 8200 section 5
		ra.Options = append(ra.Options, ndp.NewMTU(uint32(svc.MTU)))
	}
	count := 0
	for _, sub := range svc.Subnets {
		if sub.Family != vnet.IPv6 || count == maxPrefixes {
			continue
		}
		ra.Options = append(ra.Options, prefixInformation(&sub, now, final))
		count++
	}
	for _, p := range gone {
		if count == maxPrefixes {
			break
		}
		ra.Options = append(ra.Options, &ndp.PrefixInformation{
			PrefixLength: uint8(p.Bits()), Prefix: p.Addr(), OnLink: true,
			AutonomousAddressConfiguration: p.Bits() == 64,
		})
		count++
	}
	dns := dnsLifetime
	if final {
		dns = 0
	}
	if servers := nameServers(svc); len(servers) > 0 {
		ra.Options = append(ra.Options, &ndp.RecursiveDNSServer{Lifetime: dns, Servers: servers})
	}
	if names := searchList(svc); len(names) > 0 {
		ra.Options = append(ra.Options, &ndp.DNSSearchList{Lifetime: dns, DomainNames: names})
	}
	return ra
}

// flags returns M and O (RFC 4861 section 4.2): M where some subnet gives
// addresses by DHCPv6, O where some only gives options. Deprecated subnets
// give no new addresses, so they count only when there is no other.
func flags(svc *plan.Service) (managed, other bool) {
	for _, deprecated := range []bool{false, true} {
		seen := false
		for _, sub := range svc.Subnets {
			if sub.Family != vnet.IPv6 || sub.Deprecated != deprecated {
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

// prefixInformation is the option of one subnet (RFC 4861 section 4.6.2).
func prefixInformation(sub *plan.Subnet, now time.Time, final bool) *ndp.PrefixInformation {
	prefix := sub.Prefix.Masked()
	pi := &ndp.PrefixInformation{
		PrefixLength:      uint8(prefix.Bits()),
		Prefix:            prefix.Addr(),
		OnLink:            !sub.OffLink,
		ValidLifetime:     until(sub.ValidUntil, now, validLimit),
		PreferredLifetime: until(sub.PreferredUntil, now, preferredLimit),
	}
	switch sub.Guests {
	case vnet.GuestsSLAAC, vnet.GuestsStateless, vnet.GuestsSLAACStateful:
		// RFC 4862 section 5.5.3 d: interface identifiers have 64 bits.
		pi.AutonomousAddressConfiguration = prefix.Bits() == 64
	}
	if final {
		pi.ValidLifetime = 0
	}
	if final || sub.Deprecated {
		pi.PreferredLifetime = 0
	}
	pi.PreferredLifetime = min(pi.PreferredLifetime, pi.ValidLifetime)
	return pi
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
