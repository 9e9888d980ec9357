package dhcp

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Claims makes leases durable. The agent implements it over the store.
type Claims interface {
	// Commit asks that the lease become durable and unique. done, which does not
	// block, is called exactly once, from any goroutine, also before Commit
	// returns; a nil error means that the lease is durable, vnet.ErrExists that
	// somebody else has the address.
	Commit(l vnet.Lease, done func(error))
	// Release says that a lease that was committed ended before its time.
	Release(l vnet.Lease)
}

// Config is what a Server is made of.
type Config struct {
	Name   string // of the protocol: "DHCPv6"
	Family vnet.Family
	InNS   listen.InNS
	// Links, if set, says when links change: else they are looked at each second.
	Links  *listen.Links
	Claims Claims
	// Neighbour, if set, says which guest sent from an address on a link, and
	// whether guests of the link are heard at all. It is called without any lock
	// held.
	Neighbour func(link string, ip netip.Addr) (listen.Sender, bool)
	// Station, if set, says so by the MAC of the frame, for protocols whose
	// clients have no address yet.
	Station func(link string, mac vnet.MAC) (listen.Sender, bool)
	// Granted, if set, is told of every address given to a port or a
	// reservation. It must not block and must not call back into the server.
	Granted func(vnet.Lease)
	Log     *slog.Logger     // nil: discard
	Now     func() time.Time // wall clock; nil: time.Now

	// Engine makes the engine of a network of which nothing is known.
	Engine func() Engine
	// Open opens the sockets of a namespace, as in listen.Config.
	Open func(inNS func(func() error) error, recv func(...listen.Packet)) (Transport, error)
}

// withDefaults fills in what may be left out.
func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Granted == nil {
		c.Granted = func(vnet.Lease) {}
	}
	return c
}
