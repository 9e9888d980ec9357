package dhcp4

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// id4361 is an identifier of RFC 4361.
func id4361(iaid uint32, d ipam.DUID) string {
	return string(append(binary.BigEndian.AppendUint32([]byte{255}, iaid), d.Bytes()...))
}

// A guest that boots over the network is known by several names, one after the
// other, and keeps its address.
func TestFirmwareThenSystem(t *testing.T) {
	f := newFake(t, service())
	system := id4361(1, "\x00\x02machine-id")
	names := []msg{
		{mac: mac(1), id: "\x00guid-of-the-board", opts: []dhcpv4.Option{texts(optClass, "PXEClient:Arch:00007:UNDI:003016")}},
		{mac: mac(1), id: "\x01" + string([]byte{0x52, 0x54, 0, 0, 0, 1}), opts: []dhcpv4.Option{texts(optUserClass, "iPXE")}},
		{mac: mac(1), id: system},
	}
	a := f.dora(names[0])
	for round := range 3 {
		for i, m := range names {
			if b := f.dora(m); b != a {
				t.Errorf("round %d, name %d: %v, was %v", round, i, b, a)
			}
		}
		f.now = f.now.Add(2 * time.Hour) // longer than the lease
	}
	// Loaded again after a restart, by the name that it had last.
	g := newFake(t, service())
	g.Load(pack.Of(&f.claims[len(f.claims)-1]), f.now)
	g.now = f.now
	if b := g.dora(names[0]); b != a {
		t.Errorf("after a restart: %v, was %v", b, a)
	}
	// Two systems behind one MAC at the same time are two clients.
	if b := f.dora(msg{mac: mac(1), id: id4361(1, "\x00\x02container")}); b == a {
		t.Errorf("two clients got %v", b)
	}
	if b := f.dora(names[2]); b != a {
		t.Errorf("the first of them lost its address: %v", b)
	}
	// MAC and identifier of the MAC are one name.
	c := f.dora(msg{mac: mac(2)})
	if b := f.dora(msg{mac: mac(2), id: "\x01" + string([]byte{0x52, 0x54, 0, 0, 0, 2})}); b != c {
		t.Errorf("got %v and %v by the same MAC", c, b)
	}
}

// A port without an address of its own is known by its MAC, whatever it calls
// itself.
func TestPortOnOpenRange(t *testing.T) {
	svc := service()
	svc.Admit = vnet.AdmitPorts
	f := newFake(t, svc)
	f.SetGuest(guest(1))
	a := f.dora(msg{mac: mac(1), id: id4361(1, "\x00\x02before")})
	if b := f.dora(msg{mac: mac(1), id: id4361(9, "\x00\x02after")}); b != a {
		t.Errorf("%v after a reinstallation, was %v", b, a)
	}
	if l := f.claims[0]; l.Port != "port1" || l.DUID != "00:02:62:65:66:6f:72:65" || l.IAID != 1 {
		t.Errorf("lease %+v", l)
	}
	g := newFake(t, svc)
	g.SetGuest(guest(1))
	g.Load(pack.Of(&f.claims[len(f.claims)-1]), f.now)
	if b := g.dora(msg{mac: mac(1)}); b != a {
		t.Errorf("%v after a restart, was %v", b, a)
	}
	if m, _ := f.send(msg{kind: discover, mac: mac(2)}.bytes()); m != nil {
		t.Errorf("a stranger was answered: %v", m)
	}
}

// Where a message came in counts more than what it says.
func TestIngressPort(t *testing.T) {
	f := newFake(t, service())
	f.SetGuest(guest(1, "192.0.2.77"))
	f.SetGuest(guest(2, "192.0.2.78"))
	b := msg{kind: discover, mac: mac(2)}.bytes()
	m, _ := f.receive(listen.Packet{Data: b, From: netip.IPv4Unspecified(), Sender: listen.Sender{Port: "port1"}})
	if m == nil || oaddr(m.YourIPAddr) != ip("192.0.2.77") {
		t.Errorf("%v", m)
	}
}

// Reservations by everything that RFC 4361 tells, and by MAC and name.
func TestReservationKeys(t *testing.T) {
	f := newFake(t, service())
	one, d := uint32(1), ipam.DUID("\x00\x03\x00\x01\x52\x54\x00\xaa\x00\x01")
	f.SetReservations([]vnet.Reservation{
		{DUID: d.String(), Address: ip("192.0.2.10")},
		{DUID: d.String(), IAID: &one, Address: ip("192.0.2.11")},
		{MAC: mac(3), Address: ip("192.0.2.12")},
		{Client: "printer", Address: ip("192.0.2.13")},
		{DUID: d.String(), Address: ip("2001:db8::1")},
	})
	for name, c := range map[string]struct {
		m    msg
		want string
	}{
		"DUID":                {msg{mac: mac(1), id: id4361(7, d)}, "192.0.2.10"},
		"DUID and IAID":       {msg{mac: mac(1), id: id4361(1, d)}, "192.0.2.11"},
		"MAC before DUID":     {msg{mac: mac(3), id: id4361(1, d)}, "192.0.2.12"},
		"DUID before name":    {msg{mac: mac(1), id: id4361(7, d), host: "printer"}, "192.0.2.10"},
		"name":                {msg{mac: mac(1), host: "printer"}, "192.0.2.13"},
		"name in option 81":   {msg{mac: mac(1), opts: []dhcpv4.Option{texts(optFQDN, "\x00\x00\x00Printer.example")}}, "192.0.2.13"},
		"none, type not 255":  {msg{mac: mac(1), id: "\x00" + id4361(7, d)[1:]}, ""},
		"none, another DUID":  {msg{mac: mac(1), id: id4361(7, d+"x")}, ""},
		"none, a broken DUID": {msg{mac: mac(1), id: "\xff\x00\x00\x00\x01\x00"}, ""},
		"none, only type 255": {msg{mac: mac(1), id: "\xff\x00"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := f.dora(c.m)
			if reserved := len(f.claims) == 0; reserved != (c.want != "") || reserved && got != ip(c.want) {
				t.Errorf("got %v, want %q; claims %v", got, c.want, f.claims)
			}
			f.claims = nil
		})
	}
	// DHCPv6 knows the same guest by the same words.
	l := f.granted[slices.IndexFunc(f.granted, func(l vnet.Lease) bool { return l.Address == ip("192.0.2.11") })]
	if l.DUID != d.String() || l.IAID != 1 || l.Client != hex.EncodeToString([]byte(id4361(1, d))) {
		t.Errorf("lease %+v", l)
	}
}

// A port that was made for somebody else's device has no address of its own: a
// reservation counts for it as for a guest without a port.
func TestReservationOfAdopted(t *testing.T) {
	f := newFake(t, service())
	f.SetGuest(guest(1))
	f.SetGuest(guest(2, "192.0.2.78"))
	f.SetReservations([]vnet.Reservation{{MAC: mac(1), Address: ip("192.0.2.12")}, {MAC: mac(2), Address: ip("192.0.2.13")}})
	if got := f.dora(msg{mac: mac(1)}); got != ip("192.0.2.12") {
		t.Errorf("got %v", got)
	}
	if got := f.dora(msg{mac: mac(2)}); got != ip("192.0.2.78") {
		t.Errorf("a port's own address does not win: got %v", got)
	}
}

// One MAC has a limit, under whatever names, and also by declining.
func TestLimit(t *testing.T) {
	svc := service()
	svc.DHCP.Limit = 3
	f := newFake(t, svc)
	var got []netip.Addr
	for i := range 5 {
		m := msg{kind: discover, mac: mac(1), id: fmt.Sprint("client", i)}
		if o, _ := f.send(m.bytes()); o != nil {
			got = append(got, f.dora(m))
		}
	}
	if len(got) != 3 {
		t.Fatalf("one MAC got %v", got)
	}
	if a := f.dora(msg{mac: mac(1), id: "client2"}); a != got[2] {
		t.Errorf("at its limit a client got %v, had %v", a, got[2])
	}
	if m, _ := f.send(msg{kind: requestM, mac: mac(1), id: "x", ciaddr: "192.0.2.200"}.bytes()); m == nil || m.MessageType() != nak {
		t.Errorf("one more by renewing: %v", m)
	}
	f.send(msg{kind: dhcpv4.MessageTypeDecline, mac: mac(1), id: "client0", requested: got[0].String()}.bytes())
	if o, _ := f.send(msg{kind: discover, mac: mac(1), id: "client0"}.bytes()); o != nil {
		t.Errorf("a declined address does not count: %v", o)
	}
	f.dora(msg{mac: mac(2)})
	f.send(msg{kind: dhcpv4.MessageTypeRelease, mac: mac(1), id: "client1", ciaddr: got[1].String()}.bytes())
	f.dora(msg{mac: mac(1), id: "another"})
}

// A flood of strangers wears out neither memory nor those that are known.
func TestFloodLeavesKnownGuestsAlone(t *testing.T) {
	svc := service(subnet("192.0.2.0/24", "192.0.2.50-192.0.2.250"))
	f := newFake(t, svc)
	f.SetGuest(guest(1, "192.0.2.10"))
	f.SetReservations([]vnet.Reservation{{MAC: mac(2), Address: ip("192.0.2.11")}})
	own := f.dora(msg{mac: mac(3)})
	for i := range 100_000 {
		// Nobody reports how probes go, as if they all came at once.
		if _, err := f.Receive(listen.Packet{Data: msg{kind: discover, mac: mac(1000 + i)}.bytes(), From: netip.IPv4Unspecified()}, f.now); err != nil {
			t.Fatal(err)
		}
	}
	if n, p := f.Table().Len(), len(f.probes); n > 201 || p > maxProbes || len(f.probing) != p || len(f.pending) != 0 {
		t.Errorf("%d addresses, %d probes under way", n, p)
	}
	for n, want := range map[int]netip.Addr{1: ip("192.0.2.10"), 2: ip("192.0.2.11"), 3: own} {
		if a := f.dora(msg{mac: mac(n)}); a != want {
			t.Errorf("guest %d got %v, want %v", n, a, want)
		}
		if m, _ := f.send(msg{kind: requestM, mac: mac(n), ciaddr: want.String()}.bytes()); m == nil || m.MessageType() != ack {
			t.Errorf("guest %d cannot renew: %v", n, m)
		}
	}
}

// What the agent saw in use is given to nobody else, and stays its user's.
func TestSeenAddresses(t *testing.T) {
	f := newFake(t, service(subnet("192.0.2.0/24", "192.0.2.50-192.0.2.51")))
	seen := vnet.Lease{
		Network: "net", Subnet: "192.0.2.0/24", Address: ip("192.0.2.50"), Family: vnet.IPv4, How: vnet.HowFixed, MAC: mac(7),
	}
	f.Load(pack.Of(&seen), start)
	if a := f.dora(msg{mac: mac(1), requested: "192.0.2.50"}); a != ip("192.0.2.51") {
		t.Errorf("a stranger got %v", a)
	}
	if m, _ := f.send(msg{kind: requestM, mac: mac(2), ciaddr: "192.0.2.50"}.bytes()); m == nil || m.MessageType() != nak {
		t.Errorf("another's address was renewed: %v", m)
	}
	if m, _ := f.send(msg{kind: requestM, mac: mac(7), ciaddr: "192.0.2.50"}.bytes()); m == nil || m.MessageType() != ack {
		t.Errorf("who was seen with the address cannot renew it: %v", m)
	}
	// The sight goes, the lease stays.
	seen.Deleting = &start
	f.Load(pack.Of(&seen), start)
	if en := f.Table().At(ip("192.0.2.50")); en == nil || en.State != lease.Bound {
		t.Errorf("%+v", en)
	}
}
