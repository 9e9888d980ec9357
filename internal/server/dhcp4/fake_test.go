package dhcp4

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

var start = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func service(subnets ...plan.Subnet) plan.Service {
	if len(subnets) == 0 {
		subnets = []plan.Subnet{subnet("192.0.2.0/24")}
	}
	return plan.Service{
		Network: "net", Project: "project", Name: "default", Link: "br0", MAC: vnet.MAC{0x52, 0x54, 0, 0, 0, 1},
		MTU: 1450, Domain: "default.internal", Admit: vnet.AdmitAny, LeaseTime: time.Hour, Subnets: subnets,
		DNS: plan.DNS{Serve: true, Search: []string{"default.internal"}},
	}
}

func subnet(prefix string, ranges ...string) plan.Subnet {
	p := netip.MustParsePrefix(prefix)
	s := plan.Subnet{
		ID: vnet.ID(prefix), Family: vnet.IPv4, Prefix: p,
		Gateway: p.Addr().Next(), Router: p.Addr().Next(), Guests: vnet.GuestsDHCP,
	}
	for _, r := range ranges {
		first, last, _ := strings.Cut(r, "-")
		s.Ranges = append(s.Ranges, vnet.Range{First: ip(first), Last: ip(last)})
	}
	return s
}

func mac(n int) vnet.MAC { return vnet.MAC{0x52, 0x54, 0, byte(n >> 16), byte(n >> 8), byte(n)} }

// fake is an engine with a store that says yes, or err.
type fake struct {
	*engine
	t       testing.TB
	now     time.Time
	err     error
	claims  []vnet.Lease
	granted []vnet.Lease
	ended   []vnet.Lease
	// squat are addresses that somebody answers for; probed were looked for.
	squat  map[netip.Addr]vnet.MAC
	probed []netip.Addr
}

func newFake(t testing.TB, svc plan.Service) *fake {
	f := &fake{engine: newEngine("host", &desk{}), t: t, now: start}
	f.Set(svc)
	return f
}

// send gives the engine a message and returns the answer, or nil.
func (f *fake) send(b []byte) (*dhcpv4.DHCPv4, *dhcp.Reply) {
	f.t.Helper()
	return f.receive(listen.Packet{Data: b, From: netip.IPv4Unspecified()})
}

// receive is send for a packet from somewhere.
func (f *fake) receive(p listen.Packet) (*dhcpv4.DHCPv4, *dhcp.Reply) {
	f.t.Helper()
	out, err := f.Receive(p, f.now)
	if err != nil {
		return nil, nil
	}
	return f.carryOut(out)
}

// carryOut does what the engine wants, until nothing is left, and returns the
// answer, or nil.
func (f *fake) carryOut(out dhcp.Effects) (*dhcpv4.DHCPv4, *dhcp.Reply) {
	f.t.Helper()
	var sent []dhcp.Reply
	for {
		for _, r := range out.Send {
			r.Data = bytes.Clone(r.Data)
			sent = append(sent, r)
		}
		f.granted = append(f.granted, out.Granted...)
		f.ended = append(f.ended, out.Release...)
		switch {
		case len(out.Claim) > 0:
			c := out.Claim[0]
			f.claims = append(f.claims, c.Lease)
			out = f.Committed(c, f.err, f.now)
			continue
		case len(out.Probe) > 0:
			p := out.Probe[0]
			f.probed = append(f.probed, p.Address)
			out = f.Probed(p, f.squat[p.Address], f.now)
			continue
		}
		break
	}
	if len(sent) == 0 {
		return nil, nil
	}
	if len(sent) > 1 {
		f.t.Fatalf("%d answers", len(sent))
	}
	m, err := dhcpv4.FromBytes(sent[0].Data)
	if err != nil {
		f.t.Fatalf("our answer does not parse: %v", err)
	}
	return m, &sent[0]
}

// msg is a client's message; zero fields are left out.
type msg struct {
	kind      dhcpv4.MessageType
	mac       vnet.MAC
	ciaddr    string
	requested string
	server    string
	id        string
	host      string
	broadcast bool
	opts      []dhcpv4.Option
	edit      func(*dhcpv4.DHCPv4)
}

// oaddr reads an address of the codec; the unspecified one is zero.
func oaddr(a net.IP) netip.Addr { return addr(a.To4()) }

// parsed reads a message as the server does.
func parsed(b []byte) (*request, error) {
	r := new(request)
	return r, r.parse(listen.Packet{Data: b})
}

func (m msg) bytes() []byte {
	d, err := dhcpv4.New(dhcpv4.WithMessageType(m.kind))
	if err != nil {
		panic(err)
	}
	d.OpCode, d.HWType, d.ClientHWAddr = dhcpv4.OpcodeBootRequest, iana.HWTypeEthernet, m.mac[:]
	if m.ciaddr != "" {
		d.ClientIPAddr = ip(m.ciaddr).AsSlice()
	}
	if m.requested != "" {
		d.UpdateOption(dhcpv4.OptRequestedIPAddress(ip(m.requested).AsSlice()))
	}
	if m.server != "" {
		d.UpdateOption(dhcpv4.OptServerIdentifier(ip(m.server).AsSlice()))
	}
	if m.id != "" {
		d.UpdateOption(dhcpv4.OptClientIdentifier([]byte(m.id)))
	}
	if m.host != "" {
		d.UpdateOption(dhcpv4.OptHostName(m.host))
	}
	if m.broadcast {
		d.SetBroadcast()
	}
	for _, o := range m.opts {
		d.UpdateOption(o)
	}
	if m.edit != nil {
		m.edit(d)
	}
	return d.ToBytes()
}

const (
	discover = dhcpv4.MessageTypeDiscover
	requestM = dhcpv4.MessageTypeRequest
	offerM   = dhcpv4.MessageTypeOffer
	ack      = dhcpv4.MessageTypeAck
	nak      = dhcpv4.MessageTypeNak
)

// dora gets a client a lease and returns its address.
func (f *fake) dora(m msg) netip.Addr {
	f.t.Helper()
	m.kind, m.requested, m.server, m.ciaddr = discover, "", "", ""
	o, _ := f.send(m.bytes())
	if o == nil || o.MessageType() != offerM {
		f.t.Fatalf("no offer for %v: %v", m.mac, o)
	}
	m.kind, m.requested, m.server = requestM, oaddr(o.YourIPAddr).String(), oaddr(o.ServerIdentifier()).String()
	a, _ := f.send(m.bytes())
	if a == nil || a.MessageType() != ack || !a.YourIPAddr.Equal(o.YourIPAddr) {
		f.t.Fatalf("no ack of %v: %v", o.YourIPAddr, a)
	}
	return oaddr(a.YourIPAddr)
}

func guest(n int, addresses ...string) plan.Guest {
	g := plan.Guest{Port: vnet.ID(fmt.Sprint("port", n)), Network: "net", Name: fmt.Sprint("vm", n), MAC: mac(n), DefaultRoute: true}
	for _, a := range addresses {
		g.Addresses = append(g.Addresses, plan.GuestAddress{Address: ip(a)})
	}
	return g
}

// ask is a message that asks for options.
func ask(k dhcpv4.MessageType, n int, codes ...uint8) msg {
	return msg{kind: k, mac: mac(n), opts: []dhcpv4.Option{prl(codes...)}}
}

// prl is option 55.
func prl(codes ...uint8) dhcpv4.Option { return raw(optAsked, codes...) }

// raw is an option of bytes.
func raw(code uint8, value ...byte) dhcpv4.Option {
	return dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(code), value)
}

// texts is an option of text.
func texts(code uint8, s string) dhcpv4.Option { return raw(code, []byte(s)...) }

// value returns an option of an answer, also out of sname and file, as the
// codec reads them (RFC 2131 section 4.1).
func value(t testing.TB, m *dhcpv4.DHCPv4, data []byte, code uint8) []byte {
	t.Helper()
	all := dhcpv4.Options{}
	fields := [][]byte{data[fixedSize:]}
	over := m.Options.Get(dhcpv4.OptionOptionOverload)
	if len(over) == 1 && over[0]&1 != 0 {
		fields = append(fields, data[offFile:offCookie])
	}
	if len(over) == 1 && over[0]&2 != 0 {
		fields = append(fields, data[offSname:offFile])
	}
	for _, f := range fields {
		if err := all.FromBytes(f); err != nil {
			t.Fatalf("a field of our answer does not parse: %v", err)
		}
	}
	return all.Get(dhcpv4.GenericOptionCode(code))
}

// option sends a message and returns one option of the answer; nil: none.
func (f *fake) option(m msg, code uint8) []byte {
	f.t.Helper()
	a, r := f.send(m.bytes())
	if a == nil {
		f.t.Fatalf("no answer to %v", m.kind)
	}
	return value(f.t, a, r.Data, code)
}

// textOf parses the text of one of vnet's types.
func textOf[T any, P interface {
	*T
	UnmarshalText([]byte) error
}](text string) T {
	var v T
	if err := P(&v).UnmarshalText([]byte(text)); err != nil {
		panic(err)
	}
	return v
}
