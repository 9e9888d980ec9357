package dhcp4

import (
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// An address of an open range is looked for before it is offered to who did
// not have it, and one that answers is offered to nobody.
func TestProbe(t *testing.T) {
	f := newFake(t, service(subnet("192.0.2.0/24", "192.0.2.50-192.0.2.53")))
	f.SetGuest(guest(9, "192.0.2.77"))
	f.squat = map[netip.Addr]vnet.MAC{ip("192.0.2.50"): mac(99), ip("192.0.2.51"): mac(99)}
	a := f.dora(msg{mac: mac(1), requested: "192.0.2.50"})
	if !f.squat[a].IsZero() || len(f.probed) == 0 || f.probed[len(f.probed)-1] != a {
		t.Fatalf("got %v after looking for %v", a, f.probed)
	}
	b := f.dora(msg{mac: mac(2), requested: "192.0.2.51"})
	if !f.squat[b].IsZero() || a == b {
		t.Errorf("got %v, another has %v", b, a)
	}
	// Nothing is left.
	if m, _ := f.send(msg{kind: discover, mac: mac(3)}.bytes()); m != nil {
		t.Errorf("offered %v", m.YourIPAddr)
	}
	if en := f.Table().At(ip("192.0.2.50")); en == nil || en.State != lease.Foreign {
		t.Errorf("the squatter's address: %+v", en)
	}
	// Who has an address already, and who owns one, are not held up.
	n := len(f.probed)
	f.dora(msg{mac: mac(1)})
	f.dora(msg{mac: mac(9)})
	if len(f.probed) != n {
		t.Errorf("%v was looked for again", f.probed[n:])
	}
}

// The client itself may answer: it has the address still, and its lease was lost
// here.
func TestProbeAnsweredByTheClient(t *testing.T) {
	f := newFake(t, service())
	f.squat = map[netip.Addr]vnet.MAC{ip("192.0.2.50"): mac(1)}
	m, _ := f.send(msg{kind: discover, mac: mac(1), requested: "192.0.2.50"}.bytes())
	if m == nil || oaddr(m.YourIPAddr) != ip("192.0.2.50") || len(f.probed) != 1 {
		t.Errorf("%v after looking for %v", m, f.probed)
	}
}

func TestProbeOff(t *testing.T) {
	no := false
	svc := service()
	svc.DHCP.Probe = &no
	f := newFake(t, svc)
	if f.dora(msg{mac: mac(1)}); len(f.probed) != 0 {
		t.Errorf("%v was looked for", f.probed)
	}
}

// While an address is looked for nobody waits: others are answered, the client
// may repeat itself, and gets one answer, to what it sent last.
func TestProbeUnderWay(t *testing.T) {
	f := newFake(t, service(subnet("192.0.2.0/24", "192.0.2.50-192.0.2.51")))
	send := func(m msg) ([]byte, dhcp.Effects) {
		b := m.bytes()
		out, err := f.Receive(listen.Packet{Data: b, From: netip.IPv4Unspecified()}, f.now)
		if err != nil {
			t.Fatal(err)
		}
		return b, out
	}
	_, first := send(msg{kind: discover, mac: mac(1)})
	last, again := send(msg{kind: discover, mac: mac(1)})
	_, other := send(msg{kind: discover, mac: mac(2)})
	if len(first.Probe) != 1 || len(first.Send) != 0 || len(again.Probe)+len(again.Send) != 0 || len(other.Probe) != 1 ||
		other.Probe[0].Address == first.Probe[0].Address {
		t.Fatalf("%+v, %+v, %+v", first, again, other)
	}
	out := f.Probed(first.Probe[0], vnet.MAC{}, f.now)
	if len(out.Send) != 1 || string(out.Send[0].Data[offXID:offXID+4]) != string(last[offXID:offXID+4]) {
		t.Errorf("%+v", out)
	}
	if out = f.Probed(first.Probe[0], vnet.MAC{}, f.now); len(out.Send) != 0 {
		t.Error("answered twice")
	}
	// The network stops meanwhile.
	f.Abandon()
	if out = f.Probed(other.Probe[0], vnet.MAC{}, f.now); len(out.Send) != 0 || len(f.probes)+len(f.probing) != 0 {
		t.Errorf("%+v", out)
	}
}

// The world changes while an address is looked for.
func TestProbeTooLate(t *testing.T) {
	f := newFake(t, service(subnet("192.0.2.0/24", "192.0.2.50-192.0.2.54")))
	out, err := f.Receive(listen.Packet{Data: msg{kind: discover, mac: mac(1)}.bytes()}, f.now)
	if err != nil || len(out.Probe) != 1 {
		t.Fatalf("%v: %+v", err, out)
	}
	p := out.Probe[0]
	f.SetGuest(guest(2, p.Address.String()))
	if m, _ := f.carryOut(f.Probed(p, vnet.MAC{}, f.now)); m == nil || oaddr(m.YourIPAddr) == p.Address {
		t.Errorf("offered what a port owns now: %v", m)
	}
	// Somebody answers for what its client got by another way meanwhile.
	f.dora(msg{mac: mac(3)})
	bound := f.claims[len(f.claims)-1].Address
	f.probes[99] = &pending{req: f.req.keep(), lease: vnet.Lease{Subnet: "192.0.2.0/24"}}
	f.carryOut(f.Probed(dhcp.Probe{Token: 99, Address: bound}, mac(99), f.now))
	if en := f.Table().At(bound); en == nil || en.State != lease.Bound {
		t.Errorf("a lease was lost: %+v", en)
	}
}

// When too many addresses are looked for, offers go out at once.
func TestProbesAreBounded(t *testing.T) {
	f := newFake(t, service(subnet("10.0.0.0/8")))
	offers := 0
	for i := range maxProbes + 10 {
		out, err := f.Receive(listen.Packet{Data: msg{kind: discover, mac: mac(i + 1)}.bytes()}, f.now)
		if err != nil {
			t.Fatal(err)
		}
		offers += len(out.Send)
	}
	if offers != 10 || len(f.probes) != maxProbes {
		t.Errorf("%d offers, %d probes", offers, len(f.probes))
	}
}

// Rapid commit, too, looks first (RFC 4039 section 3).
func TestProbeBeforeRapidCommit(t *testing.T) {
	f := newFake(t, service(subnet("192.0.2.0/24", "192.0.2.50-192.0.2.51")))
	f.squat = map[netip.Addr]vnet.MAC{ip("192.0.2.50"): mac(99)}
	m, _ := f.send(msg{kind: discover, mac: mac(1), requested: "192.0.2.50", opts: []dhcpv4.Option{raw(optRapidCommit)}}.bytes())
	if m == nil || m.MessageType() != ack || oaddr(m.YourIPAddr) != ip("192.0.2.51") || len(f.claims) != 1 {
		t.Errorf("%v; claims %v", m, f.claims)
	}
}

// What is on the wire: RFC 5227 section 2.1.1.
func TestARP(t *testing.T) {
	p := arpProbe(mac(1), ip("192.0.2.50"))
	want := "\x00\x01\x08\x00\x06\x04\x00\x01" + "\x52\x54\x00\x00\x00\x01" + "\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00" + "\xc0\x00\x02\x32"
	if string(p) != want {
		t.Errorf("probe %x", p)
	}
	if a, _, ok := arpAnswer(p); ok {
		t.Errorf("a question taken for an answer of %v", a)
	}
	r := []byte("\x00\x01\x08\x00\x06\x04\x00\x02" + "\x52\x54\x00\x00\x00\x02" + "\xc0\x00\x02\x32" + "\x52\x54\x00\x00\x00\x01" + "\x00\x00\x00\x00")
	if a, m, ok := arpAnswer(r); !ok || a != ip("192.0.2.50") || m != mac(2) {
		t.Errorf("answer of %v at %v: %v", a, m, ok)
	}
}

func FuzzARP(f *testing.F) {
	f.Add(arpProbe(mac(1), ip("192.0.2.50")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, _, ok := arpAnswer(b); ok && (!a.Is4() || a.IsUnspecified()) {
			t.Errorf("%x: %v", b, a)
		}
	})
}
