package rpc

import (
	"context"

	"github.com/sextant-net/sextant/internal/dialect/libvirt/xdr"
)

// access says what a procedure needs.
type access int

const (
	always  access = iota // not even an open connection
	reading               // an open connection
	writing               // and one that is not read-only
)

// procedure is one of the protocol's verbs. In libvirt its arguments are
// remote_NAME_args, its result remote_NAME_ret.
type procedure struct {
	api    string // the function of libvirt's API, named in its errors
	access access
	// domain is the part of libvirt that the errors before the verb come from.
	domain Domain
	// session says that it changes the state of the connection: it has run
	// before the next message is read. All others run beside each other.
	session bool
	invoke  invoke
}

// invoke decodes the arguments, lets the verb run and returns its result.
type invoke struct {
	args func() xdr.Value
	run  func(ctx context.Context, c *conn, args xdr.Value) (xdr.Value, error)
}

// value is a pointer to T that is an xdr.Value.
type value[T any] interface {
	*T
	xdr.Value
}

// on makes an invoke of a function with its own types.
func on[A, R any, PA value[A], PR value[R]](f func(context.Context, *conn, *A) (R, error)) invoke {
	return invoke{
		args: func() xdr.Value { return PA(new(A)) },
		run: func(ctx context.Context, c *conn, args xdr.Value) (xdr.Value, error) {
			r, err := f(ctx, c, (*A)(args.(PA)))
			if err != nil {
				return nil, err
			}
			return PR(&r), nil
		},
	}
}

// procedures are the procedures of the network driver and of the connection
// itself (enum remote_procedure). What else there is in libvirt is in
// unsupported.txt.
var procedures = map[uint32]*procedure{
	1:   {"virConnectOpen", always, DomainRPC, true, on(connectOpen)},
	2:   {"virConnectClose", always, DomainRPC, true, on(connectClose)},
	3:   {"virConnectGetType", reading, DomainNone, false, on(connectGetType)},
	60:  {"virConnectSupportsFeature", always, DomainRPC, true, on(connectSupportsFeature)},
	66:  {"virConnectAuthList", always, DomainRPC, true, on(authList)},
	67:  {"virConnectAuthSASLInit", always, DomainRPC, true, on(authRefused)},
	68:  {"virConnectAuthSASLStart", always, DomainRPC, true, on(authRefused)},
	69:  {"virConnectAuthSASLStep", always, DomainRPC, true, on(authRefused)},
	70:  {"virConnectAuthPolkit", always, DomainRPC, true, on(authRefused)},
	110: {"virConnectGetURI", reading, DomainNone, false, on(connectGetURI)},
	149: {"virConnectIsSecure", reading, DomainNone, false, on(connectIsSecure)},
	157: {"virConnectGetLibVersion", reading, DomainNone, false, on(connectGetLibVersion)},
	360: {"virConnectRegisterCloseCallback", reading, DomainNone, true, on(closeCallback)},
	361: {"virConnectUnregisterCloseCallback", reading, DomainNone, true, on(closeCallback)},
	419: {"virConnectSetIdentity", reading, DomainNone, true, on(connectSetIdentity)},

	36:  {"virConnectListDefinedNetworks", reading, DomainNetwork, false, on(listNames(listInactive))},
	38:  {"virConnectListNetworks", reading, DomainNetwork, false, on(listNames(listActive))},
	50:  {"virConnectNumOfDefinedNetworks", reading, DomainNetwork, false, on(numOf(listInactive))},
	52:  {"virConnectNumOfNetworks", reading, DomainNetwork, false, on(numOf(listActive))},
	283: {"virConnectListAllNetworks", reading, DomainNetwork, false, on(listAll)},
	46:  {"virNetworkLookupByName", reading, DomainNetwork, false, on(lookupByName)},
	47:  {"virNetworkLookupByUUID", reading, DomainNetwork, false, on(lookupByUUID)},
	44:  {"virNetworkGetAutostart", reading, DomainNetwork, false, on(state(State.autostart))},
	45:  {"virNetworkGetBridgeName", reading, DomainNetwork, false, on(bridgeName)},
	152: {"virNetworkIsActive", reading, DomainNetwork, false, on(state(State.active))},
	153: {"virNetworkIsPersistent", reading, DomainNetwork, false, on(state(State.persistent))},
	341: {"virNetworkGetDHCPLeases", reading, DomainNetwork, false, on(leases)},

	43:  {"virNetworkGetXMLDesc", reading, DomainNetwork, false, on(xmlDesc)},
	41:  {"virNetworkDefineXML", writing, DomainNetwork, false, on(defineXML)},
	432: {"virNetworkDefineXMLFlags", writing, DomainNetwork, false, on(defineXMLFlags)},
	49:  {"virNetworkUndefine", writing, DomainNetwork, false, on(each(Handler.NetworkUndefine))},
	291: {"virNetworkUpdate", writing, DomainNetwork, false, on(update)},
	444: {"virNetworkSetMetadata", writing, DomainNetwork, false, on(setMetadata)},
	445: {"virNetworkGetMetadata", reading, DomainNetwork, false, on(getMetadata)},

	39:  {"virNetworkCreate", writing, DomainNetwork, false, on(each(Handler.NetworkCreate))},
	40:  {"virNetworkCreateXML", writing, DomainNetwork, false, on(createXML)},
	437: {"virNetworkCreateXMLFlags", writing, DomainNetwork, false, on(createXMLFlags)},
	42:  {"virNetworkDestroy", writing, DomainNetwork, false, on(each(Handler.NetworkDestroy))},
	48:  {"virNetworkSetAutostart", writing, DomainNetwork, false, on(setAutostart)},

	404: {"virNetworkListAllPorts", reading, DomainNetwork, false, on(listPorts)},
	405: {"virNetworkPortLookupByUUID", reading, DomainNetwork, false, on(lookupPort)},
	406: {"virNetworkPortCreateXML", writing, DomainNetwork, false, on(createPort)},
	407: {"virNetworkPortGetParameters", reading, DomainNetwork, false, on(getPortParams)},
	408: {"virNetworkPortSetParameters", writing, DomainNetwork, false, on(setPortParams)},
	409: {"virNetworkPortGetXMLDesc", reading, DomainNetwork, false, on(portXMLDesc)},
	410: {"virNetworkPortDelete", writing, DomainNetwork, false, on(deletePort)},

	313: {"virConnectNetworkEventRegisterAny", reading, DomainNetwork, true, on(registerEvent)},
	314: {"virConnectNetworkEventDeregisterAny", reading, DomainNetwork, true, on(deregisterEvent)},
}

// The messages to clients that registered for events.
const (
	procEventLifecycle = 315 // REMOTE_PROC_NETWORK_EVENT_LIFECYCLE
	procEventMetadata  = 446 // REMOTE_PROC_NETWORK_EVENT_CALLBACK_METADATA_CHANGE
)
