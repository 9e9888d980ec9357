package rpc

import (
	"context"

	"github.com/sextant-net/sextant/internal/dialect/libvirt/xdr"
)

// Handler is what the calls of clients are about. Each method is one verb of
// libvirt's API and has its name; what the protocol has in several forms (old
// and new ways to list, to define, to create) arrives here in one.
//
// Methods are called by many clients at once, and by one client for as many
// calls as it may have outstanding. The context of a call that only reads ends
// with its connection; one that changes something is carried to its end, and
// its context ends with the server. An error that is no *Error is sent as an
// internal error of the network driver.
type Handler interface {
	Networks
	Definitions
	Switches
	Ports
}

// Networks finds networks and says how they are.
type Networks interface {
	// NetworkLookupByName and NetworkLookupByUUID find one; CodeNoNetwork.
	NetworkLookupByName(ctx context.Context, who Caller, name string) (Network, error)
	NetworkLookupByUUID(ctx context.Context, who Caller, id UUID) (Network, error)
	// ListNetworks lists those that the flags name
	// (virConnectListAllNetworksFlags), or all without flags.
	ListNetworks(ctx context.Context, who Caller, flags uint32) ([]Network, error)
	// NetworkState is everything small that is asked of a network.
	NetworkState(ctx context.Context, who Caller, net Network) (State, error)
	// NetworkGetDHCPLeases lists the addresses that guests use, of all or of
	// the one with the MAC.
	NetworkGetDHCPLeases(ctx context.Context, who Caller, net Network, mac *string, flags uint32) ([]Lease, error)
}

// Definitions are networks as XML.
type Definitions interface {
	// NetworkGetXMLDesc is the running configuration, or the definition where
	// there is none or the flags want it (virNetworkXMLFlags).
	NetworkGetXMLDesc(ctx context.Context, who Caller, net Network, flags uint32) (string, error)
	// NetworkDefineXML makes or changes a definition (virNetworkDefineFlags).
	NetworkDefineXML(ctx context.Context, who Caller, xml string, flags uint32) (Network, error)
	NetworkUndefine(ctx context.Context, who Caller, net Network) error
	// NetworkUpdate changes one element, running, defined or both.
	NetworkUpdate(ctx context.Context, who Caller, u Update) error
	NetworkSetMetadata(ctx context.Context, who Caller, m Metadata) error
	NetworkGetMetadata(ctx context.Context, who Caller, m Metadata) (string, error)
}

// Switches start networks and stop them. Start and create answer when the
// host has done it, or has failed.
type Switches interface {
	NetworkCreate(ctx context.Context, who Caller, net Network) error
	// NetworkCreateXML starts a network that has no definition, or a defined
	// one with another configuration (virNetworkCreateFlags).
	NetworkCreateXML(ctx context.Context, who Caller, xml string, flags uint32) (Network, error)
	NetworkDestroy(ctx context.Context, who Caller, net Network) error
	NetworkSetAutostart(ctx context.Context, who Caller, net Network, on bool) error
}

// Ports are guests' NICs.
type Ports interface {
	NetworkListAllPorts(ctx context.Context, who Caller, net Network, flags uint32) ([]Port, error)
	// NetworkPortLookupByUUID finds one; CodeNoNetworkPort.
	NetworkPortLookupByUUID(ctx context.Context, who Caller, net Network, id UUID) (Port, error)
	// NetworkPortCreateXML makes one (virNetworkPortCreateFlags); reclaimed
	// ports are in use already.
	NetworkPortCreateXML(ctx context.Context, who Caller, net Network, xml string, flags uint32) (Port, error)
	NetworkPortGetXMLDesc(ctx context.Context, who Caller, port Port, flags uint32) (string, error)
	NetworkPortDelete(ctx context.Context, who Caller, port Port, flags uint32) error
	NetworkPortGetParameters(ctx context.Context, who Caller, port Port, flags uint32) ([]xdr.Param, error)
	NetworkPortSetParameters(ctx context.Context, who Caller, port Port, params []xdr.Param, flags uint32) error
}

// State is how a network is.
type State struct {
	Active     bool   // it runs
	Persistent bool   // it has a definition
	Autostart  bool   // it starts with the host
	Bridge     string // the name of its bridge; "" if it has none
}

// Caller is who makes a call.
type Caller struct {
	Peer
	Conn     uint64 // the connection's number, unique in the server's life
	ReadOnly bool   // nothing may be changed
	// Forwarded is for whom a daemon of libvirt's makes the call. It is
	// believed of root alone; nil if nobody was named.
	Forwarded *Identity
}

// Peer is who is at the other end of a socket, as the kernel says.
type Peer struct {
	UID, GID uint32
	PID      int32
}

// Identity is what a client says of somebody (virIdentity). A pointer is nil
// where nothing was said.
type Identity struct {
	UserName, GroupName, SASLUserName, X509Name, SELinuxContext *string
	UID, GID, ProcessTime                                       *uint64
	ProcessID                                                   *int64
}
