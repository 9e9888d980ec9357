package radv

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// TestSplit: what does not fit one packet goes into several (RFC 4861 section
// 6.2.3), each with header and source, and nothing is lost.
func TestSplit(t *testing.T) {
	var subnets []plan.Subnet
	for i := range 200 {
		subnets = append(subnets, subnet(fmt.Sprintf("2001:db8:%x::/64", i+1), vnet.GuestsSLAAC))
	}
	for _, mtu := range []int{0, 1280, 1500, 9000} {
		svc := service(subnets...)
		svc.MTU = mtu
		for i := range 20 {
			svc.DNS.Search = append(svc.DNS.Search, fmt.Sprintf("%s.%d.example", strings.Repeat("a", 60), i))
		}
		svc.DNS.Encrypted = []vnet.EncryptedDNS{encrypted("1 dot.example 2001:db8::53 alpn=dot")}
		out := started(svc).to(allNodes, whole, at(0))
		all := texts(out)
		for _, m := range out {
			if n := ipLen + len(m.data); n > max(mtu, 1280) {
				t.Errorf("MTU %d: a packet of %d bytes", mtu, n)
			}
			if got := text(m.data); !strings.HasPrefix(got, "router lifetime 30m0s M=false O=false hop limit 64\nsource 52:54:00:01:02:03\n") {
				t.Errorf("MTU %d: begins with\n%.100s", mtu, got)
			}
		}
		for _, s := range subnets {
			if n := strings.Count(all, "prefix "+s.Prefix.String()); n != 1 {
				t.Errorf("MTU %d: %v is there %d times", mtu, s.Prefix, n)
			}
		}
		for _, n := range svc.DNS.Search {
			if !strings.Contains(all, n) {
				t.Errorf("MTU %d: no %s", mtu, n)
			}
		}
		if !strings.Contains(all, "encrypted") || !strings.Contains(all, "rdnss") {
			t.Errorf("MTU %d: resolvers are lost", mtu)
		}
		if one := len(out) == 1; one != (mtu == 9000) {
			t.Errorf("MTU %d: %d packets", mtu, len(out))
		}
	}
}

// TestMTUToldBoundsPackets: guests may be told less than the link has.
func TestMTUToldBoundsPackets(t *testing.T) {
	svc := service()
	svc.MTU, svc.RA.Policy.MTU = 9000, ptr(1300)
	for i := range 100 {
		svc.Subnets = append(svc.Subnets, subnet(fmt.Sprintf("2001:db8:%x::/64", i+1), vnet.GuestsSLAAC))
	}
	for _, m := range started(svc).to(allNodes, whole, at(0)) {
		if n := ipLen + len(m.data); n > 1300 {
			t.Errorf("a packet of %d bytes", n)
		}
	}
}

// TestLongNames: a name as long as names can be does not fit the codec's
// options, and is told all the same; what fits no packet is left out.
func TestLongNames(t *testing.T) {
	long := strings.TrimSuffix(strings.Repeat(strings.Repeat("x", 62)+".", 4), ".")
	svc := service(subnet(net1, vnet.GuestsSLAAC))
	svc.DNS.Search = []string{long}
	svc.DNS.Encrypted = []vnet.EncryptedDNS{{Priority: 1, Name: long, Path: "/" + strings.Repeat("p", 2000), Addresses: []netip.Addr{netip.MustParseAddr("2001:db8::53")}}}
	got := texts(started(svc).to(allNodes, whole, at(0)))
	if !strings.Contains(got, long) || strings.Contains(got, "encrypted") || strings.Count(got, "router lifetime") != 1 {
		t.Errorf("%s", got)
	}
}

// TestRoutesAreFew: RFC 4191 section 4 has at most 17 routes on a link.
func TestRoutesAreFew(t *testing.T) {
	svc := service(subnet(net1, vnet.GuestsSLAAC))
	for i := range 40 {
		svc.Routes = append(svc.Routes, vnet.Route{Prefix: netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x::/48", 0x100+i))})
	}
	if got := strings.Count(texts(started(svc).to(allNodes, whole, at(0))), "route "); got != maxRoutes {
		t.Errorf("%d routes are told", got)
	}
}
