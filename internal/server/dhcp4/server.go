package dhcp4

import (
	"log/slog"
	"time"

	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Config is what a Server is made of. InNS and Claims are required.
type Config struct {
	InNS listen.InNS
	// Links, if set, says when links change: else they are looked at each second.
	Links  *listen.Links
	Claims dhcp.Claims
	// Granted, if set, is told of every address given to a port or a
	// reservation: these need no claim, and are answered without waiting. It
	// must not block and must not call back into the server.
	Granted func(vnet.Lease)
	// Station, if set, says where the frames of a MAC came in on a link, and
	// whether guests of the link are heard at all. It is called without any
	// lock held.
	Station func(link string, mac vnet.MAC) (listen.Sender, bool)
	// Host is written into leases; it may be empty.
	Host string
	Log  *slog.Logger     // nil: discard
	Now  func() time.Time // wall clock; nil: time.Now
}

// Server answers DHCPv4 on every network that it was told of. Its methods may
// be called from any goroutine.
type Server struct{ *dhcp.Server }

// New makes a server that listens nowhere yet.
func New(c Config) *Server {
	d := &desk{}
	return &Server{dhcp.New(dhcp.Config{
		Name: "DHCPv4", Family: vnet.IPv4, InNS: c.InNS, Links: c.Links, Claims: c.Claims, Station: c.Station, Granted: c.Granted,
		Log: c.Log, Now: c.Now,
		Engine: func() dhcp.Engine { return newEngine(c.Host, d) },
		Open:   open,
	})}
}
