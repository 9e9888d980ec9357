package learn

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sextant-net/sextant/internal/kernel/hear"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

var epoch = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func holder(link int) Holder {
	return Holder{Link: link, Network: "net", Port: vnet.ID(fmt.Sprintf("port%d", link)), MAC: vnet.MAC{0x52, 0x54, 0, 0, 0, byte(link)}}
}

func subnets() []plan.Subnet {
	return []plan.Subnet{
		{ID: "six", Family: vnet.IPv6, Prefix: netip.MustParsePrefix("fd00::/64"), Gateway: addr("fd00::1"), Guests: vnet.GuestsSLAACStateful},
		{ID: "shared", Family: vnet.IPv6, Prefix: netip.MustParsePrefix("2001:db8::/64"), Guests: vnet.GuestsSLAACStateful, OffLink: true},
		{ID: "four", Family: vnet.IPv4, Prefix: netip.MustParsePrefix("10.0.0.0/24"), Gateway: addr("10.0.0.1"), Guests: vnet.GuestsDHCP},
	}
}

// script drives an engine: one line per step, "AFTER who what ADDRESS", and
// the lines it prints are what the engine asked for.
func script(t *testing.T, lines string) string {
	t.Helper()
	e := New(Config{})
	var out []string
	now := epoch
	show := func(r Result) {
		at := now.Sub(epoch).Round(100 * time.Millisecond)
		for _, x := range r.Releases {
			out = append(out, fmt.Sprintf("%v release %s: %s", at, x.Address, x.Why))
		}
		for _, x := range r.Replaced {
			out = append(out, fmt.Sprintf("%v replaced %s", at, x.Address))
		}
		for _, c := range r.Claims {
			s := fmt.Sprintf("%v claim %s %s %s %s", at, c.Port, c.Address, c.How, c.Subnet)
			if c.Temporary {
				s += " temporary"
			}
			out = append(out, s)
		}
		for _, p := range r.Probes {
			out = append(out, fmt.Sprintf("%v probe %s %s", at, p.Port, p.Target))
		}
		for _, p := range r.Seeks {
			out = append(out, fmt.Sprintf("%v seek link %d %s", at, p.Link, p.Target))
		}
	}
	show(e.SetNetwork(now, "net", subnets()))
	show(e.SetKnown(now, "net", []netip.Addr{addr("fd00::d"), addr("10.0.0.77")}))
	for line := range strings.Lines(lines) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		d, err := time.ParseDuration(f[0])
		if err != nil {
			t.Fatal(err)
		}
		to := epoch.Add(d)
		for next := e.Next(); !next.IsZero() && !next.After(to); next = e.Next() {
			now = next
			show(e.Tick(now))
		}
		now = to
		var link int
		if len(f) > 1 {
			fmt.Sscanf(f[1], "g%d", &link)
		}
		if len(f) < 3 {
			continue
		}
		var a netip.Addr
		if len(f) > 3 {
			a = addr(f[3])
		}
		unspecified := netip.IPv6Unspecified()
		switch f[2] {
		case "dad":
			show(e.Hear(now, holder(link), &hear.Solicitation{Source: unspecified, Target: a}))
		case "na":
			show(e.Hear(now, holder(link), &hear.Advertisement{Source: a, Target: a}))
		case "ns":
			show(e.Hear(now, holder(link), &hear.Solicitation{Source: a, Target: addr("fd00::1")}))
		case "arpprobe":
			show(e.Hear(now, holder(link), &hear.ARP{Sender: netip.IPv4Unspecified(), Target: a}))
		case "arp":
			show(e.Hear(now, holder(link), &hear.ARP{Sender: a, Target: addr("10.0.0.1")}))
		case "gone":
			show(e.LinkGone(now, link))
		case "back": // by its port: the index is a new one
			h := holder(link)
			h.Link, h.MAC = link+10, vnet.MAC{}
			show(e.LinkBack(now, h))
		case "elsewhere": // known by its MAC only
			h := holder(link)
			h.Link, h.Port = link+20, ""
			show(e.Hear(now, h, &hear.RouterSolicitation{Source: addr("fe80::7")}))
		case "answers":
			h := holder(link)
			h.Link = link + 10
			show(e.Hear(now, h, &hear.Advertisement{Source: a, Target: a, Solicited: true}))
		case "hint":
			show(e.Seek(holder(link), a))
		case "know":
			show(e.Know(now, "net", a))
		case "refused":
			e.Refused("net", a)
		case "renumber":
			show(e.SetNetwork(now, "net", subnets()[1:]))
		default:
			t.Fatalf("what is %q", f[2])
		}
	}
	return strings.Join(out, "\n")
}

func TestEngine(t *testing.T) {
	const random, other = "fd00::a1b2:c3d4:e5f6:1", "fd00::9999:c3d4:e5f6:1"
	for _, tt := range []struct{ name, script, want string }{
		{"DAD undisputed is taken within 2 s", "0s g1 dad " + random + "\n2s", "1s claim port1 " + random + " slaac six"},
		{"in a shared prefix, within DAD's second", "0s g1 dad 2001:db8::a1b2:c3d4:e5f6:1\n2s", "700ms claim port1 2001:db8::a1b2:c3d4:e5f6:1 slaac shared"},
		{"DAD defended", "0s g1 dad " + random + "\n500ms g2 na " + random + "\n3s", "800ms claim port2 " + random + " slaac six"},
		{"two ask at once: neither", "0s g1 dad " + random + "\n300ms g2 dad " + random + "\n3s", ""},
		{"two DAD packets", "0s g1 dad " + random + "\n900ms g1 dad " + random + "\n4s", "1.9s claim port1 " + random + " slaac six"},
		{"any ND source", "0s g1 ns " + random + "\n1s", "300ms claim port1 " + random + " slaac six"},
		{"used while tentative", "0s g1 dad " + random + "\n200ms g1 na " + random + "\n2s", "500ms claim port1 " + random + " slaac six"},
		{"EUI-64 and a temporary one", "0s g1 dad fe80::5054:ff:fe00:1\n0s g1 na " + random + "\n1s g1 na fd00::5054:ff:fe00:1\n2s",
			"300ms claim port1 " + random + " slaac six temporary\n1.3s claim port1 fd00::5054:ff:fe00:1 slaac six"},
		{"second random address", "0s g1 na " + random + "\n1s g1 na " + other + "\n2s", "300ms claim port1 " + random + " slaac six\n1.3s claim port1 " + other + " slaac six temporary"},
		{"configured by hand", "0s g1 dad fd00::53\n2s", "1s claim port1 fd00::53 fixed six"},
		{"never link-local, the gateway, the known, another prefix, the network, broadcast",
			"0s g1 na fe80::7\n0s g1 na fd00::1\n0s g1 na fd00::d\n0s g1 na fd01::7\n0s g1 na fd00::\n0s g1 arp 10.0.0.0\n0s g1 arp 10.0.0.255\n0s g1 arp 10.0.0.77\n0s g1 arp 10.0.0.1\n9s", ""},
		{"ARP", "0s g1 arp 10.0.0.9\n1s", "300ms claim port1 10.0.0.9 fixed four"},
		{"ARP probes", "0s g1 arpprobe 10.0.0.9\n1s g1 arpprobe 10.0.0.9\n5s", "3.5s claim port1 10.0.0.9 fixed four"},
		{"gone with its link", "0s g1 na fd00::53\n5s g1 gone\n100s", "300ms claim port1 fd00::53 fixed six\n5s release fd00::53: link gone"},
		{"silent", "0s g1 na fd00::53\n90s", "300ms claim port1 fd00::53 fixed six\n58.4s probe port1 fd00::53\n59.4s probe port1 fd00::53\n1m0.4s probe port1 fd00::53\n1m1.4s release fd00::53: silent"},
		{"answers the second probe", "0s g1 na fd00::53\n59.5s g1 na fd00::53\n70s", "300ms claim port1 fd00::53 fixed six\n58.4s probe port1 fd00::53\n59.4s probe port1 fd00::53"},
		{"asked together with whose turn is soon", "0s g1 na fd00::53\n3s g2 na fd00::54\n20s g3 na fd00::55\n58.5s",
			"300ms claim port1 fd00::53 fixed six\n3.3s claim port2 fd00::54 fixed six\n20.3s claim port3 fd00::55 fixed six\n57.7s probe port2 fd00::54\n57.7s probe port1 fd00::53"},
		{"takes another instead", "0s g1 arp 10.0.0.9\n20s g1 arp 10.0.0.8\n30s",
			"300ms claim port1 10.0.0.9 fixed four\n20.3s claim port1 10.0.0.8 fixed four\n21.3s probe port1 10.0.0.9\n22.3s probe port1 10.0.0.9\n23.3s probe port1 10.0.0.9\n24.3s release 10.0.0.9: silent"},
		{"moves when the old one is silent", "0s g1 na fd00::53\n10s g2 na fd00::53\n12s g2 na fd00::53\n20s",
			"300ms claim port1 fd00::53 fixed six\n10s probe port1 fd00::53\n11s probe port1 fd00::53\n12s probe port1 fd00::53\n13s release fd00::53: silent\n13s claim port2 fd00::53 fixed six"},
		{"stays when the old one answers", "0s g1 na fd00::53\n10s g2 dad fd00::53\n11.5s g1 na fd00::53\n12s g2 na fd00::53\n20s",
			"300ms claim port1 fd00::53 fixed six\n10s probe port1 fd00::53\n11s probe port1 fd00::53"},
		{"moves at once when the old link goes during a contest", "0s g1 na fd00::53\n10s g2 na fd00::53\n10.5s g1 gone",
			"300ms claim port1 fd00::53 fixed six\n10s probe port1 fd00::53\n10.5s release fd00::53: link gone\n10.5s claim port2 fd00::53 fixed six"},
		{"a lease comes", "0s g1 na fd00::53\n1s g1 know fd00::53\n2s g1 na fd00::53", "300ms claim port1 fd00::53 fixed six\n1s replaced fd00::53"},
		{"the lease of a guest that speaks at once comes in time", "0s g1 arp 10.0.0.9\n200ms g1 know 10.0.0.9\n5s", ""},
		{"the first to use it", "0s g1 na fd00::53\n100ms g2 na fd00::53\n200ms g2 dad fd00::53\n1s", "300ms claim port1 fd00::53 fixed six"},
		{"the store refuses", "0s g1 na fd00::53\n400ms g1 refused fd00::53\n99s", "300ms claim port1 fd00::53 fixed six"},
		{"renumbered", "0s g1 na fd00::53\n1s g1 renumber\n2s g1 na fd00::53", "300ms claim port1 fd00::53 fixed six\n1s release fd00::53: prefix gone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := script(t, tt.script); got != tt.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, tt.want)
			}
		})
	}
}

func TestAtMostSoManyPerPort(t *testing.T) {
	e := New(Config{})
	e.SetNetwork(epoch, "net", subnets())
	claims := 0
	for i := range 500 {
		a := netip.AddrFrom16([16]byte{0: 0xfd, 8: 1, 14: byte(i >> 8), 15: byte(i)})
		e.Hear(epoch, holder(1), &hear.Advertisement{Source: a, Target: a})
	}
	claims += len(e.Tick(epoch.Add(settle)).Claims)
	if claims != MaxPerPort {
		t.Errorf("%d claims, want %d", claims, MaxPerPort)
	}
	e.Hear(epoch, holder(2), &hear.Advertisement{Source: addr("fd00::99"), Target: addr("fd00::99")})
	if got := e.Tick(epoch.Add(settle)); len(got.Claims) != 1 {
		t.Error("another port is held off too")
	}
}

func TestAdopt(t *testing.T) {
	e := New(Config{})
	e.SetNetwork(epoch, "net", subnets())
	if r := e.Adopt(epoch, holder(1), vnet.Lease{Address: addr("fd00::53")}); len(r.Releases)+len(r.Claims) != 0 {
		t.Errorf("adopt: %+v", r)
	}
	if r := e.Tick(epoch.Add(time.Second)); len(r.Probes) != 1 {
		t.Errorf("after a second: %+v, want a probe", r)
	}
	if r := e.Hear(epoch, holder(1), &hear.Advertisement{Source: addr("fd00::53"), Target: addr("fd00::53")}); len(r.Claims) != 0 {
		t.Errorf("claimed twice: %+v", r)
	}
	if r := e.Adopt(epoch, holder(1), vnet.Lease{Address: addr("fd77::53")}); len(r.Releases) != 1 {
		t.Errorf("adopt of an unfit address: %+v, want it released", r)
	}
}

// TestProperties does anything in any order and checks what must always hold.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := New(Config{})
		now := epoch
		owner := map[netip.Addr]vnet.ID{}
		known := map[netip.Addr]bool{}
		take := func(r Result) {
			for _, x := range append(r.Releases, r.Replaced...) {
				if _, held := owner[x.Address]; !held {
					t.Fatalf("release of %s, which nobody holds", x.Address)
				}
				delete(owner, x.Address)
			}
			for _, c := range r.Claims {
				if o, held := owner[c.Address]; held {
					t.Fatalf("%s claimed for %s while %s holds it", c.Address, c.Port, o)
				}
				if known[c.Address] || c.Address.IsLinkLocalUnicast() || c.Address == addr("fd00::1") {
					t.Fatalf("claim of %s", c.Address)
				}
				owner[c.Address] = c.Port
			}
			for _, p := range r.Seeks {
				if o, held := owner[p.Target]; held || known[p.Target] {
					t.Fatalf("%s is sought, and is %s's", p.Target, o)
				}
			}
			for _, p := range r.Probes {
				if owner[p.Target] != p.Port {
					t.Fatalf("probe of %s at %s, which is not its holder", p.Target, p.Port)
				}
			}
			if held, _ := e.Len(); held != len(owner) {
				t.Fatalf("the engine holds %d, its claims say %d", held, len(owner))
			}
		}
		take(e.SetNetwork(now, "net", subnets()))
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			h := holder(rapid.IntRange(1, 3).Draw(t, "link"))
			a := netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(rapid.IntRange(0, 6).Draw(t, "host"))})
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0, 1, 2:
				take(e.Hear(now, h, &hear.Solicitation{Source: netip.IPv6Unspecified(), Target: a}))
			case 3, 4:
				take(e.Hear(now, h, &hear.Advertisement{Source: a, Target: a}))
			case 5:
				take(e.LinkGone(now, h.Link))
				for a, o := range owner {
					if o == h.Port {
						t.Fatalf("%s is still held by a port that is gone", a)
					}
				}
			case 6:
				known[a] = true
				take(e.Know(now, "net", a))
			case 7:
				delete(known, a)
				e.Unknow("net", a)
			case 8:
				take(e.LinkBack(now, h))
				take(e.Seek(h, a))
			default:
				take(e.Tick(now))
				if next := e.Next(); !next.IsZero() && !next.After(now) {
					t.Fatalf("after Tick something is still due at %v", next.Sub(now))
				}
			}
		}
		for i := range 3 {
			take(e.LinkGone(now, i+1))
		}
		if held, tentative := e.Len(); held+tentative != 0 || !e.Next().IsZero() {
			t.Fatalf("all links are gone, and %d+%d addresses are left", held, tentative)
		}
	})
}
