package dhcp6

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/rfc1035label"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

var start = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// serverDUID is a DUID-UUID (RFC 6355).
var serverDUID = append([]byte{0, 4}, "0123456789abcdef"...)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func subnet(prefix string, ranges ...string) plan.Subnet {
	p := netip.MustParsePrefix(prefix)
	s := plan.Subnet{ID: vnet.ID(prefix), Family: vnet.IPv6, Prefix: p, Gateway: p.Addr().Next(), Guests: vnet.GuestsSLAACStateful}
	for _, r := range ranges {
		first, last, _ := strings.Cut(r, "-")
		s.Ranges = append(s.Ranges, vnet.Range{First: ip(first), Last: ip(last)})
	}
	return s
}

// delegation is a prefix of which guests get pieces.
func delegation(prefix string, length int) plan.Subnet {
	return plan.Subnet{ID: vnet.ID(prefix), Family: vnet.IPv6, Prefix: netip.MustParsePrefix(prefix), Guests: vnet.GuestsDelegation, Delegate: length}
}

func service(subnets ...plan.Subnet) plan.Service {
	if len(subnets) == 0 {
		subnets = []plan.Subnet{subnet("2001:db8:1::/64")}
	}
	return plan.Service{
		Network: "net", Project: "project", Name: "default", Link: "br0", Domain: "default.internal",
		Admit: vnet.AdmitAny, LeaseTime: time.Hour, Subnets: subnets, DNS: plan.DNS{Serve: true},
	}
}

func mac(n int) vnet.MAC { return vnet.MAC{0x52, 0x54, 0, byte(n >> 16), byte(n >> 8), byte(n)} }

// linkLocal is the address that a kernel makes from a MAC.
func linkLocal(m vnet.MAC) netip.Addr {
	b := [16]byte{0xfe, 0x80, 8: m[0] ^ 2, 9: m[1], 10: m[2], 11: 0xff, 12: 0xfe, 13: m[3], 14: m[4], 15: m[5]}
	return netip.AddrFrom16(b)
}

// private is a link-local address that says nothing of its maker.
var private = ip("fe80::1234:5678:9abc:def0")

func duidLL(m vnet.MAC) []byte { return append([]byte{0, 3, 0, 1}, m[:]...) }

func duidUUID(n int) []byte {
	return binary.BigEndian.AppendUint32(append([]byte{0, 4}, make([]byte, 12)...), uint32(n))
}

func guest(n int, addresses ...string) plan.Guest {
	g := plan.Guest{Port: vnet.ID(fmt.Sprint("port", n)), Network: "net", Name: fmt.Sprint("vm", n), MAC: mac(n), DefaultRoute: true}
	for _, a := range addresses {
		g.Addresses = append(g.Addresses, plan.GuestAddress{Address: ip(a)})
	}
	return g
}

// msg is a client's message; ias are "IAID" or "IAID=address,address".
type msg struct {
	kind   dhcpv6.MessageType
	duid   []byte
	ias    []string
	server bool // ours
	rapid  bool
	name   string
	oro    []dhcpv6.OptionCode
	extra  []dhcpv6.Option
	peer   netip.Addr
	seen   vnet.MAC
	heard  bool     // others are seen, too
	port   vnet.ID  // where it came in
	pds    []string // "IAID" or "IAID=prefix,prefix"
	via    []relay  // outermost first
	xid    byte     // 0: made up
}

// relay is a relay that a message comes through.
type relay struct {
	from, link string // its address; where it stands
	options    []dhcpv6.Option
}

func (m msg) packet() listen.Packet {
	d, err := dhcpv6.NewMessage()
	if err != nil {
		panic(err)
	}
	d.MessageType = m.kind
	if m.duid != nil {
		d.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionClientID, OptionData: m.duid})
	}
	if m.server {
		d.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionServerID, OptionData: serverDUID})
	}
	for _, s := range m.ias {
		id, addrs, ok := strings.Cut(s, "=")
		o := &dhcpv6.OptIANA{}
		var n uint32
		fmt.Sscan(id, &n)
		binary.BigEndian.PutUint32(o.IaId[:], n)
		if ok {
			for a := range strings.SplitSeq(addrs, ",") {
				o.Options.Add(&dhcpv6.OptIAAddress{IPv6Addr: ip(a).AsSlice()})
			}
		}
		d.AddOption(o)
	}
	for _, s := range m.pds {
		id, prefixes, ok := strings.Cut(s, "=")
		o := &dhcpv6.OptIAPD{}
		var n uint32
		fmt.Sscan(id, &n)
		binary.BigEndian.PutUint32(o.IaId[:], n)
		if ok {
			for x := range strings.SplitSeq(prefixes, ",") {
				p := netip.MustParsePrefix(x)
				o.Options.Add(&dhcpv6.OptIAPrefix{Prefix: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 128)}})
			}
		}
		d.AddOption(o)
	}
	if m.xid != 0 {
		d.TransactionID = dhcpv6.TransactionID{0, 0, m.xid}
	}
	if m.rapid {
		d.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit})
	}
	if m.name != "" {
		d.AddOption(&dhcpv6.OptFQDN{DomainName: &rfc1035label.Labels{Labels: []string{m.name}}})
	}
	if m.oro != nil {
		d.AddOption(dhcpv6.OptRequestedOption(m.oro...))
	}
	for _, o := range m.extra {
		d.AddOption(o)
	}
	if !m.peer.IsValid() {
		m.peer = private
	}
	p := listen.Packet{From: m.peer, Sender: listen.Sender{MAC: m.seen, Port: m.port}, Heard: m.heard, Data: d.ToBytes()}
	for i := len(m.via) - 1; i >= 0; i-- {
		r := m.via[i]
		f := &dhcpv6.RelayMessage{MessageType: dhcpv6.MessageTypeRelayForward, HopCount: uint8(len(m.via) - 1 - i), PeerAddr: p.From.AsSlice(), LinkAddr: net.IPv6zero}
		if r.link != "" {
			f.LinkAddr = ip(r.link).AsSlice()
		}
		for _, o := range r.options {
			f.AddOption(o)
		}
		f.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRelayMsg, OptionData: p.Data})
		p.From, p.Data = ip(r.from), f.ToBytes()
	}
	return p
}

// fake is an engine with a store that says yes, or err.
type fake struct {
	*engine
	t                      testing.TB
	now                    time.Time
	err                    error
	claims, granted, ended []vnet.Lease
	sent                   dhcp.Reply // the last answer
}

// ask gives the engine a message and returns the answer in short.
func (f *fake) ask(m msg) string {
	f.t.Helper()
	return text(f.send(m.packet()))
}

func newFake(t testing.TB, svc plan.Service) *fake {
	f := &fake{engine: newEngine("host", serverDUID, []byte("secret"), &message{}), t: t, now: start}
	f.Set(svc)
	return f
}

// send gives the engine a message and returns the answer, or nil.
func (f *fake) send(p listen.Packet) *dhcpv6.Message {
	f.t.Helper()
	out, err := f.Receive(p, f.now)
	if err != nil {
		return nil
	}
	for len(out.Claim) > 0 {
		c := out.Claim[0]
		f.claims = append(f.claims, c.Lease)
		more := f.Committed(c, f.err, f.now)
		out.Claim = append(out.Claim[1:], more.Claim...)
		out.Send = append(out.Send, more.Send...)
		out.Granted = append(out.Granted, more.Granted...)
		out.Release = append(out.Release, more.Release...)
	}
	f.granted, f.ended = append(f.granted, out.Granted...), append(f.ended, out.Release...)
	if len(out.Send) == 0 {
		return nil
	}
	if len(out.Send) > 1 {
		f.t.Fatalf("%d answers", len(out.Send))
	}
	f.sent = out.Send[0]
	f.sent.Data = slices.Clone(f.sent.Data)
	d, err := dhcpv6.FromBytes(f.sent.Data)
	if err != nil {
		f.t.Fatalf("our answer does not parse: %v", err)
	}
	m, err := d.GetInnerMessage()
	if err != nil {
		f.t.Fatalf("our answer to a relay does not parse: %v", err)
	}
	return m
}

// text writes an answer in short: "reply 1[a/preferred/valid …]status".
func text(m *dhcpv6.Message) string {
	if m == nil {
		return "silence"
	}
	var b strings.Builder
	b.WriteString(strings.ToLower(m.MessageType.String()))
	if s := m.Options.Status(); s != nil {
		fmt.Fprintf(&b, " %v", s.StatusCode)
	}
	for _, o := range m.Options.IANA() {
		fmt.Fprintf(&b, " %d[", binary.BigEndian.Uint32(o.IaId[:]))
		for i, a := range o.Options.Addresses() {
			if i > 0 {
				b.WriteByte(' ')
			}
			fmt.Fprintf(&b, "%v/%d/%d", a.IPv6Addr, a.PreferredLifetime/time.Second, a.ValidLifetime/time.Second)
		}
		b.WriteByte(']')
		if s := o.Options.Status(); s != nil {
			fmt.Fprintf(&b, "%v", s.StatusCode)
		}
	}
	for _, o := range m.Options.IAPD() {
		fmt.Fprintf(&b, " pd %d[", binary.BigEndian.Uint32(o.IaId[:]))
		for i, p := range o.Options.Prefixes() {
			if i > 0 {
				b.WriteByte(' ')
			}
			fmt.Fprintf(&b, "%v/%d/%d", p.Prefix, p.PreferredLifetime/time.Second, p.ValidLifetime/time.Second)
		}
		b.WriteByte(']')
		if s := o.Options.Status(); s != nil {
			fmt.Fprintf(&b, "%v", s.StatusCode)
		}
	}
	return b.String()
}

// lease takes the first IA through Solicit and Request and returns its
// addresses.
func (f *fake) lease(m msg) []netip.Addr {
	f.t.Helper()
	m.kind, m.server, m.rapid = dhcpv6.MessageTypeSolicit, false, false
	a := f.send(m.packet())
	if a == nil || a.MessageType != dhcpv6.MessageTypeAdvertise {
		f.t.Fatalf("solicit: %s", text(a))
	}
	var want []string
	id, _, _ := strings.Cut(m.ias[0], "=")
	for _, x := range a.Options.OneIANA().Options.Addresses() {
		want = append(want, x.IPv6Addr.String())
	}
	if len(want) == 0 {
		f.t.Fatalf("nothing advertised: %s", text(a))
	}
	m.kind, m.server, m.ias = dhcpv6.MessageTypeRequest, true, []string{id + "=" + strings.Join(want, ",")}
	r := f.send(m.packet())
	if text(r) != strings.Replace(text(a), "advertise", "reply", 1) {
		f.t.Fatalf("advertised %s, got %s", text(a), text(r))
	}
	var out []netip.Addr
	for _, x := range r.Options.OneIANA().Options.Addresses() {
		out = append(out, addr(x))
	}
	return out
}

func addr(a *dhcpv6.OptIAAddress) netip.Addr {
	x, _ := netip.AddrFromSlice(a.IPv6Addr)
	return x
}

func prefixes(ss ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range ss {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func hexOf(b []byte) string { return hex.EncodeToString(b) }
