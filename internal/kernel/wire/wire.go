// Package wire tells guests, when their network is moved from one outside link
// to another, what the routers there cannot: that the old one is gone. And it
// has the new one speak at once.
package wire

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/mdlayher/ndp"
	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Speaker speaks on links of the host's namespace.
type Speaker struct{ spaces *netns.Set }

// New returns the speaker of the host that spaces stands on.
func New(spaces *netns.Set) *Speaker { return &Speaker{spaces} }

// The groups of RFC 4861 section 2.3 and their MACs (RFC 2464 section 7).
var (
	allNodes   = netip.MustParseAddr("ff02::1")
	allRouters = netip.MustParseAddr("ff02::2")
	nodesMAC   = vnet.MAC{0x33, 0x33, 0, 0, 0, 1}
	routersMAC = vnet.MAC{0x33, 0x33, 0, 0, 0, 2}
)

// longestValid is how long an address can be kept from being taken away by an
// advertisement (RFC 4862 section 5.5.3 e).
const longestValid = 2 * time.Hour

// Farewell says on a bridge, in the name of routers that its guests can no
// longer reach, what a router says that ceases to be one (RFC 4861 section
// 6.2.5), and that its prefixes are no longer to be used for what is new.
func (s *Speaker) Farewell(bridge string, routers []vnet.HeardRouter, now time.Time) error {
	for _, r := range routers {
		if !r.Address.Is6() {
			continue
		}
		b, err := ndp.MarshalMessageChecksum(farewell(r, now), r.Address, allNodes)
		if err != nil {
			return vnet.Errorf(vnet.ErrInternal, "take leave of the router %s: %w", r.Address, err)
		}
		if err := s.send(bridge, func(own vnet.MAC) []byte {
			from := r.MAC
			if from.IsZero() {
				from = own
			}
			return frame(nodesMAC, from, r.Address, allNodes, b)
		}); err != nil {
			return err
		}
	}
	return nil
}

// farewell is the last advertisement of a router.
func farewell(r vnet.HeardRouter, now time.Time) *ndp.RouterAdvertisement {
	ra := &ndp.RouterAdvertisement{}
	for _, p := range r.Prefixes {
		valid := longestValid
		if !p.ValidUntil.IsZero() {
			valid = min(valid, p.ValidUntil.Sub(now))
		}
		if !p.Prefix.IsValid() || valid <= 0 {
			continue
		}
		ra.Options = append(ra.Options, &ndp.PrefixInformation{
			PrefixLength: uint8(p.Prefix.Bits()), Prefix: p.Prefix.Masked().Addr(), OnLink: p.OnLink,
			AutonomousAddressConfiguration: p.Autonomous, ValidLifetime: valid.Truncate(time.Second),
		})
	}
	if len(r.Resolvers) > 0 {
		ra.Options = append(ra.Options, &ndp.RecursiveDNSServer{Servers: r.Resolvers})
	}
	return ra
}

// Solicit has the routers on a bridge advertise themselves: without a source
// address the answer goes to everybody (RFC 4861 section 6.2.6), so to the
// guests of a network that has just joined.
func (s *Speaker) Solicit(bridge string) error {
	b, err := ndp.MarshalMessageChecksum(&ndp.RouterSolicitation{}, netip.IPv6Unspecified(), allRouters)
	if err != nil {
		return vnet.Errorf(vnet.ErrInternal, "solicit routers: %w", err)
	}
	return s.send(bridge, func(own vnet.MAC) []byte { return frame(routersMAC, own, netip.IPv6Unspecified(), allRouters, b) })
}

// send sends what make makes of the link's MAC out by the link.
func (s *Speaker) send(link string, make func(own vnet.MAC) []byte) error {
	err := s.spaces.Do("", func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		req, err := unix.NewIfreq(link)
		if err != nil {
			return err
		}
		if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req); err != nil {
			return err
		}
		index := int(req.Uint32())
		// An unbound socket hears nothing and tells its link's MAC all the same.
		to := &unix.SockaddrLinklayer{Ifindex: index}
		if err := unix.Bind(fd, to); err != nil {
			return err
		}
		at, err := unix.Getsockname(fd)
		if err != nil {
			return err
		}
		var own vnet.MAC
		if l, ok := at.(*unix.SockaddrLinklayer); ok {
			own = vnet.MAC(l.Addr[:6])
		}
		return unix.Sendto(fd, make(own), 0, to)
	})
	if err != nil {
		return vnet.Errorf(vnet.ErrHost, "speak on %s: %w", link, err)
	}
	return nil
}

// icmpv6 is the protocol number of ICMPv6 (RFC 4443).
const icmpv6 = 58

// frame puts an Ethernet and an IPv6 header before a message of neighbour
// discovery, with the hop limit of 255 that makes it count (RFC 4861 section
// 3.1).
func frame(to, from vnet.MAC, src, dst netip.Addr, body []byte) []byte {
	b := append(append([]byte{}, to[:]...), from[:]...)
	b = binary.BigEndian.AppendUint16(b, unix.ETH_P_IPV6)
	b = append(b, 0x60, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	b = append(b, icmpv6, 255)
	b = append(append(b, src.AsSlice()...), dst.AsSlice()...)
	return append(b, body...)
}
