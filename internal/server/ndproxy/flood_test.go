package ndproxy

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

// nth is the n-th address of the prefix, spread over it.
func nth(n int) netip.Addr {
	b := prefix.Addr().As16()
	binary.BigEndian.PutUint64(b[8:], uint64(n+1)*0x9e3779b97f4a7c15)
	return netip.AddrFrom16(b)
}

// held is how many things an engine remembers in places that could grow.
func (r *rig) held() int {
	return len(r.questions) + len(r.guests) + len(r.trials.queue) + len(r.trials.running) + len(r.trials.later) + len(r.groups.all)
}

func TestScanOfThePrefix(t *testing.T) {
	r := newRig(t)
	before, inside, seconds := r.held(), 0, 10
	for n := range 100_000 {
		o := r.heard(sideUplink, ns(provider, nth(n)), r.at)
		inside += len(o.frames)
		if len(r.questions) > maxQuestions {
			t.Fatalf("%d questions at once", len(r.questions))
		}
		if n%(100_000/seconds) == 0 {
			inside += len(r.pass(time.Second))
		}
	}
	if most := 2*insideRate.burst + seconds*int(time.Second/insideRate.every); inside > most {
		t.Errorf("guests got %d frames, more than %d", inside, most)
	}
	if got := r.hear(sideUplink, ns(provider, one)); len(got) != 1 {
		t.Errorf("a guest is answered for with %q", got)
	}
	r.pass(time.Minute)
	if r.held() != before {
		t.Errorf("%d things are held, before %d", r.held(), before)
	}
}

// TestScanByAGuest: the uplink hardly notices, nor does another guest.
func TestScanByAGuest(t *testing.T) {
	r := newRig(t)
	outside := 0
	for n := range 100_000 {
		o := r.heard(sideA, ns(guestOne, nth(n)), r.at)
		for _, f := range o.frames {
			if f.side == sideUplink {
				outside++
			}
		}
	}
	if outside > askerRate.burst {
		t.Errorf("the uplink got %d frames", outside)
	}
	if got := r.hear(sideA, dad(guestTwo, nobody)); len(got) != 2 {
		t.Errorf("another guest's DAD is carried as %q", got)
	}
	r.pass(time.Minute)
	for n := range 100_000 { // each from another MAC
		b := dad(vnet.MAC{2, 9, 9, byte(n >> 16), byte(n >> 8), byte(n)}, nth(n))
		for _, f := range r.heard(sideA, b, r.at).frames {
			if f.side == sideUplink {
				outside++
			}
		}
	}
	if outside > askerRate.burst+outsideRate.burst {
		t.Errorf("the uplink got %d frames", outside)
	}
}

func TestFloodOfClaims(t *testing.T) {
	r := newRig(t)
	before, events := r.held(), 0
	for n := range 100_000 {
		o := r.heard(sideUplink, naAll(neighbour, nth(n)), r.at)
		events += len(o.events) + len(r.heard(sideUplink, dad(neighbour, one), r.at).events)
	}
	if r.held() != before || events > eventRate.burst {
		t.Errorf("%d things are held, before %d; %d events", r.held(), before, events)
	}
}

// TestScanWithALiar: a guest that answers for every address of the prefix is
// answered for with none of them, and costs no memory.
func TestScanWithALiar(t *testing.T) {
	r := newRig(t)
	before, events := r.held(), 0
	for n := range 100_000 {
		a := nth(n)
		for _, f := range slices.Clone(r.heard(sideUplink, ns(provider, a), r.at).frames) {
			if f.side == sideUplink {
				t.Fatalf("%v is answered for", a)
			}
		}
		o := r.heard(sideA, naTo(guestOne, gatewayA, a), r.at)
		if events += len(o.events); len(o.frames) > 0 {
			t.Fatalf("%v is answered for", a)
		}
		if len(r.questions) > maxQuestions {
			t.Fatalf("%d questions at once", len(r.questions))
		}
		r.at += 100 * time.Microsecond
	}
	if events == 0 || events > eventRate.burst+int(10*time.Second/eventRate.every)+1 {
		t.Errorf("%d events", events)
	}
	r.pass(time.Minute)
	if r.held() != before {
		t.Errorf("%d things are held, before %d", r.held(), before)
	}
}

// TestGuestsThatComeAndGo: what is put off does not pile up.
func TestGuestsThatComeAndGo(t *testing.T) {
	r := newRig(t)
	for n := range 50_000 {
		r.setGuest(nth(n), "a", r.at)
		r.removeGuest(nth(n), "a", r.at)
	}
	if n := len(r.trials.queue); n > 1000 {
		t.Errorf("%d in the queue", n)
	}
	r.pass(time.Minute)
	if n := r.held(); n != 4 { // two guests and their groups
		t.Errorf("%d things are held", n)
	}
}

func TestGroups(t *testing.T) {
	r := newRig(t)
	member := map[netip.Addr]bool{ipam.SolicitedNode(one): true, ipam.SolicitedNode(two): true}
	follow := func(o *output) {
		t.Helper()
		for _, g := range o.leave {
			if !member[g] {
				t.Fatalf("left %s, joined never", g)
			}
			delete(member, g)
		}
		for _, g := range o.join {
			if member[g] {
				t.Fatalf("joined %s twice", g)
			}
			member[g] = true
		}
		if len(member) > maxGroups {
			t.Fatalf("in %d groups", len(member))
		}
	}
	var all []netip.Addr
	for n := range 2 * maxGroups {
		a := prefix.Addr().As16()
		a[14], a[15] = byte(n>>8), byte(n)|1
		a[8] = byte(n % 2) // pairs share a group
		all = append(all, netip.AddrFrom16(a))
	}
	for n := range maxGroups {
		all = append(all, nth(n))
	}
	for _, a := range all {
		follow(r.setGuest(a, "a", r.at))
	}
	if !r.allMulti() || len(member) != maxGroups {
		t.Errorf("in %d groups, all multicast %v", len(member), r.allMulti())
	}
	for _, a := range all {
		follow(r.removeGuest(a, "a", r.at))
	}
	if r.allMulti() || len(member) != 2 || len(r.groups.list()) != 2 {
		t.Errorf("in %d groups, all multicast %v", len(member), r.allMulti())
	}
}

// BenchmarkAnswers is one core answering a provider for 4096 guests, without
// sockets.
func BenchmarkAnswers(b *testing.B) {
	r := newRig(b)
	frames := make([][]byte, 4096)
	for n := range frames {
		r.setGuest(nth(n), "a", r.at)
		frames[n] = ns(provider, nth(n))
	}
	r.pass(time.Minute)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if o := r.heard(sideUplink, frames[n%len(frames)], r.at); len(o.frames) != 1 {
			b.Fatal("no answer")
		}
		n++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "answers/s")
}

// BenchmarkScan is one core that is asked for addresses which nobody has.
func BenchmarkScan(b *testing.B) {
	r := newRig(b)
	n := 0
	for b.Loop() {
		r.heard(sideUplink, ns(provider, nth(n)), r.at)
		n++
	}
}
