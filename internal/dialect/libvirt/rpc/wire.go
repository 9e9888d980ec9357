package rpc

import "github.com/sextant-net/sextant/internal/dialect/libvirt/xdr"

// The longest arrays of the protocol (remote_protocol.x).
const (
	maxIdentityParams = 20    // REMOTE_CONNECT_IDENTITY_PARAMS_MAX
	maxNetworks       = 16384 // REMOTE_NETWORK_LIST_MAX
	maxPorts          = 16384 // REMOTE_NETWORK_PORT_LIST_MAX
	maxPortParams     = 16    // REMOTE_NETWORK_PORT_PARAMETERS_MAX
	maxLeases         = 65536 // REMOTE_NETWORK_DHCP_LEASES_MAX
	maxAuthTypes      = 20    // REMOTE_AUTH_TYPE_LIST_MAX
)

// UUID is the identity of a network or a port.
type UUID [16]byte

// Network is how a client names a network: libvirt's drivers find it by UUID,
// and say the name in their errors.
type Network struct {
	Name string
	UUID UUID
}

// XDR visits remote_nonnull_network.
func (n *Network) XDR(s *xdr.Stream) {
	s.String(&n.Name)
	s.Fixed(n.UUID[:])
}

// Port is how a client names a port of a network.
type Port struct {
	Network Network
	UUID    UUID
}

// XDR visits remote_nonnull_network_port.
func (p *Port) XDR(s *xdr.Stream) {
	p.Network.XDR(s)
	s.Fixed(p.UUID[:])
}

// The types of address in a Lease (virIPAddrType).
const (
	AddrIPv4 int32 = 0
	AddrIPv6 int32 = 1
)

// Lease is an address that a guest uses.
type Lease struct {
	Interface string // the network's bridge
	Expiry    int64  // seconds since 1970, 0 for never
	Type      int32  // AddrIPv4 or AddrIPv6
	MAC       *string
	IAID      *string
	Address   string
	Prefix    uint32 // bits
	Hostname  *string
	ClientID  *string // or the DUID
}

// XDR visits remote_network_dhcp_lease.
func (l *Lease) XDR(s *xdr.Stream) {
	s.String(&l.Interface)
	s.Hyper(&l.Expiry)
	s.Int(&l.Type)
	s.StringOrNil(&l.MAC)
	s.StringOrNil(&l.IAID)
	s.String(&l.Address)
	s.Uint(&l.Prefix)
	s.StringOrNil(&l.Hostname)
	s.StringOrNil(&l.ClientID)
}

// void is what a call without arguments is called with, and one without a
// result returns.
type void struct{}

func (*void) XDR(*xdr.Stream) {}

// openArgs is remote_connect_open_args.
type openArgs struct {
	uri   *string
	flags uint32
}

func (a *openArgs) XDR(s *xdr.Stream) {
	s.StringOrNil(&a.uri)
	s.Uint(&a.flags)
}

// identityArgs is remote_connect_set_identity_args.
type identityArgs struct {
	params []xdr.Param
	flags  uint32
}

func (a *identityArgs) XDR(s *xdr.Stream) {
	xdr.List(s, &a.params, maxIdentityParams)
	s.Uint(&a.flags)
}

// authTypes is remote_auth_list_ret.
type authTypes struct{ types []xdr.Number }

func (r *authTypes) XDR(s *xdr.Stream) { xdr.List(s, &r.types, maxAuthTypes) }

// intValue is an int alone: a feature, an event, a truth, a count.
type intValue struct{ n int32 }

func (v *intValue) XDR(s *xdr.Stream) { s.Int(&v.n) }

// boolValue is a truth, on the wire an int.
type boolValue struct{ is bool }

func (v *boolValue) XDR(s *xdr.Stream) { s.Bool(&v.is) }

// uhyperValue is an unsigned hyper alone.
type uhyperValue struct{ n uint64 }

func (v *uhyperValue) XDR(s *xdr.Stream) { s.Uhyper(&v.n) }

// textValue is a string alone: a name, an XML document.
type textValue struct{ text string }

func (v *textValue) XDR(s *xdr.Stream) { s.String(&v.text) }

// uuidValue is a UUID alone.
type uuidValue struct{ id UUID }

func (v *uuidValue) XDR(s *xdr.Stream) { s.Fixed(v.id[:]) }

// namesRet is a list of names, remote_connect_list_networks_ret.
type namesRet struct{ names []xdr.Text }

func (r *namesRet) XDR(s *xdr.Stream) { xdr.List(s, &r.names, maxNetworks) }

// listArgs asks for a list of networks.
type listArgs struct {
	want  bool // else only how many
	flags uint32
}

func (a *listArgs) XDR(s *xdr.Stream) {
	s.Bool(&a.want)
	s.Uint(&a.flags)
}

// networksRet is remote_connect_list_all_networks_ret.
type networksRet struct {
	nets []Network
	n    uint32
}

func (r *networksRet) XDR(s *xdr.Stream) {
	xdr.List(s, &r.nets, maxNetworks)
	s.Uint(&r.n)
}

// xmlArgs is an XML document with flags.
type xmlArgs struct {
	xml   string
	flags uint32
}

func (a *xmlArgs) XDR(s *xdr.Stream) {
	s.String(&a.xml)
	s.Uint(&a.flags)
}

// networkFlags is a network with flags.
type networkFlags struct {
	net   Network
	flags uint32
}

func (a *networkFlags) XDR(s *xdr.Stream) {
	a.net.XDR(s)
	s.Uint(&a.flags)
}

// autostartArgs is remote_network_set_autostart_args.
type autostartArgs struct {
	net Network
	on  bool
}

func (a *autostartArgs) XDR(s *xdr.Stream) {
	a.net.XDR(s)
	s.Bool(&a.on)
}

// Update is one change of a part of a network's definition, running
// configuration or both (virNetworkUpdate).
type Update struct {
	Network     Network
	Command     uint32 // virNetworkUpdateCommand
	Section     uint32 // virNetworkUpdateSection
	ParentIndex int32  // which parent, -1 for the first that fits
	XML         string
	Flags       uint32 // virNetworkUpdateFlags
}

// XDR visits remote_network_update_args.
func (a *Update) XDR(s *xdr.Stream) {
	a.Network.XDR(s)
	s.Uint(&a.Command)
	s.Uint(&a.Section)
	s.Int(&a.ParentIndex)
	s.String(&a.XML)
	s.Uint(&a.Flags)
}

// Metadata names a title, a description or an element of a network's
// metadata, and its new content (virNetworkSetMetadata).
type Metadata struct {
	Network  Network
	Type     int32   // virNetworkMetadataType
	Metadata *string // nil: to be removed; not used for reading
	Key      *string // the prefix of the namespace; not used for reading
	URI      *string // the namespace
	Flags    uint32
}

// XDR visits remote_network_set_metadata_args.
func (a *Metadata) XDR(s *xdr.Stream) {
	a.Network.XDR(s)
	s.Int(&a.Type)
	s.StringOrNil(&a.Metadata)
	s.StringOrNil(&a.Key)
	s.StringOrNil(&a.URI)
	s.Uint(&a.Flags)
}

// getMetadataArgs is remote_network_get_metadata_args.
type getMetadataArgs struct{ m Metadata }

func (a *getMetadataArgs) XDR(s *xdr.Stream) {
	a.m.Network.XDR(s)
	s.Int(&a.m.Type)
	s.StringOrNil(&a.m.URI)
	s.Uint(&a.m.Flags)
}

// leasesArgs is remote_network_get_dhcp_leases_args.
type leasesArgs struct {
	net   Network
	mac   *string
	want  bool
	flags uint32
}

func (a *leasesArgs) XDR(s *xdr.Stream) {
	a.net.XDR(s)
	s.StringOrNil(&a.mac)
	s.Bool(&a.want)
	s.Uint(&a.flags)
}

// leasesRet is remote_network_get_dhcp_leases_ret.
type leasesRet struct {
	leases []Lease
	n      uint32
}

func (r *leasesRet) XDR(s *xdr.Stream) {
	xdr.List(s, &r.leases, maxLeases)
	s.Uint(&r.n)
}

// portsArgs is remote_network_list_all_ports_args.
type portsArgs struct {
	net   Network
	want  bool
	flags uint32
}

func (a *portsArgs) XDR(s *xdr.Stream) {
	a.net.XDR(s)
	s.Bool(&a.want)
	s.Uint(&a.flags)
}

// portsRet is remote_network_list_all_ports_ret.
type portsRet struct {
	ports []Port
	n     uint32
}

func (r *portsRet) XDR(s *xdr.Stream) {
	xdr.List(s, &r.ports, maxPorts)
	s.Uint(&r.n)
}

// portXMLArgs is remote_network_port_create_xml_args.
type portXMLArgs struct {
	net   Network
	xml   string
	flags uint32
}

func (a *portXMLArgs) XDR(s *xdr.Stream) {
	a.net.XDR(s)
	s.String(&a.xml)
	s.Uint(&a.flags)
}

// portFlags is a port with flags.
type portFlags struct {
	port  Port
	flags uint32
}

func (a *portFlags) XDR(s *xdr.Stream) {
	a.port.XDR(s)
	s.Uint(&a.flags)
}

// portParamsArgs is remote_network_port_set_parameters_args.
type portParamsArgs struct {
	port   Port
	params []xdr.Param
	flags  uint32
}

func (a *portParamsArgs) XDR(s *xdr.Stream) {
	a.port.XDR(s)
	xdr.List(s, &a.params, maxPortParams)
	s.Uint(&a.flags)
}

// getParamsArgs is remote_network_port_get_parameters_args.
type getParamsArgs struct {
	port  Port
	n     int32 // how many there is room for; 0 asks how many there are
	flags uint32
}

func (a *getParamsArgs) XDR(s *xdr.Stream) {
	a.port.XDR(s)
	s.Int(&a.n)
	s.Uint(&a.flags)
}

// getParamsRet is remote_network_port_get_parameters_ret.
type getParamsRet struct {
	params []xdr.Param
	n      int32
}

func (r *getParamsRet) XDR(s *xdr.Stream) {
	xdr.List(s, &r.params, maxPortParams)
	s.Int(&r.n)
}
