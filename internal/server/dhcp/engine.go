package dhcp

import (
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Engine is the protocol on one network. Its methods neither block nor look at
// a clock, and are called one at a time.
type Engine interface {
	// Leases is the book that the engine is built on.
	Leases() *lease.Book
	// Active reports whether there is anything to serve.
	Active() bool
	// Receive answers a message. An error is why it was ignored.
	Receive(p listen.Packet, now time.Time) (Effects, error)
	// Committed is told how a claim went.
	Committed(c Claim, err error, now time.Time) Effects
	// Abandon forgets the claims under way: nobody will be told how they went.
	Abandon()
}

// Worker is an Engine that also speaks without being spoken to.
type Worker interface {
	// Work returns what is to be sent now, and in how long it wants to be called
	// again; 0: no matter when.
	Work(now time.Time) (send []Reply, next time.Duration)
}

// Effects is what a step of an engine wants done. What is to be sent is the
// engine's until it is called again.
type Effects struct {
	Send    []Reply
	Claim   []Claim
	Release []vnet.Lease // claimed earlier, ended before their time
	Granted []vnet.Lease // to ports and reservations: need no claim
	Probe   []Probe      // addresses to be looked for
}

// Claim is a claim to be made; the engine waits for Committed.
type Claim struct {
	Token uint64
	Lease vnet.Lease
}

// Reply is a message to be sent on the network's link.
type Reply struct {
	From netip.Addr // invalid: the kernel chooses
	To   netip.Addr
	Port uint16 // UDP port; 0: the protocol's for a client
	// MAC, if set, is whom the frame goes to: the client has no address that
	// the kernel could resolve. Else the kernel sends it.
	MAC  vnet.MAC
	Data []byte
}

// Transport is the sockets of one namespace.
type Transport interface {
	listen.Transport
	// Send sends a reply on a link; src is the MAC of frames.
	Send(index int, src vnet.MAC, r Reply) error
}
