package link_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

func many(n int) []plan.Item {
	var bridges, taps, sysctls, members, addresses []plan.Item
	for i := range n {
		br, tap := fmt.Sprintf("sxb%d", i), fmt.Sprintf("sxt%d", i)
		bridges = append(bridges, plan.Bridge{Name: br, Owner: owner, MAC: vnet.MAC{0x52, 0x54, 0, 1, byte(i >> 8), byte(i)}, MTU: 1500})
		taps = append(taps, plan.Veth{Name: tap, Owner: port, MTU: 1500, Peer: fmt.Sprintf("p%d", i)})
		for _, s := range []string{"accept_ra", "autoconf", "accept_redirects"} {
			sysctls = append(sysctls, plan.Sysctl{Path: "net/ipv6/conf/" + br + "/" + s, Value: "0"})
		}
		sysctls = append(sysctls, plan.Sysctl{Path: "net/ipv6/conf/" + tap + "/disable_ipv6", Value: "1"})
		members = append(members, plan.Member{Link: tap, Bridge: br, Owner: port}, plan.Up{Link: br, Owner: owner})
		a4 := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1})
		a6 := netip.MustParseAddr(fmt.Sprintf("fd00:0:0:%x::1", i))
		addresses = append(addresses, plan.Address{Link: br, Prefix: netip.PrefixFrom(a4, 24), Owner: owner}, plan.Address{Link: br, Prefix: netip.PrefixFrom(a6, 64), Owner: owner})
	}
	var all []plan.Item
	for _, l := range [][]plan.Item{bridges, taps, sysctls, members, addresses} {
		all = append(all, l...)
	}
	return all
}

// TestScale makes and removes a good many networks. It sets no limit, since
// the machine is shared, but logs what each step took.
func TestScale(t *testing.T) {
	n := 50
	if testing.Short() {
		n = 20
	}
	h := newHost(t)
	items := many(n)
	step := func(what string, f func()) {
		start := time.Now()
		f()
		t.Logf("%d networks with a port each: %s in %v", n, what, time.Since(start).Round(time.Millisecond))
	}
	step("made", func() { h.apply(items, nil) })
	step("made again", func() { h.apply(items, nil) })
	var got map[plan.Key]plan.Item
	step("read", func() { got = h.actual(items) })
	for _, i := range items {
		if got[i.Key()] != i {
			t.Fatalf("%v: %v", i.Key(), got[i.Key()])
		}
	}
	step("removed", func() {
		var del []plan.Item
		for _, i := range items {
			switch i.(type) {
			case plan.Bridge, plan.Veth:
				del = append(del, i)
			}
		}
		h.apply(nil, del)
	})
	if got := h.actual(nil); len(got) != 0 {
		t.Errorf("%d items left behind", len(got))
	}
}
