package dhcp

import (
	"net/netip"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// curious is an engine that has an address looked for at every message, and
// answers with whether somebody has it.
type curious struct{ mute }

var wanted = Probe{Token: 7, Address: netip.MustParseAddr("192.0.2.50")}

func (curious) Receive(listen.Packet, time.Time) (Effects, error) {
	return Effects{Probe: []Probe{wanted}}, nil
}

func (curious) Probed(p Probe, by vnet.MAC, _ time.Time) Effects {
	if p != wanted {
		return Effects{}
	}
	word := "free"
	if !by.IsZero() {
		word = "taken"
	}
	return Effects{Send: []Reply{{Data: []byte(word)}}}
}

// deafWire is sockets that cannot look for anything.
type deafWire struct{ sent []string }

func (*deafWire) Index(string) (int, error) { return 3, nil }
func (*deafWire) Join(string, int) error    { return nil }
func (*deafWire) Leave(int)                 {}
func (*deafWire) Close() error              { return nil }
func (w *deafWire) Send(_ int, _ vnet.MAC, r Reply) error {
	w.sent = append(w.sent, string(r.Data))
	return nil
}

// keenWire is sockets that can: it keeps what it was asked.
type keenWire struct {
	deafWire
	index int
	src   vnet.MAC
	asked netip.Addr
	done  func(vnet.MAC)
}

func (w *keenWire) Find(index int, src vnet.MAC, a netip.Addr, done func(vnet.MAC)) {
	w.index, w.src, w.asked, w.done = index, src, a, done
}

// probing serves one network over a wire, and returns what hears messages.
func probing(t *testing.T, w Transport) (s *Server, hear func()) {
	t.Helper()
	var recv func(...listen.Packet)
	base := newMute(vnet.IPv4)
	s = newServer(Config{
		Name: "DHCP", Family: vnet.IPv4, InNS: func(_ string, f func() error) error { return f() },
		Engine: func() Engine { return curious{base().(mute)} },
		Open: func(_ func(func() error) error, r func(...listen.Packet)) (Transport, error) {
			recv = r
			return w, nil
		},
	})
	s.SetNetwork(plan.Service{Network: "net", Link: "br0", MAC: vnet.MAC{2, 0, 0, 0, 0, 1}, Subnets: []plan.Subnet{{
		ID: "sub", Family: vnet.IPv4, Prefix: netip.MustParsePrefix("192.0.2.0/24"), Gateway: netip.MustParseAddr("192.0.2.1"),
	}}})
	return s, func() { recv(listen.Packet{Index: 3}) }
}

// A probe goes out on the network's link, nobody waits for it, and the engine
// is told how it went, unless its network has gone.
func TestProbe(t *testing.T) {
	for by, want := range map[vnet.MAC]string{{2, 0, 0, 0, 0, 9}: "taken", {}: "free"} {
		w := &keenWire{}
		s, hear := probing(t, w)
		hear()
		if w.index != 3 || w.src != (vnet.MAC{2, 0, 0, 0, 0, 1}) || w.asked != wanted.Address || len(w.sent) != 0 {
			t.Fatalf("asked for %v on %d as %v; sent %v", w.asked, w.index, w.src, w.sent)
		}
		s.SetNetwork(*s.nets.Get("net").Service()) // not locked meanwhile
		w.done(by)
		if len(w.sent) != 1 || w.sent[0] != want {
			t.Errorf("answer by %v: sent %v", by, w.sent)
		}
		hear()
		s.RemoveNetwork("net")
		w.done(by)
		if len(w.sent) != 1 {
			t.Errorf("a network that is gone: sent %v", w.sent)
		}
	}
}

// Where nobody can look, nobody has the address.
func TestProbeWithoutFinder(t *testing.T) {
	w := &deafWire{}
	_, hear := probing(t, w)
	hear()
	if len(w.sent) != 1 || w.sent[0] != "free" {
		t.Errorf("sent %v", w.sent)
	}
}
