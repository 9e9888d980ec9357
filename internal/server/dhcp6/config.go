package dhcp6

import (
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// InNS runs f in the named network namespace ("" is the host's own) and
// returns f's error; sockets that f opens stay there.
type InNS func(ns string, f func() error) error

// Claims makes leases durable. The agent implements it over the store.
type Claims interface {
	// Commit asks that the lease become durable and unique. done is called
	// exactly once, from any goroutine, also before Commit returns; a nil error
	// means that the lease is durable, vnet.ErrExists that somebody else has
	// the address.
	Commit(l vnet.Lease, done func(error))
	// Release says that a lease that was committed ended before its time.
	Release(l vnet.Lease)
}

// Config is what a Server is made of. InNS, Claims and DUID are required.
type Config struct {
	InNS   InNS
	Claims Claims
	// DUID is the server's identifier with its two type bytes (RFC 9915
	// section 11), the same for the life of the installation's host.
	DUID []byte
	// Neighbour, if set, says which MAC sent from the link-local address on
	// the link, as seen behind the guard. Its word is final.
	Neighbour func(link string, ip netip.Addr) (vnet.MAC, bool)
	// Granted, if set, is told of every address given to a port or a
	// reservation: these need no claim, and are answered without waiting. It
	// must not block and must not call back into the server.
	Granted func(vnet.Lease)
	// Host is written into leases; it may be empty.
	Host string
	Log  *slog.Logger     // nil: discard
	Now  func() time.Time // wall clock; nil: time.Now
	Rand *rand.Rand       // nil: seeded at random
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
	if c.Neighbour == nil {
		c.Neighbour = func(string, netip.Addr) (vnet.MAC, bool) { return vnet.MAC{}, false }
	}
	if c.Rand == nil {
		c.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	return c
}
