package vnet

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// StatusID is the ID of the one status that a host keeps of an object:
// "kind/id@host". It is derived, so that writing a status needs no lookup.
func StatusID(target Ref, host string) ID { return ID(target.String() + "@" + host) }

// DecodeObject reads the JSON form of an object of the kind. Fields that this
// version does not know are passed over: a newer version may have written them.
func DecodeObject(kind Kind, data []byte) (Object, error) {
	o := NewObject(kind)
	if o == nil {
		return nil, Invalid("kind", "%q is no kind of object", kind)
	}
	if err := json.Unmarshal(data, o); err != nil {
		e := Invalid("", "this is not the JSON form of a %s", kind)
		e.Err = err
		return nil, e
	}
	return o, nil
}

// Uniques returns the unique names that an object holds: no two objects of an
// installation may hold the same one at a time. The store keeps them in the
// transaction that writes the object. Those of an object that belongs to a
// network begin with NetworkUniques of that network.
func Uniques(o Object) []string {
	var u []string
	m := o.GetMeta()
	add := func(parts ...string) { u = append(u, strings.Join(parts, "/")) }
	named := func() {
		if m.Name != "" {
			add("name", string(m.Project), string(o.Kind()), m.Name)
		}
	}
	switch o := o.(type) {
	case *Project:
		add("project", m.Name)
	case *Pool:
		named()
	case *Network:
		named()
		if o.Bridge != "" {
			add("link", o.Bridge)
		}
		if o.Number != 0 {
			add("number", string(KindNetwork), strconv.Itoa(o.Number))
		}
	case *Router:
		named()
		if o.Netns != "" {
			add("netns", o.Netns)
		}
		if o.Number != 0 {
			add("number", string(KindRouter), strconv.Itoa(o.Number))
		}
	case *Activation:
		u = append(u, NetworkUniques(o.Network)+"active/"+o.Host)
	case *UplinkPolicy:
		u = append(u, uniquesOfUplink(o)...)
	case *PrefixAssignment:
		u = append(u, uniquesOfAssignment(o)...)
	default:
		u = append(u, uniquesInNetwork(o)...)
	}
	return u
}

// NetworkUniques is what every unique name begins with that can only be held
// inside the network: they all go when the network goes.
func NetworkUniques(network ID) string { return "net/" + string(network) + "/" }

func uniquesInNetwork(o Object) []string {
	var u []string
	var in string
	name := o.GetMeta().Name
	add := func(parts ...string) { u = append(u, in+strings.Join(parts, "/")) }
	switch o := o.(type) {
	case *Subnet:
		in = NetworkUniques(o.Network)
		if o.Primary {
			add("primary", o.Family.String())
		}
		if o.Prefix.IsValid() {
			add("prefix", o.Prefix.Masked().String())
		}
	case *Port:
		in = NetworkUniques(o.Network)
		if !o.MAC.IsZero() {
			add("mac", o.MAC.String())
		}
		for _, f := range o.Fixed {
			add("addr", string(f.Subnet), strconv.FormatUint(f.Host, 16))
		}
		if o.Binding != nil {
			u = append(u, uniqueOfBinding(o.Binding))
		}
	case *Reservation:
		in = NetworkUniques(o.Network)
		if o.Fixed.Subnet != "" {
			add("addr", string(o.Fixed.Subnet), strconv.FormatUint(o.Fixed.Host, 16))
			add("reserved", string(o.Fixed.Subnet), reservedFor(o))
		}
	case *Lease:
		in = NetworkUniques(o.Network)
		add("lease", o.Address.String())
		if host, ok := leaseHostPart(o); ok {
			add("addr", string(o.Subnet), strconv.FormatUint(host, 16))
		}
		return u // a lease's name is not its own
	default:
		return nil
	}
	if name != "" {
		add("name", string(o.Kind()), name)
	}
	return u
}

// UplinkUnique is the unique name of the policy of a host's link.
func UplinkUnique(host, link string) string { return "uplink/" + host + "/" + link }

// uniquesOfUplink: one policy for each link, and one link that guests of a
// family leave by whatever the metrics say.
func uniquesOfUplink(p *UplinkPolicy) []string {
	u := []string{UplinkUnique(p.Host, p.Name)}
	for _, f := range p.Pins() {
		u = append(u, "pinned/"+p.Host+"/"+f.String())
	}
	return u
}

// uniquesOfAssignment: the exact prefix in the scope of its gateway, unless it
// is one that networks share with the uplink. What merely overlaps is the
// ladder's and control's to refuse.
func uniquesOfAssignment(a *PrefixAssignment) []string {
	if !a.Prefix.IsValid() || a.State == PrefixExpired || a.Rung == EgressProxied {
		return nil
	}
	scope := a.Scope
	if scope == "" {
		scope = ScopeHost
	}
	return []string{strings.Join([]string{"prefix", string(scope), a.Host, a.Prefix.Masked().String()}, "/")}
}

// uniqueOfBinding: a device carries one port. A veth's far end is unique in its
// namespace, a tap on its host.
func uniqueOfBinding(b *Binding) string {
	if b.Plug == PlugVeth {
		return strings.Join([]string{"plug", b.Host, "netns", b.Netns, b.Device}, "/")
	}
	return strings.Join([]string{"plug", b.Host, "device", b.Device}, "/")
}

func reservedFor(r *Reservation) string {
	switch {
	case !r.MAC.IsZero():
		return "mac/" + r.MAC.String()
	case r.DUID != "" && r.IAID != nil:
		return "duid/" + r.DUID + "/" + strconv.FormatUint(uint64(*r.IAID), 10)
	case r.DUID != "":
		return "duid/" + r.DUID
	}
	return "client/" + r.Client
}

// leaseHostPart is the host part under which a lease's address is unique in its
// subnet, in the same terms as FixedAddress.Host. The subnet's prefix length is
// not known here, so for IPv4 it must be in Lease.HostPart.
func leaseHostPart(l *Lease) (uint64, bool) {
	if l.Subnet == "" || !l.Address.IsValid() {
		return 0, false
	}
	if l.Address.Is4() {
		return l.HostPart, l.HostPart != 0
	}
	if l.Length > 0 && l.Length <= 64 {
		return networkPart(l.Address), true
	}
	return InterfaceID(l.Address), true
}

// networkPart returns the first 64 bits of an IPv6 address, which tell
// delegated prefixes apart.
func networkPart(a netip.Addr) uint64 {
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8])
}

// InterfaceID returns the last 64 bits of an IPv6 address (RFC 4291 2.5.1), in
// which FixedAddress.Host of an IPv6 subnet is counted.
func InterfaceID(a netip.Addr) uint64 {
	b := a.As16()
	var v uint64
	for _, x := range b[8:] {
		v = v<<8 | uint64(x)
	}
	return v
}

// References returns what o depends on: it must be there when o is written, and
// cannot be deleted while o is there. What belongs to its target and goes with
// it (leases, prefix assignments, statuses, events) refers to nothing: see
// Owners.
func References(o Object) []Ref {
	var r []Ref
	add := func(k Kind, id ID) {
		if id != "" {
			r = append(r, Ref{k, id})
		}
	}
	switch o := o.(type) {
	case *Network:
		add(KindProject, o.Project)
		add(KindRouter, o.Router)
	case *Router:
		add(KindProject, o.Project)
	case *Pool:
		add(KindProject, o.Project)
	case *Subnet:
		add(KindNetwork, o.Network)
		add(KindPool, o.Pool)
	case *Port:
		add(KindNetwork, o.Network)
		for i, f := range o.Fixed {
			if i == 0 || o.Fixed[i-1].Subnet != f.Subnet {
				add(KindSubnet, f.Subnet)
			}
		}
		r = dedupe(r)
	case *Reservation:
		add(KindNetwork, o.Network)
		add(KindSubnet, o.Fixed.Subnet)
	case *Activation:
		add(KindNetwork, o.Network)
	}
	return r
}

func dedupe(r []Ref) []Ref {
	seen := map[Ref]bool{}
	out := r[:0]
	for _, x := range r {
		if !seen[x] {
			seen[x] = true
			out = append(out, x)
		}
	}
	return out
}

// Owners returns what a claim belongs to: each must be there when the claim is
// written, but none is kept from being deleted by it. A claim goes with its
// network.
func Owners(o Object) []Ref {
	var r []Ref
	add := func(k Kind, id ID) {
		if id != "" {
			r = append(r, Ref{k, id})
		}
	}
	switch o := o.(type) {
	case *Lease:
		add(KindNetwork, o.Network)
		add(KindSubnet, o.Subnet)
		add(KindPort, o.Port)
	case *PrefixAssignment:
		add(KindNetwork, o.Network)
		add(KindSubnet, o.Subnet)
	case *LeaseOrder:
		add(KindNetwork, o.Network)
	}
	return r
}

// SharesUniques returns the object whose unique names o may hold as well: a
// lease of a port is for the address that the port owns.
func SharesUniques(o Object) (Ref, bool) {
	if l, ok := o.(*Lease); ok && l.Port != "" {
		return Ref{KindPort, l.Port}, true
	}
	return Ref{}, false
}

// SharesHostPart reports whether o may be written although another lease holds
// the unique name u: a guest has the same host part in every IPv6 prefix of a
// subnet. The name keeps ports and reservations from what guests use; between
// leases the address decides. Who shares does not hold: the name goes with the
// lease that has it.
func SharesHostPart(o Object, u string, holder Ref) bool {
	l, ok := o.(*Lease)
	return ok && holder.Kind == KindLease && l.Address.Is6() && l.Length == 0 && strings.HasPrefix(u, NetworkUniques(l.Network)+"addr/")
}

// DescribeUnique says in the words of the command line which key a unique name
// comes from, and its value.
func DescribeUnique(u string) (field, value string) {
	p := strings.Split(u, "/")
	last := p[len(p)-1]
	switch p[0] {
	case "project", "name":
		return "name", last
	case "link":
		return "bridge", last
	case "netns":
		return "netns", last
	case "number":
		return "number", last
	case "plug":
		return "device", last
	case "uplink":
		return "name", last
	case "pinned":
		return "pinned", last
	case "prefix":
		return "prefix", strings.Join(p[max(0, len(p)-2):], "/")
	case "net":
		if len(p) < 4 {
			break
		}
		switch p[2] {
		case "name":
			return "name", last
		case "mac":
			return "mac", last
		case "addr":
			return "addresses", "the address with host part 0x" + last
		case "lease":
			return "address", last
		case "primary":
			return "primary", last
		case "prefix":
			return "prefix", strings.Join(p[3:], "/")
		case "reserved":
			return p[min(4, len(p)-1)], last
		case "active":
			return "host", last
		}
	}
	return "", u
}

// EventID is an ID for an event at t that sorts by time. The tail tells apart
// events of the same nanosecond.
func EventID(t time.Time, tail uint64) ID {
	return ID(fmt.Sprintf("%016x-%016x", uint64(t.UnixNano()), tail))
}

// AutoPrefixLen4 is the length of IPv4 prefixes that are chosen on hosts
// (SourceAuto): ports own host parts below it before the prefix is known.
const AutoPrefixLen4 = 24
