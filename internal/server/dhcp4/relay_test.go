package dhcp4

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// far is a subnet behind a relay: its gateway is somebody else's.
func far(prefix string) plan.Subnet {
	s := subnet(prefix)
	s.Gateway, s.Router = netip.Addr{}, netip.Addr{}
	return s
}

// relayService has two subnets behind relays beside its own.
func relayService() plan.Service {
	svc := service(subnet("192.0.2.0/24"), far("198.51.100.0/25"), far("198.51.100.128/25"))
	svc.DHCP.Relays = []netip.Prefix{netip.MustParsePrefix("192.0.2.250/32"), netip.MustParsePrefix("203.0.113.0/24")}
	return svc
}

// line82 is option 82 of suboptions.
func line82(subs ...string) dhcpv4.Option {
	var v []byte
	for i := 0; i < len(subs); i += 2 {
		v = append(append(append(v, subs[i]...), byte(len(subs[i+1]))), subs[i+1]...)
	}
	return raw(optRelay, v...)
}

// via relays a message: giaddr as said, from an address.
func (f *fake) via(from, giaddr string, m msg) (*dhcpv4.DHCPv4, func(code uint8) []byte) {
	f.t.Helper()
	edit := m.edit
	m.edit = func(d *dhcpv4.DHCPv4) {
		d.GatewayIPAddr, d.HopCount = ip(giaddr).AsSlice(), 1
		if edit != nil {
			edit(d)
		}
	}
	a, r := f.receive(listen.Packet{Data: m.bytes(), From: ip(from)})
	if a == nil {
		return nil, nil
	}
	if r.To != ip(giaddr) || r.Port != serverPort || !r.MAC.IsZero() || !a.GatewayIPAddr.Equal(ip(giaddr).AsSlice()) {
		f.t.Errorf("answer to a relay goes to %v port %d: %v", r.To, r.Port, a)
	}
	if v := value(f.t, a, r.Data, optRelay); v != nil && len(v) < 256 {
		last := append(append([]byte{optRelay, byte(len(v))}, v...), optEnd)
		if !bytes.HasSuffix(bytes.TrimRight(r.Data, "\x00"), last) {
			f.t.Errorf("option 82 is not the last: %x", r.Data[fixedSize:])
		}
	}
	return a, func(code uint8) []byte { return value(f.t, a, r.Data, code) }
}

// The subnet is that of giaddr (RFC 2131 section 4.3.1), or that of suboption
// 5 (RFC 3527), and the answer goes to the relay's server port (section 4.1).
func TestRelayChoosesSubnet(t *testing.T) {
	const relay = "203.0.113.1"
	for name, c := range map[string]struct {
		from, giaddr string
		opt          dhcpv4.Option
		want         string // prefix; "": no answer
	}{
		"one subnet":                           {relay, "198.51.100.1", dhcpv4.Option{}, "198.51.100.0/25"},
		"another subnet":                       {relay, "198.51.100.129", dhcpv4.Option{}, "198.51.100.128/25"},
		"our own link":                         {"192.0.2.250", "192.0.2.250", dhcpv4.Option{}, "192.0.2.0/24"},
		"no subnet of ours":                    {relay, "10.0.0.1", dhcpv4.Option{}, ""},
		"a relay that is unknown":              {"192.0.2.66", "198.51.100.1", dhcpv4.Option{}, ""},
		"link selection":                       {relay, "192.0.2.250", line82("\x05", "\xc6\x33\x64\x81"), "198.51.100.128/25"},
		"link selection, giaddr of no subnet":  {relay, "10.0.0.1", line82("\x05", "\xc6\x33\x64\x01"), "198.51.100.0/25"},
		"link selection of no subnet":          {relay, "198.51.100.1", line82("\x05", "\x0a\x00\x00\x01"), ""},
		"broken option 82":                     {relay, "198.51.100.1", raw(optRelay, 1, 200), ""},
		"another server identifier (RFC 5107)": {relay, "198.51.100.1", line82("\x0b", "\xc6\x33\x64\x01"), "198.51.100.0/25"},
		"flags of RFC 5010":                    {relay, "198.51.100.1", line82("\x0a", "\x80"), "198.51.100.0/25"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, relayService())
			m := msg{kind: discover, mac: mac(1)}
			if c.opt.Code != nil {
				m.opts = []dhcpv4.Option{c.opt}
			}
			a, get := f.via(c.from, c.giaddr, m)
			if (a != nil) != (c.want != "") {
				t.Fatalf("answer %v", a)
			}
			if a == nil {
				return
			}
			if p := netip.MustParsePrefix(c.want); !p.Contains(oaddr(a.YourIPAddr)) {
				t.Errorf("offered %v", a.YourIPAddr)
			}
			// RFC 3046 section 2.2: as it came, at the end.
			if want := dhcpv4.OptionsFromList(m.opts...).Get(dhcpv4.OptionRelayAgentInformation); !bytes.Equal(get(optRelay), want) {
				t.Errorf("option 82 came back as %x, was %x", get(optRelay), want)
			}
			if got := oaddr(a.ServerIdentifier()); got != ip("192.0.2.1") {
				t.Errorf("server identifier %v", got)
			}
			if len(f.probed) != 0 {
				t.Errorf("%v was looked for on the wrong link", f.probed)
			}
		})
	}
}

// The life of a client behind a relay: got through the relay, renewed without.
func TestRelayedLease(t *testing.T) {
	const relay = "203.0.113.1"
	f := newFake(t, relayService())
	o, _ := f.via(relay, "198.51.100.1", msg{kind: discover, mac: mac(1)})
	a := oaddr(o.YourIPAddr).String()
	m, _ := f.via(relay, "198.51.100.1", msg{kind: requestM, mac: mac(1), requested: a, server: "192.0.2.1"})
	if m == nil || m.MessageType() != ack || oaddr(m.YourIPAddr).String() != a {
		t.Fatalf("request: %v", m)
	}
	r := msg{kind: requestM, mac: mac(1), ciaddr: a}
	for _, router := range []vnet.MAC{{}, mac(250)} { // not seen, seen
		m, out := f.receive(listen.Packet{Data: r.bytes(), From: ip(a), Sender: listen.Sender{MAC: router}})
		if m == nil || m.MessageType() != ack || out.To.String() != a || out.Port != 0 || out.MAC != router {
			t.Errorf("renewal: %v to %v", m, out)
		}
	}
	// It turns up behind another relay (RFC 2131 section 4.3.2): the NAK is to be
	// broadcast by the relay.
	m, get := f.via(relay, "198.51.100.129", msg{kind: requestM, mac: mac(1), requested: a, opts: []dhcpv4.Option{line82("\x01", "x")}})
	if m == nil || m.MessageType() != nak || !m.IsBroadcast() || string(get(optRelay)) != "\x01\x01x" {
		t.Errorf("moved: %v", m)
	}
	// INFORM and DECLINE through a relay.
	if m, _ = f.via(relay, "198.51.100.1", msg{kind: dhcpv4.MessageTypeInform, mac: mac(2), ciaddr: "198.51.100.9"}); m == nil || m.MessageType() != ack {
		t.Errorf("inform: %v", m)
	}
	f.receive(listen.Packet{Data: msg{kind: dhcpv4.MessageTypeDecline, mac: mac(1), requested: a, server: "192.0.2.1"}.bytes(), From: ip("198.51.100.1")})
	if l := f.claims[len(f.claims)-1]; !l.Declined {
		t.Errorf("decline: %+v", l)
	}
}

// A relay that we know names the line of a port.
func TestRelayNamesThePort(t *testing.T) {
	f := newFake(t, relayService())
	g := guest(1, "198.51.100.77")
	g.Relay = "port 7"
	f.SetGuest(g)
	h := guest(2, "198.51.100.78")
	h.Relay = "0x00:04:00:07"
	f.SetGuest(h)
	f.SetGuest(guest(3, "198.51.100.79"))
	f.SetReservations([]vnet.Reservation{{MAC: mac(4), Address: ip("198.51.100.80")}})
	for name, c := range map[string]struct {
		from string
		n    int
		opt  dhcpv4.Option
		want string
	}{
		"circuit":                    {"203.0.113.1", 50, line82("\x01", "port 7"), "198.51.100.77"},
		"remote end":                 {"203.0.113.1", 50, line82("\x02", "port 7"), "198.51.100.77"},
		"in hex":                     {"203.0.113.1", 50, line82("\x01", "\x00\x04\x00\x07"), "198.51.100.78"},
		"circuit before remote end":  {"203.0.113.1", 50, line82("\x02", "port 7", "\x01", "\x00\x04\x00\x07"), "198.51.100.78"},
		"the line before the MAC":    {"203.0.113.1", 3, line82("\x01", "port 7"), "198.51.100.77"},
		"by MAC":                     {"203.0.113.1", 3, line82("\x01", "port 9"), "198.51.100.79"},
		"a reservation by MAC":       {"203.0.113.1", 4, line82("\x01", "port 9"), "198.51.100.80"},
		"a guest that plays a relay": {"192.0.2.66", 50, line82("\x01", "port 7"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			a, _ := f.via(c.from, "198.51.100.1", msg{kind: discover, mac: mac(c.n), opts: []dhcpv4.Option{c.opt}})
			got := ""
			if a != nil {
				got = oaddr(a.YourIPAddr).String()
			}
			if got != c.want {
				t.Errorf("got %q, want %s", got, c.want)
			}
		})
	}
	// Without giaddr nobody vouches for option 82: it comes back, and says nothing.
	m := msg{kind: discover, mac: mac(50), opts: []dhcpv4.Option{line82("\x01", "port 7")}}
	a, r := f.send(m.bytes())
	if a == nil || oaddr(a.YourIPAddr) == ip("198.51.100.77") || string(value(t, a, r.Data, optRelay)) != "\x01\x06port 7" {
		t.Errorf("option 82 of a client: %v", a)
	}
}

// An option 82 that leaves no room for an answer gets none.
func TestRelayOptionTooLong(t *testing.T) {
	f := newFake(t, relayService())
	long := raw(optRelay, append([]byte{1, 255}, make([]byte, 255)...)...)
	m := msg{kind: discover, mac: mac(1), opts: []dhcpv4.Option{long}}
	a, get := f.via("203.0.113.1", "198.51.100.1", m)
	if a == nil || len(get(optRelay)) != 257 || get(optSubnetMask) == nil {
		t.Errorf("in two pieces: %v", a)
	}
	m.opts = []dhcpv4.Option{raw(optRelay, append([]byte{1, 255}, make([]byte, 330)...)...)}
	if a, _ := f.via("203.0.113.1", "198.51.100.1", m); a != nil {
		t.Errorf("%v", a)
	}
}

func FuzzLine(f *testing.F) {
	f.Add([]byte("\x01\x04port\x02\x02rr\x05\x04\xc6\x33\x64\x01"))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		l, ok := parseLine(b)
		if !ok && (l.circuit != nil || l.remote != nil || l.link.IsValid()) {
			t.Errorf("%x: %+v", b, l)
		}
		if len(l.circuit)+len(l.remote) > len(b) {
			t.Errorf("%x: more than there is: %+v", b, l)
		}
	})
}
