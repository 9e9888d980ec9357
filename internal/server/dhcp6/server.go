package dhcp6

import (
	"crypto/rand"
	"log/slog"
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Config is what a Server is made of. InNS, Claims and DUID are required.
type Config struct {
	InNS listen.InNS
	// Links, if set, says when links change: else they are looked at each second.
	Links  *listen.Links
	Claims dhcp.Claims
	// DUID is the server's identifier with its two type bytes (RFC 9915
	// section 11), the same for the life of the installation's host.
	DUID []byte
	// Neighbour, if set, says which guest sent from the address on the link, as
	// seen behind the guard, and whether guests of the link are seen there at all.
	// Its word is final.
	Neighbour func(link string, ip netip.Addr) (listen.Sender, bool)
	// Granted, if set, is told of every address given to a port or a
	// reservation: these need no claim, and are answered without waiting. It
	// must not block and must not call back into the server.
	Granted func(vnet.Lease)
	// Host is written into leases; it may be empty.
	Host string
	// Secret makes the keys that guests know Reconfigure messages by; nil: a
	// random one, so that guests of an earlier process are not told of changes
	// before they have renewed. It is of use only with a Memory that lasts as
	// long.
	Secret []byte
	Memory Memory           // of who accepts such messages; nil: none
	Log    *slog.Logger     // nil: discard
	Now    func() time.Time // wall clock; nil: time.Now
}

// Server answers DHCPv6 on every network that it was told of. Its methods may
// be called from any goroutine.
type Server struct{ *dhcp.Server }

// New makes a server that listens nowhere yet.
func New(c Config) *Server {
	if c.Secret == nil {
		c.Secret = make([]byte, 32)
		_, _ = rand.Read(c.Secret) // it never fails
	}
	m := &message{}
	return &Server{dhcp.New(dhcp.Config{
		Name: "DHCPv6", Family: vnet.IPv6, InNS: c.InNS, Links: c.Links, Claims: c.Claims, Neighbour: c.Neighbour, Granted: c.Granted,
		Log: c.Log, Now: c.Now,
		Engine: func() dhcp.Engine {
			e := newEngine(c.Host, c.DUID, c.Secret, m)
			e.accepts.memory = c.Memory
			return e
		},
		Open: open,
	})}
}
