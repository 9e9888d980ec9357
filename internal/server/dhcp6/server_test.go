package dhcp6

import (
	"errors"
	"testing"

	"github.com/sextant-net/sextant/internal/vnet"
)

// A network that stops and starts again still knows its ports; one that is
// deleted, with its ports, leaves nothing.
func TestNetworkStopsAndGoes(t *testing.T) {
	s := newServer(Config{}, func(func(func() error) error, receiver) (transport, error) {
		return nil, errors.New("no sockets here")
	})
	s.SetGuest(guest(1, "2001:db8:1::77")) // a port may come first
	s.SetNetwork(service())
	if p := s.Problems()["net"]; len(p) != 1 || p[0].Kind != vnet.ErrHost {
		t.Errorf("problems %v", p)
	}
	s.RemoveNetwork("net")
	s.SetNetwork(service())
	if n := len(s.nets["net"].eng.guests); n != 1 {
		t.Errorf("%d ports after a stop and a start", n)
	}
	s.RemoveNetwork("net")
	s.RemoveGuest("net", "port1")
	s.RemoveGuest("net", "port2")
	if len(s.nets)+len(s.early)+len(s.spaces) != 0 {
		t.Errorf("left: %v %v %v", s.nets, s.early, s.spaces)
	}
}
