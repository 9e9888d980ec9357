package radv

import (
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/server/listen"
)

// Config is what a Server is made of. InNS is required.
type Config struct {
	InNS listen.InNS
	// Links, if set, says when links change: else they are looked at each second.
	Links *listen.Links
	Log   *slog.Logger     // nil: discard
	Now   func() time.Time // wall clock, for lifetimes; nil: time.Now
	Rand  *rand.Rand       // nil: seeded at random
	// Neighbour, if set, says which guest used an address on a link last, as
	// heard at the guests' ports.
	Neighbour func(link string, ip netip.Addr) (listen.Sender, bool)
}

// withDefaults fills in what may be left out.
func (c Config) withDefaults() Config {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	return c
}
