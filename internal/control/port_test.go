package control

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

func TestPorts(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	n := named("web")
	n.IPv4 = vnet.FamilyPolicy{Mode: vnet.EgressNAT, Address: netip.MustParsePrefix("10.1.0.1/24")}
	n = r.network(n)
	p := r.port(portOn(n, "vm1"))
	if len(p.Fixed) != 2 || p.MAC.IsZero() || !netip.MustParsePrefix("10.1.0.0/24").Contains(p.Fixed[0].Address) {
		t.Fatalf("%+v", p)
	}
	want := portOn(n, "vm2")
	want.Addresses = []netip.Addr{netip.MustParseAddr("10.1.0.77")}
	q := r.port(want)
	if q.Fixed[0].Address != want.Addresses[0] || len(q.Fixed) != 2 {
		t.Errorf("%+v", q)
	}
	for addr, word := range map[string]string{"10.1.0.1": "gateway", "10.1.0.0": "reserved", "10.9.0.5": "no subnet", "10.1.0.77": ""} {
		bad := portOn(n, "vm3")
		bad.Addresses = []netip.Addr{netip.MustParseAddr(addr)}
		_, err := r.Create(ctx, admin, "", bad)
		kind := vnet.ErrInvalid
		if word == "" {
			kind, word = vnet.ErrExists, "vm2"
		}
		wantKind(t, err, kind, "addresses", word)
	}
	dup := portOn(n, "vm3")
	dup.MAC = p.MAC
	_, err := r.Create(ctx, admin, "", dup)
	wantKind(t, err, vnet.ErrExists, "mac", "vm1")
	_, err = r.Create(ctx, admin, "", portOn(n, "vm1"))
	wantKind(t, err, vnet.ErrExists, `there is a port "vm1" already`)
	_, err = r.Delete(ctx, admin, sel(vnet.KindNetwork, "web"), 0)
	wantKind(t, err, vnet.ErrInUse, "vm1", "vm2", "port delete")

	// An edit that does not speak of addresses keeps them.
	o, err := r.Update(ctx, admin, sel(vnet.KindPort, "vm1"), 0, func(o vnet.Object) error {
		o.(*vnet.Port).Hostname = "www"
		return nil
	})
	if err != nil || fmt.Sprint(o.(*vnet.Port).Fixed) != fmt.Sprint(p.Fixed) {
		t.Errorf("%v -> %+v, %v", p.Fixed, o, err)
	}
	for _, name := range []string{"vm1", "vm2"} {
		if _, err := r.Delete(ctx, admin, sel(vnet.KindPort, name), 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Delete(ctx, admin, sel(vnet.KindNetwork, "web"), 0); err != nil {
		t.Fatal(err)
	}
}

// The last address of a subnet is found, and the one after it is not.
func TestPortsExhaust(t *testing.T) {
	r := newRig(t)
	n := fixed4("tiny", "10.1.0.1/28")
	n.IPv4.Ranges = []vnet.Range{{First: netip.MustParseAddr("10.1.0.8"), Last: netip.MustParseAddr("10.1.0.14")}}
	n = r.network(n)
	got := map[netip.Addr]bool{}
	for i := range 13 {
		p := r.port(portOn(n, fmt.Sprint("p", i)))
		a := p.Fixed[0].Address
		if got[a] || a.String() == "10.1.0.1" {
			t.Fatalf("%s again", a)
		}
		if i < 6 && n.IPv4.Ranges[0].Contains(a) {
			t.Errorf("%s is in the range for guests without a port", a)
		}
		got[a] = true
	}
	_, err := r.Create(t.Context(), admin, "", portOn(n, "late"))
	wantKind(t, err, vnet.ErrExhausted, "10.1.0.0/28")
}

func TestPlug(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	n := r.network(fixed4("web", "10.1.0.1/24"))
	tap := vnet.Binding{Plug: vnet.PlugTap, Device: "tap7"}
	_, err := r.Plug(ctx, admin, Selector{Name: "vm1", Network: "web"}, nil, tap)
	wantKind(t, err, vnet.ErrNotFound, "vm1")
	p, err := r.Plug(ctx, admin, Selector{Name: "vm1", Network: "web"}, &vnet.Port{}, tap)
	if err != nil || p.Binding.Host != "h1" || p.Network != n.ID {
		t.Fatalf("%+v, %v", p, err)
	}
	if _, err := r.Plug(ctx, admin, Selector{Name: "vm1"}, nil, tap); err != nil {
		t.Errorf("once more: %v", err)
	}
	_, err = r.Plug(ctx, admin, Selector{Name: "vm1"}, nil, vnet.Binding{Plug: vnet.PlugTap, Device: "tap8"})
	wantKind(t, err, vnet.ErrInUse, "tap7", "unplug")
	_, err = r.Plug(ctx, admin, Selector{Name: "vm2", Network: "web"}, &vnet.Port{}, tap)
	wantKind(t, err, vnet.ErrExists, "device", "tap7", "vm1")
	if p, err = r.Unplug(ctx, admin, Selector{Name: "vm1"}); err != nil || p.Binding != nil {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := r.Plug(ctx, admin, Selector{Name: "vm2", Network: "web"}, &vnet.Port{}, tap); err != nil {
		t.Error(err)
	}
}

func TestReservations(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	n := r.network(fixed4("web", "10.1.0.1/24"))
	mac := vnet.MAC{0x52, 0x54, 0, 1, 2, 3}
	o, err := r.Create(ctx, admin, "", &vnet.Reservation{Network: n.ID, MAC: mac, Address: netip.MustParseAddr("10.1.0.9")})
	if err != nil || o.(*vnet.Reservation).Fixed.Host != 9 {
		t.Fatalf("%+v, %v", o, err)
	}
	_, err = r.Create(ctx, admin, "", &vnet.Reservation{Network: n.ID, MAC: mac, Address: netip.MustParseAddr("10.1.0.10")})
	wantKind(t, err, vnet.ErrExists, mac.String())
	mac[5]++
	_, err = r.Create(ctx, admin, "", &vnet.Reservation{Network: n.ID, MAC: mac, Address: netip.MustParseAddr("10.2.0.10")})
	wantKind(t, err, vnet.ErrInvalid, "address", "10.1.0.0/24")
	if _, err := r.Delete(ctx, admin, sel(vnet.KindNetwork, "web"), 0); err != nil {
		t.Fatal(err)
	}
}

func TestPortUpdate(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	n := named("web")
	n.IPv4 = vnet.FamilyPolicy{Mode: vnet.EgressNAT, Address: netip.MustParsePrefix("10.1.0.1/24")}
	n.IPv6 = vnet.FamilyPolicy{Mode: vnet.EgressULA, Guests: vnet.GuestsSLAAC}
	n = r.network(n)
	p := r.port(portOn(n, "vm1"))
	set := func(f func(p *vnet.Port)) (*vnet.Port, error) {
		o, err := r.Update(ctx, admin, sel(vnet.KindPort, "vm1"), 0, func(o vnet.Object) error { f(o.(*vnet.Port)); return nil })
		if err != nil {
			return nil, err
		}
		return o.(*vnet.Port), nil
	}
	if want := ipam.EUI64(p.MAC); p.Fixed[1].Host != want {
		t.Errorf("host part %x on a SLAAC network, want %x", p.Fixed[1].Host, want)
	}
	want := netip.MustParseAddr("10.1.0.200")
	q, err := set(func(p *vnet.Port) { p.Addresses = []netip.Addr{want} })
	if err != nil || q.Fixed[0].Address != want || q.Fixed[1] != p.Fixed[1] {
		t.Fatalf("%+v, %v", q, err)
	}
	if q, err = set(func(p *vnet.Port) { p.Addresses = nil }); err != nil || q.Fixed[0].Address == want || len(q.Fixed) != 2 {
		t.Fatalf("%+v, %v", q, err)
	}
	_, err = set(func(p *vnet.Port) { p.Network = "elsewhere" })
	wantKind(t, err, vnet.ErrInvalid, "network", "cannot move")
	mac := vnet.MAC{2, 1, 2, 3, 4, 5}
	if q, err = set(func(p *vnet.Port) { p.MAC = mac }); err != nil || q.Fixed[1].Host != ipam.EUI64(mac) {
		t.Fatalf("%+v, %v", q, err)
	}
	// An edit that comes too late.
	_, err = r.Update(ctx, admin, sel(vnet.KindPort, "vm1"), p.Revision, func(vnet.Object) error { return nil })
	wantKind(t, err, vnet.ErrConflict)
	if _, err := r.Delete(ctx, admin, sel(vnet.KindPort, "vm1"), q.Revision); err != nil {
		t.Error(err)
	}
}
