package dhcp6

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// hold says which IA has a port's addresses.
type hold struct {
	duid string
	iaid uint32
}

// engine is the DHCPv6 side of one network.
type engine struct {
	*lease.Book
	duid  []byte // the server's
	holds map[vnet.ID]hold
	// known are the DUIDs that were seen with a port.
	known map[string]vnet.ID

	pending map[uint64]*pending
	waiting map[string]bool // messages whose answers wait for claims
	token   uint64
}

func newEngine(host string, duid []byte) *engine {
	e := &engine{
		duid: duid, holds: make(map[vnet.ID]hold), known: make(map[string]vnet.ID),
		pending: make(map[uint64]*pending), waiting: make(map[string]bool),
	}
	e.Book = lease.NewBook(lease.Rules{
		Family: vnet.IPv6, How: vnet.HowDHCPv6, Host: host, Serves: serves, Client: clientOf, Key: reservationKey,
		Forgotten: func(port vnet.ID) { delete(e.holds, port) },
		Loaded: func(l *vnet.Lease) {
			if l.Port != "" {
				e.learn(l.DUID, l.Port)
			}
		},
	})
	return e
}

// serves reports whether guests of an IPv6 subnet get addresses from us.
func serves(s *plan.Subnet) bool {
	return s.Guests == vnet.GuestsStateful || s.Guests == vnet.GuestsSLAACStateful
}

// Active reports whether there is anything to serve: addresses, or options.
func (e *engine) Active() bool {
	return e.ServesAny() || slices.ContainsFunc(e.Service().Subnets, func(s plan.Subnet) bool {
		return s.Family == vnet.IPv6 && s.Guests == vnet.GuestsStateless
	})
}

// Abandon forgets the claims under way.
func (e *engine) Abandon() {
	clear(e.pending)
	clear(e.waiting)
}

// clientOf is the key of a lease's client.
func clientOf(l *vnet.Lease) string { return clientName(l.DUID, l.IAID) }

// clientName is the key of a client: dynamic addresses belong to (DUID, IAID).
func clientName(duid string, iaid uint32) string { return fmt.Sprintf("%s/%d", duid, iaid) }

// Receive answers one message.
func (e *engine) Receive(p listen.Packet, now time.Time) (dhcp.Effects, error) {
	r, err := parse(p)
	if err != nil {
		return dhcp.Effects{}, err
	}
	if !e.Active() {
		return dhcp.Effects{}, errIgnored
	}
	if err := e.checkIdentity(r); err != nil {
		return dhcp.Effects{}, err
	}
	e.Table().Expire(now)
	c := e.identify(r)
	if !c.admitted {
		return dhcp.Effects{}, nil
	}
	switch r.kind {
	case dhcpv6.MessageTypeSolicit:
		return e.solicit(r, c, now), nil
	case dhcpv6.MessageTypeRequest:
		return e.request(r, c, now), nil
	case dhcpv6.MessageTypeRenew, dhcpv6.MessageTypeRebind:
		return e.renew(r, c, now), nil
	case dhcpv6.MessageTypeConfirm:
		return e.confirm(r), nil
	case dhcpv6.MessageTypeRelease:
		return e.release(r, now), nil
	case dhcpv6.MessageTypeDecline:
		return e.decline(r, c, now), nil
	default:
		return e.inform(r), nil
	}
}

// checkIdentity holds the rules about identifiers of RFC 9915 section 16.
func (e *engine) checkIdentity(r *request) error {
	ours := bytes.Equal(r.server, e.duid)
	switch r.kind {
	case dhcpv6.MessageTypeSolicit, dhcpv6.MessageTypeConfirm, dhcpv6.MessageTypeRebind:
		if r.raw == nil || r.server != nil {
			return errIdentity
		}
	case dhcpv6.MessageTypeInformationRequest:
		if r.server != nil && !ours || len(r.ias) > 0 || len(r.pds) > 0 {
			return errIdentity
		}
	default:
		if r.raw == nil || !ours {
			return errIdentity
		}
	}
	return nil
}
