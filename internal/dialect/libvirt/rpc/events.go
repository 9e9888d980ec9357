package rpc

import (
	"context"
	"slices"

	"github.com/sextant-net/sextant/internal/dialect/libvirt/xdr"
)

// The kinds of event of a network (virNetworkEventID).
const (
	eventLifecycle = 0
	eventMetadata  = 1
)

// Lifecycle is what happened to a network (virNetworkEventLifecycleType).
type Lifecycle int32

// What can happen to a network.
const (
	Defined Lifecycle = iota
	Undefined
	Started
	Stopped
)

// maxRegistrations bounds what one connection may register for.
const maxRegistrations = 1000

// registrations are the events that a connection waits for.
type registrations struct {
	next int32 // the number of the next
	list []registration
}

type registration struct {
	id, event int32
	network   *UUID // nil: every network
}

// registerArgs is remote_connect_network_event_register_any_args.
type registerArgs struct {
	event int32
	net   *Network
}

func (a *registerArgs) XDR(s *xdr.Stream) {
	s.Int(&a.event)
	xdr.Optional(s, &a.net)
}

func registerEvent(_ context.Context, c *conn, a *registerArgs) (intValue, error) {
	if a.event != eventLifecycle && a.event != eventMetadata {
		return intValue{}, rpcErrorf(CodeInternal, "unsupported network event ID %d", a.event)
	}
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	r := &c.session.events
	if len(r.list) >= maxRegistrations {
		return intValue{}, rpcErrorf(CodeInternal, "too many event callbacks: %d", len(r.list))
	}
	n := registration{id: r.next, event: a.event}
	if a.net != nil {
		n.network = &a.net.UUID
	}
	r.next++
	r.list = append(r.list, n)
	return intValue{n.id}, nil
}

func deregisterEvent(_ context.Context, c *conn, a *intValue) (void, error) {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	r := &c.session.events
	before := len(r.list)
	r.list = slices.DeleteFunc(r.list, func(n registration) bool { return n.id == a.n })
	if len(r.list) == before {
		return void{}, rpcErrorf(CodeInternal, "network event callback %d not registered", a.n)
	}
	return void{}, nil
}

// wanting lists the callbacks of a connection that an event is for.
func (c *conn) wanting(event int32, of UUID) []int32 {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	var ids []int32
	for _, n := range c.session.events.list {
		if n.event == event && (n.network == nil || *n.network == of) {
			ids = append(ids, n.id)
		}
	}
	return ids
}

// lifecycleMessage is remote_network_event_lifecycle_msg.
type lifecycleMessage struct {
	callback      int32
	net           Network
	event, detail int32
}

func (m *lifecycleMessage) XDR(s *xdr.Stream) {
	s.Int(&m.callback)
	m.net.XDR(s)
	s.Int(&m.event)
	s.Int(&m.detail)
}

// metadataMessage is remote_network_event_callback_metadata_change_msg.
type metadataMessage struct {
	callback int32
	net      Network
	of       int32
	uri      *string
}

func (m *metadataMessage) XDR(s *xdr.Stream) {
	s.Int(&m.callback)
	m.net.XDR(s)
	s.Int(&m.of)
	s.StringOrNil(&m.uri)
}

// NetworkLifecycle tells the clients that wait for it what happened to a
// network. It never blocks: a client that does not read loses its connection.
func (s *Server) NetworkLifecycle(net Network, what Lifecycle) {
	s.tell(eventLifecycle, procEventLifecycle, net, func(id int32) xdr.Value {
		return &lifecycleMessage{callback: id, net: net, event: int32(what)}
	})
}

// NetworkMetadataChange tells the clients that wait for it that a network's
// title, description or metadata (virNetworkMetadataType) changed; uri is the
// namespace of the latter, else nil.
func (s *Server) NetworkMetadataChange(net Network, of int32, uri *string) {
	s.tell(eventMetadata, procEventMetadata, net, func(id int32) xdr.Value {
		return &metadataMessage{callback: id, net: net, of: of, uri: uri}
	})
}

func (s *Server) tell(event int32, proc uint32, net Network, body func(id int32) xdr.Value) {
	h := header{program: programRemote, version: programVersion, proc: proc, kind: kindMessage}
	for _, c := range s.connections() {
		for _, id := range c.wanting(event, net.UUID) {
			m, err := h.encode(body(id))
			if err != nil {
				s.opts.Log.Error("a libvirt event cannot be encoded", "network", net.Name, "error", err)
				return
			}
			c.out.put(m, false)
		}
	}
}
