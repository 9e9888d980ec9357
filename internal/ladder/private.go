package ladder

import (
	"hash/fnv"
	"net/netip"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

// tiers are where IPv4 prefixes for `auto` are looked for, the best first.
// DESIGN.md has the reasons.
var tiers = [][]netip.Prefix{
	// Parts of the private ranges (RFC 1918) that few have: away from home
	// routers, from libvirt, VirtualBox, Docker and Podman, from OpenVPN and
	// from what Kubernetes and the clouds give out first.
	{
		netip.MustParsePrefix("192.168.224.0/20"),
		netip.MustParsePrefix("10.48.0.0/12"),
		netip.MustParsePrefix("172.16.64.0/18"),
		netip.MustParsePrefix("192.168.208.0/21"),
		netip.MustParsePrefix("10.64.0.0/12"),
		netip.MustParsePrefix("172.16.192.0/18"),
		netip.MustParsePrefix("192.168.160.0/21"),
	},
	// All of them.
	{
		netip.MustParsePrefix("10.0.0.0/8"),
		netip.MustParsePrefix("172.16.0.0/12"),
		netip.MustParsePrefix("192.168.0.0/16"),
	},
	// A VPN that takes all private ranges leaves the range for benchmarks
	// (RFC 2544), which no public network routes either.
	{netip.MustParsePrefix("198.18.0.0/15")},
}

// occupied is a set of prefixes with who has them.
type occupied = ipam.Set[holder]

// free finds an IPv4 prefix for a subnet that overlaps nothing in any of the
// sets. Where it begins to look depends on the host and the subnet alone, so
// that two hosts, or two networks, seldom choose the same, and the same one
// chooses the same again.
func free(host string, w *Wish, s *vnet.Subnet, sets ...*occupied) (netip.Prefix, bool) {
	h := fnv.New64a()
	for _, part := range []string{host, string(w.Network), string(s.ID)} {
		_, _ = h.Write([]byte(part)) // cannot fail
		_, _ = h.Write([]byte{0})
	}
	seed := h.Sum64()
	for _, blocks := range tiers {
		first := int(seed >> 33 % uint64(len(blocks)))
		for i := range blocks {
			if p, ok := freeIn(blocks[(first+i)%len(blocks)], seed, sets); ok {
				return p, true
			}
		}
	}
	return netip.Prefix{}, false
}

// freeIn looks through one block from a place that the seed says on, once
// around, stepping over what is in the way as a whole.
func freeIn(block netip.Prefix, seed uint64, sets []*occupied) (netip.Prefix, bool) {
	count, _ := ipam.SubnetCount(block, vnet.AutoPrefixLen4)
	start := seed % count
	for _, part := range [][2]uint64{{start, count}, {0, start}} {
		for i := part[0]; i < part[1]; {
			p, err := ipam.NthSubnet(block, vnet.AutoPrefixLen4, i)
			if err != nil {
				return netip.Prefix{}, false // cannot be: i is below count
			}
			in, clash := anyOverlap(p, sets)
			if !clash {
				return p, true
			}
			i = after(block, in, i)
		}
	}
	return netip.Prefix{}, false
}

// after is the number of the first prefix of the block behind number i and what
// is in its way.
func after(block, in netip.Prefix, i uint64) uint64 {
	if in.Bits() >= vnet.AutoPrefixLen4 {
		return i + 1
	}
	last := ipam.Last(in)
	if !block.Contains(last) {
		last = ipam.Last(block)
	}
	if n, ok := ipam.SubnetIndex(block, netip.PrefixFrom(last, vnet.AutoPrefixLen4)); ok && n >= i {
		return n + 1
	}
	return i + 1
}

func anyOverlap(p netip.Prefix, sets []*occupied) (netip.Prefix, bool) {
	for _, s := range sets {
		if e, ok := s.Overlap(p); ok {
			return e.Prefix, true
		}
	}
	return netip.Prefix{}, false
}
