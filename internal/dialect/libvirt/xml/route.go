package xml

import (
	"fmt"
	"net/netip"
)

// Route is a network behind a guest.
type Route struct {
	Family  *string // as written
	Address netip.Addr
	Netmask netip.Addr
	Prefix  *uint32
	Gateway netip.Addr
	Metric  uint32
}

// parseRoute reads <route>; what is wrong is told in the name of the network.
func parseRoute(network string, n *node) (r Route, err error) {
	bad := func(format string, args ...any) error { return fail(CodeXML, network+": "+format, args...) }
	prefix, there, err := n.uintProp("prefix", 10)
	if err != nil {
		return r, err
	}
	if there {
		r.Prefix = &prefix
	}
	if r.Metric, there, err = n.uintProp("metric", 10); err != nil {
		return r, err
	}
	if there && r.Metric == 0 {
		return r, failFrom(DomainXML, CodeXML, "Invalid value for attribute 'metric' in element 'route': Zero is not permitted")
	}
	r.Family = n.prop("family")
	address, gateway := n.prop("address"), n.prop("gateway")
	switch {
	case address == nil:
		return r, bad("Missing required address attribute in route definition")
	case gateway == nil:
		return r, bad("Missing required gateway attribute in route definition")
	}
	if r.Address, err = parseAddr(*address); err != nil {
		return r, bad("Bad network address '%s' in route definition", *address)
	}
	if r.Gateway, err = parseAddr(*gateway); err != nil {
		return r, bad("Bad gateway address '%s' in route definition", *gateway)
	}
	netmask := n.prop("netmask")
	switch {
	case r.Family == nil || *r.Family == "ipv4":
		err = r.check4(*address, netmask, prefix, bad)
	case *r.Family == "ipv6":
		err = r.check6(*address, *gateway, netmask, prefix, bad)
	default:
		err = bad("Unrecognized family '%s' in route definition", *r.Family)
	}
	if err != nil {
		return r, err
	}
	if r.masked() != r.Address {
		return r, bad("Address '%s' in route definition is not a network address", *address)
	}
	return r, nil
}

func (r *Route) check4(address string, netmask *string, prefix uint32, bad func(string, ...any) error) (err error) {
	who := "IPv4"
	if r.Family == nil {
		who = "No"
	}
	switch {
	case !r.Address.Is4():
		return bad("%s family specified for non-IPv4 address '%s' in route definition", who, address)
	case !r.Gateway.Is4():
		return bad("%s family specified for non-IPv4 gateway '%s' in route definition", who, address)
	}
	if netmask != nil {
		if r.Netmask, err = parseAddr(*netmask); err != nil {
			return bad("Bad netmask address '%s' in route definition", *netmask)
		}
		switch {
		case !r.Netmask.Is4():
			return bad("Invalid netmask '%s' for address '%s' (both must be IPv4)", *netmask, address)
		case r.Prefix != nil:
			return bad("Route definition cannot have both a prefix and a netmask")
		}
	}
	if prefix > 32 {
		return bad("Invalid prefix %d specified in route definition, must be 0 - 32", prefix)
	}
	return nil
}

func (r *Route) check6(address, gateway string, netmask *string, prefix uint32, bad func(string, ...any) error) error {
	switch {
	case !r.Address.Is6():
		return bad("ipv6 family specified for non-IPv6 address '%s' in route definition", address)
	case netmask != nil:
		return bad("Specifying netmask invalid for IPv6 address '%s' in route definition", address)
	case !r.Gateway.Is6():
		return bad("ipv6 specified for non-IPv6 gateway address '%s' in route definition", gateway)
	case prefix > 128:
		return bad("Invalid prefix %d specified in route definition, must be 0 - 128", prefix)
	}
	return nil
}

// masked is the address without its host part. Without prefix and netmask that
// is all of it.
func (r *Route) masked() netip.Addr {
	if r.Netmask.IsValid() {
		a, m := r.Address.As4(), r.Netmask.As4()
		for i := range a {
			a[i] &= m[i]
		}
		return netip.AddrFrom4(a)
	}
	bits := uint32(0)
	if r.Prefix != nil {
		bits = *r.Prefix
	}
	return masked(r.Address, int(bits))
}

func (r *Route) print(p *printer) {
	prefix := ""
	if r.Prefix != nil {
		prefix = fmt.Sprintf(" prefix='%d'", *r.Prefix)
	}
	p.line("<route%s%s%s%s%s%s/>", attr("family", r.Family), addrAttr("address", r.Address), addrAttr("netmask", r.Netmask),
		prefix, addrAttr("gateway", r.Gateway), some32("metric", r.Metric))
}
