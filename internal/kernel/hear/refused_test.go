package hear

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// refusal are the rules of the inet table that concern hearing.
const refusal = `
table inet sextant {
	set shared6 { type ifname . ipv6_addr; flags interval; elements = { "br0" . 2001:db8:7::/64 }; }
	set proxied6 { type ifname . ipv6_addr; elements = { "br0" . 2001:db8:7::5 }; }
	set strangers { type ifname . ether_addr; size 65535; flags dynamic,timeout; timeout 1m; }
	set strange { type ifname; size 65535; flags dynamic,timeout; timeout 1m; }
	chain forward {
		type filter hook forward priority filter; policy accept;
		iifname . ip6 saddr != @proxied6 goto strange6
	}
	chain strange6 {
		iifname . ip6 saddr != @shared6 drop
		update @strangers { iifname . ether saddr limit rate over 2/second burst 8 packets } drop
		update @strange { iifname limit rate over 20/second burst 40 packets } drop
		log prefix "%s" group %d
		drop
	}
}
`

// router makes the bridge's host one between the guests and a link outside.
func (b *bridge) router(t *testing.T) {
	t.Helper()
	b.host.Run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
	b.host.Run("ip", "link", "add", "out", "type", "bridge")
	b.host.Run("ip", "link", "set", "out", "up")
	b.host.Run("ip", "-6", "route", "add", "2001:db8:ffff::/64", "dev", "out")
	if out, err := b.host.Try("nft", fmt.Sprintf(refusal, plan.RefusedLog, plan.HearGroup)); err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
}

// sends sends packets from a guest's link that are to go out, one from each MAC
// and address.
func (b *bridge) sends(t *testing.T, guest int, n int, from func(int) (vnet.MAC, netip.Addr)) {
	t.Helper()
	gateway := macOf(t, b.host, "br0")
	ns := b.guests[guest]
	err := ns.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		to := &unix.SockaddrLinklayer{Ifindex: indexOf(t, ns, "eth0")}
		for i := range n {
			mac, a := from(i)
			src, dst := a.As16(), netip.MustParseAddr("2001:db8:ffff::1").As16()
			f := bytes.Join([][]byte{gateway[:], mac[:], {0x86, 0xdd, 0x60, 0, 0, 0, 0, 8, protoUDP, 64}, src[:], dst[:], {0, 9, 0, 9, 0, 8, 0, 1}}, nil)
			if err := unix.Sendto(fd, f, 0, to); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestRefused: of what is not let out, so much is heard as says whom to ask.
func TestRefused(t *testing.T) {
	netnstest.AlsoVM(t)
	b := newBridge(t, 2)
	b.router(t)
	l := b.listen(t)
	br := indexOf(t, b.host, "br0")
	one, two := macOf(t, b.guests[0], "eth0"), macOf(t, b.guests[1], "eth0")
	gateway := macOf(t, b.host, "br0")
	last := netip.MustParseAddr("2001:db8:7::99")
	// hears counts what is heard until a guest is.
	hears := func(until vnet.MAC) map[vnet.MAC]int {
		t.Helper()
		heard := map[vnet.MAC]int{}
		limit := time.After(5 * time.Second)
		for {
			select {
			case h := <-l.C():
				if !h.Refused {
					continue
				}
				from, err := Source(h.EtherType, h.Packet)
				if err != nil || h.Bridge != br || h.Gateway != gateway || h.Out != 0 || !netip.MustParsePrefix("2001:db8:7::/64").Contains(from) {
					t.Fatalf("%+v, from %v: %v", h, from, err)
				}
				heard[h.MAC]++
				if h.MAC == until && from == last {
					return heard
				}
			case <-limit:
				t.Fatalf("did not hear %v among %v", until, heard)
			}
		}
	}
	known, elsewhere := netip.MustParseAddr("2001:db8:7::5"), netip.MustParseAddr("2001:db8:8::5")
	b.sends(t, 0, 3, func(i int) (vnet.MAC, netip.Addr) { return one, []netip.Addr{known, elsewhere, last}[i] })
	if n := hears(one)[one]; n != 1 {
		t.Errorf("heard %d, want what is in the prefix and not known", n)
	}

	made := func(i int) netip.Addr {
		a := netip.MustParseAddr("2001:db8:7:0:1::").As16()
		binary.BigEndian.PutUint32(a[12:], uint32(i))
		return netip.AddrFrom16(a)
	}
	b.sends(t, 0, 3000, func(i int) (vnet.MAC, netip.Addr) { return one, made(i) })
	b.sends(t, 1, 1, func(int) (vnet.MAC, netip.Addr) { return two, last })
	if n := hears(two)[one]; n == 0 || n > 30 {
		t.Errorf("a guest that makes addresses up is heard %d times", n)
	}

	// One that makes up its MAC as well keeps the others out for a moment.
	b.sends(t, 0, 3000, func(i int) (vnet.MAC, netip.Addr) { return vnet.MAC{2, 1, 0, 0, byte(i >> 8), byte(i)}, made(i) })
	heard := map[vnet.MAC]int{}
	netnstest.Eventually(t, 10*time.Second, "the other is heard", func() error {
		b.sends(t, 1, 1, func(int) (vnet.MAC, netip.Addr) { return two, last })
		for {
			select {
			case h := <-l.C():
				if heard[h.MAC]++; h.MAC == two {
					return nil
				}
			default:
				return fmt.Errorf("heard %d others", len(heard))
			}
		}
	})
	if len(heard) > 400 {
		t.Errorf("%d MACs were heard", len(heard))
	}
}
