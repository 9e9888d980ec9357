package dhcp

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// claimer is an engine that claims an address for every message, and answers
// when it is told how that went.
type claimer struct {
	mute
	told []uint64
}

func (*claimer) Receive(p listen.Packet, _ time.Time) (Effects, error) {
	return Effects{Claim: []Claim{{Token: uint64(p.Data[0])}}}, nil
}

func (c *claimer) Committed(v Claim, err error, _ time.Time) Effects {
	if c.told = append(c.told, v.Token); err != nil {
		return Effects{}
	}
	return Effects{Send: []Reply{{Data: fmt.Append(nil, v.Token)}}}
}

// ledger makes claims durable when it is told to.
type ledger struct {
	mu   sync.Mutex
	open []func(error)
}

func (l *ledger) Commit(_ vnet.Lease, done func(error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = append(l.open, done)
}

func (*ledger) Release(vnet.Lease) {}

func (l *ledger) settle(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, done := range l.open {
		done(err)
	}
	l.open = nil
}

// Nobody is answered before its claim is durable, then all are, in the order in
// which the claims went; who is told of it does not have to wait for us, and a
// network that has gone is told nothing.
func TestVerdicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, claims := &deafWire{}, &ledger{}
		e := &claimer{mute: newMute(vnet.IPv4)().(mute)}
		var recv func(...listen.Packet)
		s := newServer(Config{
			Name: "DHCP", Family: vnet.IPv4, InNS: func(_ string, f func() error) error { return f() }, Claims: claims,
			Engine: func() Engine { return e },
			Open: func(_ func(func() error) error, r func(...listen.Packet)) (Transport, error) {
				recv = r
				return w, nil
			},
		})
		svc := plan.Service{Network: "net", Link: "br0", Subnets: []plan.Subnet{{
			ID: "sub", Family: vnet.IPv4, Prefix: netip.MustParsePrefix("192.0.2.0/24"), Gateway: netip.MustParseAddr("192.0.2.1"),
		}}}
		s.SetNetwork(svc)
		recv(listen.Packet{Index: 3, Data: []byte{1}}, listen.Packet{Index: 4, Data: []byte{9}}, listen.Packet{Index: 3, Data: []byte{2}})
		recv(listen.Packet{Index: 3, Data: []byte{3}})
		synctest.Wait()
		if len(w.sent) != 0 || len(claims.open) != 3 {
			t.Fatalf("sent %v before %d claims were durable", w.sent, len(claims.open))
		}
		s.nets.Lock()
		claims.settle(nil) // while nobody can be answered
		s.nets.Unlock()
		synctest.Wait()
		if fmt.Sprint(w.sent) != "[1 2 3]" {
			t.Errorf("sent %v", w.sent)
		}
		recv(listen.Packet{Index: 3, Data: []byte{4}})
		claims.settle(vnet.Errorf(vnet.ErrExists, "taken"))
		synctest.Wait()
		recv(listen.Packet{Index: 3, Data: []byte{5}})
		s.RemoveNetwork("net")
		claims.settle(nil)
		synctest.Wait()
		if fmt.Sprint(e.told, w.sent) != "[1 2 3 4] [1 2 3]" {
			t.Errorf("told %v, sent %v", e.told, w.sent)
		}
	})
}
