package rpc

import (
	"context"

	"github.com/sextant-net/sextant/internal/dialect/libvirt/xdr"
)

// virConnectListAllNetworksFlags, as far as the old lists need them.
const (
	listInactive = 1
	listActive   = 2
)

func (s State) active() bool     { return s.Active }
func (s State) persistent() bool { return s.Persistent }
func (s State) autostart() bool  { return s.Autostart }

// textRet is a text as the result of a call.
func textRet(text string, err error) (textValue, error) { return textValue{text}, err }

func listAll(ctx context.Context, c *conn, a *listArgs) (networksRet, error) {
	nets, err := c.handler().ListNetworks(ctx, c.caller(), a.flags)
	if err == nil && len(nets) > maxNetworks {
		err = tooMany("networks", len(nets), maxNetworks, "nets", "virConnectListAllNetworks")
	}
	r := networksRet{n: uint32(len(nets))}
	if a.want {
		r.nets = nets
	}
	return r, err
}

// tooMany is the error of an answer that does not fit into the protocol.
func tooMany(what string, n, most int, field, api string) error {
	return rpcErrorf(CodeRPC, "too many remote %s: %d > %d,in parameter '%s' for '%s'", what, n, most, field, api)
}

// listNames are the old lists: names of those that run, or that do not.
func listNames(flags uint32) func(context.Context, *conn, *intValue) (namesRet, error) {
	return func(ctx context.Context, c *conn, most *intValue) (namesRet, error) {
		var r namesRet
		switch {
		case most.n < 0:
			return r, rpcErrorf(CodeRPC, "maxnames must be non-negative")
		case most.n > maxNetworks:
			return r, rpcErrorf(CodeRPC, "maxnames > REMOTE_NETWORK_LIST_MAX")
		}
		nets, err := c.handler().ListNetworks(ctx, c.caller(), flags)
		for _, n := range nets[:min(len(nets), int(most.n))] {
			r.names = append(r.names, xdr.Text(n.Name))
		}
		return r, err
	}
}

func numOf(flags uint32) func(context.Context, *conn, *void) (intValue, error) {
	return func(ctx context.Context, c *conn, _ *void) (intValue, error) {
		nets, err := c.handler().ListNetworks(ctx, c.caller(), flags)
		return intValue{int32(len(nets))}, err
	}
}

func lookupByName(ctx context.Context, c *conn, name *textValue) (Network, error) {
	return c.handler().NetworkLookupByName(ctx, c.caller(), name.text)
}

func lookupByUUID(ctx context.Context, c *conn, id *uuidValue) (Network, error) {
	return c.handler().NetworkLookupByUUID(ctx, c.caller(), id.id)
}

func state(get func(State) bool) func(context.Context, *conn, *Network) (boolValue, error) {
	return func(ctx context.Context, c *conn, n *Network) (boolValue, error) {
		s, err := c.handler().NetworkState(ctx, c.caller(), *n)
		return boolValue{get(s)}, err
	}
}

func bridgeName(ctx context.Context, c *conn, n *Network) (textValue, error) {
	s, err := c.handler().NetworkState(ctx, c.caller(), *n)
	if err == nil && s.Bridge == "" {
		err = Errorf(CodeInternal, "network '%s' does not have a bridge name.", n.Name)
	}
	return textValue{s.Bridge}, err
}

func leases(ctx context.Context, c *conn, a *leasesArgs) (leasesRet, error) {
	l, err := c.handler().NetworkGetDHCPLeases(ctx, c.caller(), a.net, a.mac, a.flags)
	if err == nil && len(l) > maxLeases {
		err = rpcErrorf(CodeInternal, "Number of leases is %d, which exceeds max limit: %d", len(l), maxLeases)
	}
	r := leasesRet{n: uint32(len(l))}
	if a.want {
		r.leases = l
	}
	return r, err
}

func xmlDesc(ctx context.Context, c *conn, a *networkFlags) (textValue, error) {
	return textRet(c.handler().NetworkGetXMLDesc(ctx, c.caller(), a.net, a.flags))
}

func defineXML(ctx context.Context, c *conn, a *textValue) (Network, error) {
	return c.handler().NetworkDefineXML(ctx, c.caller(), a.text, 0)
}

func defineXMLFlags(ctx context.Context, c *conn, a *xmlArgs) (Network, error) {
	return c.handler().NetworkDefineXML(ctx, c.caller(), a.xml, a.flags)
}

func createXML(ctx context.Context, c *conn, a *textValue) (Network, error) {
	return c.handler().NetworkCreateXML(ctx, c.caller(), a.text, 0)
}

func createXMLFlags(ctx context.Context, c *conn, a *xmlArgs) (Network, error) {
	return c.handler().NetworkCreateXML(ctx, c.caller(), a.xml, a.flags)
}

// each is a verb that needs nothing but the network.
func each(verb func(Handler, context.Context, Caller, Network) error) func(context.Context, *conn, *Network) (void, error) {
	return func(ctx context.Context, c *conn, n *Network) (void, error) {
		return void{}, verb(c.handler(), ctx, c.caller(), *n)
	}
}

func setAutostart(ctx context.Context, c *conn, a *autostartArgs) (void, error) {
	return void{}, c.handler().NetworkSetAutostart(ctx, c.caller(), a.net, a.on)
}

func update(ctx context.Context, c *conn, u *Update) (void, error) {
	return void{}, c.handler().NetworkUpdate(ctx, c.caller(), *u)
}

func setMetadata(ctx context.Context, c *conn, m *Metadata) (void, error) {
	return void{}, c.handler().NetworkSetMetadata(ctx, c.caller(), *m)
}

func getMetadata(ctx context.Context, c *conn, a *getMetadataArgs) (textValue, error) {
	return textRet(c.handler().NetworkGetMetadata(ctx, c.caller(), a.m))
}

func listPorts(ctx context.Context, c *conn, a *portsArgs) (portsRet, error) {
	ports, err := c.handler().NetworkListAllPorts(ctx, c.caller(), a.net, a.flags)
	if err == nil && len(ports) > maxPorts {
		err = tooMany("network_ports", len(ports), maxPorts, "ports", "virNetworkListAllPorts")
	}
	r := portsRet{n: uint32(len(ports))}
	if a.want {
		r.ports = ports
	}
	return r, err
}

func lookupPort(ctx context.Context, c *conn, p *Port) (Port, error) {
	return c.handler().NetworkPortLookupByUUID(ctx, c.caller(), p.Network, p.UUID)
}

func createPort(ctx context.Context, c *conn, a *portXMLArgs) (Port, error) {
	return c.handler().NetworkPortCreateXML(ctx, c.caller(), a.net, a.xml, a.flags)
}

func portXMLDesc(ctx context.Context, c *conn, a *portFlags) (textValue, error) {
	return textRet(c.handler().NetworkPortGetXMLDesc(ctx, c.caller(), a.port, a.flags))
}

func deletePort(ctx context.Context, c *conn, a *portFlags) (void, error) {
	return void{}, c.handler().NetworkPortDelete(ctx, c.caller(), a.port, a.flags)
}

func setPortParams(ctx context.Context, c *conn, a *portParamsArgs) (void, error) {
	return void{}, c.handler().NetworkPortSetParameters(ctx, c.caller(), a.port, a.params, a.flags)
}

// getPortParams says how many parameters there are to who has room for none.
func getPortParams(ctx context.Context, c *conn, a *getParamsArgs) (getParamsRet, error) {
	if a.n < 0 || a.n > maxPortParams {
		return getParamsRet{}, rpcErrorf(CodeInternal, "nparams too large")
	}
	params, err := c.handler().NetworkPortGetParameters(ctx, c.caller(), a.port, a.flags)
	r := getParamsRet{n: int32(len(params))}
	if a.n > 0 {
		r.params = params[:min(len(params), int(a.n))]
		r.n = int32(len(r.params))
	}
	return r, err
}
