package learn

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/kernel/hear"
	"github.com/sextant-net/sextant/internal/vnet"
)

func TestAbsent(t *testing.T) {
	const shared = "2001:db8::a1b2:c3d4:e5f6:1"
	const had = "0s g1 na " + shared + "\n5s g1 gone\n"
	const lost = "300ms claim port1 " + shared + " slaac shared\n5s release " + shared + ": link gone\n"
	for _, tt := range []struct{ name, script, want string }{
		{"a guest that is back is asked, and has it at once", had + "60s g1 back\n60.02s g1 answers " + shared + "\n70s",
			lost + "1m0s seek link 11 " + shared + "\n1m0s claim port1 " + shared + " slaac shared"},
		{"it stays a temporary one", "0s g1 dad fe80::5054:ff:fe00:1\n" + had + "6s g1 back\n6s g1 answers " + shared,
			"300ms claim port1 " + shared + " slaac shared temporary\n5s release " + shared + ": link gone\n6s seek link 11 " + shared + "\n6s claim port1 " + shared + " slaac shared temporary"},
		{"IPv4 as well", "0s g1 arp 10.0.0.9\n5s g1 gone\n6s g1 back\n6.01s g1 arp 10.0.0.9",
			"300ms claim port1 10.0.0.9 fixed four\n5s release 10.0.0.9: link gone\n6s seek link 11 10.0.0.9\n6s claim port1 10.0.0.9 fixed four"},
		{"one that does not answer is asked some times", had + "10s g1 back\n60s g1 elsewhere\n90s",
			lost + "10s seek link 11 " + shared + "\n10.1s seek link 11 " + shared + "\n10.3s seek link 11 " + shared + "\n10.7s seek link 11 " + shared +
				"\n11.5s seek link 11 " + shared + "\n13.1s seek link 11 " + shared + "\n16.3s seek link 11 " + shared + "\n22.7s seek link 11 " + shared},
		{"it is gone again", had + "10s g1 back\n10.05s g11 gone\n20s g1 back\n20.05s g1 answers " + shared,
			lost + "10s seek link 11 " + shared + "\n20s seek link 11 " + shared + "\n20.1s claim port1 " + shared + " slaac shared"},
		{"it is known by its MAC behind another port", had + "6s g1 elsewhere", lost + "6s seek link 21 " + shared},
		{"after minutes nobody asks", had + "306s g1 back\n400s", "300ms claim port1 " + shared + " slaac shared\n5s release " + shared + ": link gone"},
		{"nor if another has it by then", had + "6s g2 na " + shared + "\n10s g1 back\n11s", lost + "6.3s claim port2 " + shared + " slaac shared"},
		{"nor if it is a lease", had + "6s g1 know " + shared + "\n10s g1 back\n11s", lost[:len(lost)-1]},
		{"one that begins anew does DAD", had + "10s g1 dad " + shared + "\n11s", lost + "10.7s claim port1 " + shared + " slaac shared"},
		{"what was refused or silent is not had", "0s g1 na " + shared + "\n1s g1 refused " + shared + "\n5s g1 gone\n6s g1 back\n9s",
			"300ms claim port1 " + shared + " slaac shared"},
		{"another's answer is no better than before", had + "6s g2 answers " + shared + "\n6.2s\n7s", lost + "6.3s claim port2 " + shared + " slaac shared"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := script(t, tt.script); got != tt.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, tt.want)
			}
		})
	}
}

func TestSeek(t *testing.T) {
	const shared = "2001:db8::a1b2:c3d4:e5f6:1"
	for _, tt := range []struct{ name, script, want string }{
		{"a guest that is not known to have its address is asked", "0s g1 hint " + shared + "\n0s g11 na " + shared + "\n1s",
			"0s seek link 1 " + shared + "\n300ms claim port11 " + shared + " slaac shared"},
		{"a hint alone gives nothing", "0s g1 hint " + shared + "\n9s", "0s seek link 1 " + shared},
		{"who is known is not asked", "0s g1 na " + shared + "\n1s g1 hint " + shared + "\n2s", "300ms claim port1 " + shared + " slaac shared"},
		{"nor where nothing is shared, nor beyond", "0s g1 hint fd00::7\n0s g1 hint 2001:db9::7\n0s g1 hint fe80::7\n0s g1 hint 10.0.0.7\n0s g1 hint ff02::1", ""},
		{"nor for what has an owner", "0s g1 know " + shared + "\n1s g1 hint " + shared, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := script(t, tt.script); got != tt.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, tt.want)
			}
		})
	}
}

// TestAbsentAreBounded: guests whose links come and go, each time with other
// addresses and MACs, cost so much and no more.
func TestAbsentAreBounded(t *testing.T) {
	e := New(Config{})
	e.SetNetwork(epoch, "net", subnets())
	now := epoch
	last := netip.Addr{}
	for n := range 2 * maxAbsent {
		h := Holder{Link: 1, Network: "net", Port: "port1"}
		binary.BigEndian.PutUint32(h.MAC[2:], uint32(n/3))
		b := [16]byte{0: 0x20, 1: 1, 2: 0x0d, 3: 0xb8, 8: 1}
		binary.BigEndian.PutUint32(b[12:], uint32(n))
		last = netip.AddrFrom16(b)
		e.Hear(now, h, &hear.Advertisement{Source: last, Target: last})
		e.Tick(now.Add(settle))
		e.LinkGone(now, 1)
		now = now.Add(time.Millisecond)
	}
	held := 0
	for _, g := range e.absent {
		held += len(g.had)
	}
	if held != e.missed || held > maxAbsent || len(e.absent) > held {
		t.Errorf("%d addresses of %d guests, counted as %d; %d may be", held, len(e.absent), e.missed, maxAbsent)
	}
	r := e.LinkBack(now, Holder{Link: 1, Network: "net", Port: "port1"})
	found := false
	for _, p := range r.Seeks {
		found = found || p.Target == last
	}
	if !found {
		t.Error("the last that went is forgotten")
	}
	for next := e.Next(); !next.IsZero(); next = e.Next() {
		e.Tick(next)
	}
	if e.missed != 0 || len(e.absent)+len(e.back) != 0 {
		t.Errorf("%d are left", e.missed)
	}
	e.Miss(now, Holder{Network: "net", MAC: vnet.MAC{2}}, last, false)
	if e.RemoveNetwork(now, "net"); e.missed != 0 {
		t.Error("a network that is gone is remembered")
	}
}
