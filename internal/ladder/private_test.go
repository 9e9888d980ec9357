package ladder

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

// popular are ranges that nearly every host meets; a first choice must be in
// none of them.
var popular = prefixes(
	"192.168.0.0/23", "192.168.8.0/24", "192.168.10.0/24", "192.168.42.0/23", "192.168.49.0/24", "192.168.56.0/24",
	"192.168.64.0/23", "192.168.86.0/24", "192.168.88.0/24", "192.168.99.0/24", "192.168.100.0/24", "192.168.122.0/24",
	"192.168.137.0/24", "192.168.178.0/24",
	"10.0.0.0/15", "10.8.0.0/16", "10.10.0.0/16", "10.42.0.0/15", "10.88.0.0/15", "10.96.0.0/12", "10.128.0.0/9",
	"172.17.0.0/16", "172.18.0.0/15", "172.20.0.0/14", "172.24.0.0/13",
)

func TestFirstChoices(t *testing.T) {
	private := prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
	seen := map[netip.Prefix]int{}
	ranges := map[netip.Prefix]int{}
	for i := range 300 {
		w := autoNet(fmt.Sprintf("network-%d", i))
		out := Decide(Input{Now: start, Host: "h", Wishes: []Wish{w}})
		p := out.Held[0].Prefix
		seen[p]++
		for _, u := range popular {
			if ipam.Overlaps(p, u) {
				t.Errorf("%s is in %s", p, u)
			}
		}
		for _, r := range private {
			if ipam.Contains(r, p) && p.Bits() == 24 {
				ranges[r]++
			}
		}
		if other := Decide(Input{Now: start, Host: "h", Wishes: []Wish{w}}); other.Held[0].Prefix != p {
			t.Errorf("%s, and %s the next time", p, other.Held[0].Prefix)
		}
	}
	if len(seen) < 100 {
		t.Errorf("300 networks of one network each chose %d prefixes", len(seen))
	}
	for _, r := range private {
		if ranges[r] < 30 {
			t.Errorf("%d of 300 in %s", ranges[r], r)
		}
	}
}

func TestManyNetworks(t *testing.T) {
	in := Input{Now: start, Host: "h"}
	for i := range 1000 {
		in.Wishes = append(in.Wishes, autoNet(fmt.Sprintf("network-%d", i)))
	}
	out := Decide(in)
	if len(out.Claim) != 1000 {
		t.Fatalf("%d prefixes for 1000 networks", len(out.Claim))
	}
	checkStable(t, in, out)
}

func TestLastPrefixIsFound(t *testing.T) {
	// All of 10/8 and 192.168/16, and all of 172.16/12 but one /24.
	in := Input{Host: "h", Wishes: []Wish{autoNet("a")}, Used: used("10.0.0.0/8", "192.168.0.0/16")}
	for i := range uint64(4096) {
		p, err := ipam.NthSubnet(pfx("172.16.0.0/12"), 24, i)
		if err != nil {
			t.Fatal(err)
		}
		if p != pfx("172.29.77.0/24") {
			in.Used = append(in.Used, Used{Prefix: p})
		}
	}
	if out := Decide(in); len(out.Held) != 1 || out.Held[0].Prefix != pfx("172.29.77.0/24") {
		t.Errorf("%v", out.Held)
	}
}

func TestDecideProperties(t *testing.T) {
	drawPrefix := func(t *rapid.T, label string) netip.Prefix {
		roots := prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "192.168.224.0/20", "10.48.0.0/12", "0.0.0.0/0")
		r := rapid.SampledFrom(roots).Draw(t, label)
		bits := rapid.IntRange(r.Bits(), 32).Draw(t, label+" bits")
		n, _ := ipam.SubnetCount(r, bits)
		p, _ := ipam.NthSubnet(r, bits, rapid.Uint64().Draw(t, label+" n")%n)
		return p
	}
	rapid.Check(t, func(t *rapid.T) {
		in := Input{Now: start, Host: "h", ULA: pfx("fd00:1:2::/48")}
		scopes := []vnet.Scope{"", vnet.ScopeHost, "router-1"}
		var ids []string
		for i := range rapid.IntRange(0, 6).Draw(t, "wishes") {
			id := fmt.Sprintf("n%d", i)
			ids = append(ids, id)
			w := autoNet(id)
			if rapid.IntRange(0, 3).Draw(t, "fixed") == 0 {
				w = fixedNet(id, drawPrefix(t, "prefix").String())
			}
			w.Scope = rapid.SampledFrom(scopes).Draw(t, "scope")
			w.Stopped = rapid.IntRange(0, 3).Draw(t, "stopped") == 0
			in.Wishes = append(in.Wishes, w)
		}
		for range rapid.IntRange(0, 8).Draw(t, "used") {
			in.Used = append(in.Used, Used{Prefix: drawPrefix(t, "used"), Scope: rapid.SampledFrom(scopes).Draw(t, "scope"), Label: "x"})
		}
		for range rapid.IntRange(0, 8).Draw(t, "held") {
			p := drawPrefix(t, "held")
			a := holding(rapid.SampledFrom(append(ids, "gone")).Draw(t, "of"), p.String())
			a.Since = start.Add(-time.Duration(rapid.IntRange(0, 5).Draw(t, "age")) * time.Minute)
			if rapid.IntRange(0, 3).Draw(t, "old") == 0 {
				a = old(a, time.Duration(rapid.IntRange(-1, 2).Draw(t, "left"))*time.Minute)
			}
			in.Held = append(in.Held, a)
		}
		out := Decide(in)
		checkStable(t, in, out)
		if len(in.Held)+countNew(out) != len(out.Held)+len(out.Release) {
			t.Fatalf("of %d held and %d new, %d are held and %d released", len(in.Held), countNew(out), len(out.Held), len(out.Release))
		}
	})
}

func countNew(out Output) (n int) {
	for _, a := range out.Claim {
		if a.ID == "" {
			n++
		}
	}
	return n
}

// BenchmarkFullTable decides on a host with a full IPv4 routing table.
func BenchmarkFullTable(b *testing.B) {
	in := Input{Now: start, Host: "h", Wishes: []Wish{autoNet("a")}}
	for i := range uint32(1_000_000) {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], (i*2654435761)&^0xff)
		in.Used = append(in.Used, Used{Prefix: netip.PrefixFrom(netip.AddrFrom4(a), 24), Label: "x"})
	}
	for b.Loop() {
		Decide(in)
	}
}

// BenchmarkThousandNetworks decides again when nothing has changed.
func BenchmarkThousandNetworks(b *testing.B) {
	in := Input{Now: start, Host: "h", Used: used("192.168.1.0/24", "2001:db8::/32")}
	for i := range 1000 {
		in.Wishes = append(in.Wishes, autoNet(fmt.Sprintf("network-%d", i)))
	}
	in.Held = Decide(in).Held
	for b.Loop() {
		Decide(in)
	}
}
