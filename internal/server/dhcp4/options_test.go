package dhcp4

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// What a network tells its guests, each by its option.
func TestNetworkOptions(t *testing.T) {
	svc := service()
	svc.DNS.Servers = []netip.Addr{ip("192.0.2.53"), ip("2001:db8::53"), ip("198.51.100.53")}
	svc.DNS.Search = []string{"example.org", "lab.example.org"}
	svc.DNS.Encrypted = []vnet.EncryptedDNS{
		textOf[vnet.EncryptedDNS]("1 dns.example.org 192.0.2.53 2001:db8::53 alpn=dot port=8853"),
		textOf[vnet.EncryptedDNS]("2 only6.example.org 2001:db8::53"),
		textOf[vnet.EncryptedDNS]("3 name.example.org"),
	}
	svc.NTP = []string{"192.0.2.123", "ntp.example.org", "2001:db8::123", "192.0.2.124"}
	svc.CaptivePortal = "https://portal.example.org/api"
	f := newFake(t, svc)
	f.SetGuest(guest(1, "192.0.2.77"))
	name := func(s string) string { return hex.EncodeToString(vnet.AppendName(nil, s)) }
	dns1 := "0001" + "11" + name("dns.example.org") + "04" + "c0000235" + "0001000403646f74" + "000300022295"
	dns3 := "0003" + "12" + name("name.example.org")
	for code, want := range map[uint8]string{
		optSubnetMask: "ffffff00", optRouter: "c0000201", optDNS: "c0000235c6336435", optBroadcast: "c00002ff", optMTU: "05aa",
		optHostname: hex.EncodeToString([]byte("vm1")), optDomain: hex.EncodeToString([]byte("default.internal")),
		optSearch: name("example.org") + name("lab.example.org"), optNTP: "c000027bc000027c",
		optPortal:       hex.EncodeToString([]byte("https://portal.example.org/api")),
		optEncryptedDNS: "0027" + dns1 + "0015" + dns3,
	} {
		if got := hex.EncodeToString(f.option(ask(discover, 1, code), code)); got != want {
			t.Errorf("option %d: %s, want %s", code, got, want)
		}
		if got := f.option(ask(discover, 1, 200), code); got != nil {
			t.Errorf("option %d was not asked for: %x", code, got)
		}
	}
	// Who does not say what it wants gets the five that everybody needs.
	m, _ := f.send(msg{kind: discover, mac: mac(1)}.bytes())
	for code, want := range map[uint8]bool{optSubnetMask: true, optRouter: true, optDNS: true, optDomain: true, optBroadcast: true, optMTU: false, optNTP: false} {
		if got := m.Options.Has(dhcpv4.GenericOptionCode(code)); got != want {
			t.Errorf("option %d unasked: %v", code, got)
		}
	}
}

// On a network that is not its default one a guest learns neither a default
// route nor resolvers, and keeps everything else.
func TestNoDefaultRoute(t *testing.T) {
	svc := service()
	svc.CaptivePortal, svc.NTP = "https://portal.example.org/api", []string{"192.0.2.123"}
	svc.DNS.Encrypted = []vnet.EncryptedDNS{textOf[vnet.EncryptedDNS]("1 dns.example.org 192.0.2.53")}
	svc.Routes = []vnet.Route{textOf[vnet.Route]("10.9.0.0/16"), textOf[vnet.Route]("0.0.0.0/0 via 192.0.2.9")}
	outside := []uint8{optRouter, optDNS, optDomain, optSearch, optPortal, optEncryptedDNS}
	inside := []uint8{optSubnetMask, optBroadcast, optMTU, optHostname, optNTP, optRoutes}
	for _, own := range []bool{false, true} {
		if own {
			svc.DHCP.Options = []vnet.DHCPOption{
				textOf[vnet.DHCPOption]("4:3=ip:192.0.2.8"), textOf[vnet.DHCPOption]("4:6=ip:192.0.2.8"),
				textOf[vnet.DHCPOption]("4:121=hex:00c0000208100a09c0000201"),
			}
		}
		f := newFake(t, svc)
		g := guest(1, "192.0.2.77")
		f.SetGuest(g)
		for _, c := range slices.Concat(outside, inside) {
			if f.option(ask(discover, 1, c), c) == nil {
				t.Errorf("default network, own %v: no option %d", own, c)
			}
		}
		g.DefaultRoute = false
		f.SetGuest(g)
		for _, c := range outside {
			if v := f.option(ask(discover, 1, c), c); v != nil {
				t.Errorf("another network, own %v: option %d is %x", own, c, v)
			}
		}
		for _, c := range inside {
			if f.option(ask(discover, 1, c), c) == nil {
				t.Errorf("another network, own %v: no option %d", own, c)
			}
		}
		if got := hex.EncodeToString(f.option(ask(discover, 1, optRoutes), optRoutes)); got != "100a09c0000201" {
			t.Errorf("another network, own %v: routes %s", own, got)
		}
	}
}

// RFC 3442: option 121 has all routes, the default one among them.
func TestClasslessRoutes(t *testing.T) {
	svc := service()
	for _, r := range []string{"10.9.0.0/16", "198.51.100.128/25 via 192.0.2.2", "203.0.113.7/32 via 198.51.100.1", "2001:db8:9::/48"} {
		svc.Routes = append(svc.Routes, textOf[vnet.Route](r))
	}
	f := newFake(t, svc)
	f.SetGuest(guest(1, "192.0.2.77"))
	// The next hop of 203.0.113.7 is not on the link.
	const routes = "100a09c0000201" + "19c6336480c0000202"
	for _, code := range []uint8{optRoutes, optRoutesMicrosoft} {
		if got := hex.EncodeToString(f.option(ask(discover, 1, code, optRouter), code)); got != routes+"00c0000201" {
			t.Errorf("option %d: %s", code, got)
		}
	}
	if got := f.option(ask(discover, 1, optRoutes, optRouter), optRouter); !bytes.Equal(got, []byte{192, 0, 2, 1}) {
		t.Errorf("who may not know 121 is told router %v", got)
	}
	// A router of somebody else's for everything.
	svc.Routes = []vnet.Route{textOf[vnet.Route]("0.0.0.0/0 via 192.0.2.254"), textOf[vnet.Route]("10.0.0.0/8")}
	f.Set(svc)
	if got := hex.EncodeToString(f.option(ask(discover, 1, optRoutes), optRoutes)); got != "080ac0000201"+"00c00002fe" {
		t.Errorf("routes %s", got)
	}
	if got := f.option(ask(discover, 1, optRouter), optRouter); !bytes.Equal(got, []byte{192, 0, 2, 254}) {
		t.Errorf("router %v", got)
	}
	svc.Routes = nil
	f.Set(svc)
	if got := f.option(ask(discover, 1, optRoutes, optRouter), optRoutes); got != nil {
		t.Errorf("no routes, and yet %x", got)
	}
}

// What the operator writes takes the place of ours and is told to everybody.
func TestOwnOptions(t *testing.T) {
	svc := service()
	for _, o := range []string{"4:252=text:http://wpad/wpad.dat", "4:3=ip:192.0.2.9", "4:58=u32:100", "4:150=ip:192.0.2.5", "4:26=u16:1400", "6:23=ip:2001:db8::1"} {
		svc.DHCP.Options = append(svc.DHCP.Options, textOf[vnet.DHCPOption](o))
	}
	f := newFake(t, svc)
	f.SetGuest(guest(1, "192.0.2.77"))
	m := ask(discover, 1, optRouter, optMTU)
	for code, want := range map[uint8]string{252: hex.EncodeToString([]byte("http://wpad/wpad.dat")), 3: "c0000209", 150: "c0000205", 26: "0578", 23: ""} {
		if got := hex.EncodeToString(f.option(m, code)); got != want {
			t.Errorf("option %d: %s, want %s", code, got, want)
		}
	}
	if got := f.option(m, optRenew); binary.BigEndian.Uint32(got) != 100 {
		t.Errorf("T1 %v", got)
	}
}

// T1 and T2, RFC 2131 section 4.4.5, and what the client wishes.
func TestLeaseTimes(t *testing.T) {
	for name, c := range map[string]struct {
		policy     vnet.DHCPPolicy
		wish       time.Duration
		d, t1, t2  time.Duration
		validUntil time.Time
	}{
		"defaults":          {d: time.Hour, t1: 30 * time.Minute, t2: 52*time.Minute + 30*time.Second},
		"policy":            {policy: vnet.DHCPPolicy{Renew: vnet.Duration(10 * time.Minute), Rebind: vnet.Duration(40 * time.Minute)}, d: time.Hour, t1: 10 * time.Minute, t2: 40 * time.Minute},
		"longer than it is": {policy: vnet.DHCPPolicy{Renew: vnet.Duration(2 * time.Hour), Rebind: vnet.Duration(3 * time.Hour)}, d: time.Hour, t1: 30 * time.Minute, t2: 52*time.Minute + 30*time.Second},
		"T1 behind T2":      {policy: vnet.DHCPPolicy{Rebind: vnet.Duration(20 * time.Minute)}, d: time.Hour, t1: 20 * time.Minute, t2: 20 * time.Minute},
		"a shorter wish":    {wish: 10 * time.Minute, d: 10 * time.Minute, t1: 5 * time.Minute, t2: 8*time.Minute + 45*time.Second},
		"a longer wish":     {wish: 10 * time.Hour, d: time.Hour, t1: 30 * time.Minute, t2: 52*time.Minute + 30*time.Second},
		"the prefix goes":   {validUntil: start.Add(20 * time.Minute), d: 20 * time.Minute, t1: 10 * time.Minute, t2: 17*time.Minute + 30*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			svc := service()
			svc.DHCP, svc.Subnets[0].ValidUntil = c.policy, c.validUntil
			f := newFake(t, svc)
			f.SetGuest(guest(1, "192.0.2.77"))
			m := msg{kind: discover, mac: mac(1)}
			if c.wish > 0 {
				m.opts = []dhcpv4.Option{dhcpv4.OptIPAddressLeaseTime(c.wish)}
			}
			a, _ := f.send(m.bytes())
			if d, t1, t2 := a.IPAddressLeaseTime(0), a.IPAddressRenewalTime(0), a.IPAddressRebindingTime(0); d != c.d || t1 != c.t1 || t2 != c.t2 {
				t.Errorf("%v, T1 %v, T2 %v; want %v, %v, %v", d, t1, t2, c.d, c.t1, c.t2)
			}
		})
	}
}

// Options that do not fit go into file and sname; then the last ones are left
// out. Nothing is longer than the client takes.
func TestOverloadWritten(t *testing.T) {
	svc := service()
	svc.CaptivePortal = "https://portal.example.org/" + strings.Repeat("p", 80)
	svc.DHCP.Options = []vnet.DHCPOption{
		textOf[vnet.DHCPOption]("4:224=text:" + strings.Repeat("a", 100)),
		textOf[vnet.DHCPOption]("4:225=text:" + strings.Repeat("b", 100)),
		textOf[vnet.DHCPOption]("4:226=text:" + strings.Repeat("c", 50)),
		textOf[vnet.DHCPOption]("4:227=text:" + strings.Repeat("d", 250)),
	}
	f := newFake(t, svc)
	f.SetGuest(guest(1, "192.0.2.77"))
	m := ask(discover, 1, optSubnetMask, optRouter, optDNS, optPortal, optSearch)
	a, r := f.send(m.bytes())
	if len(r.Data) > minMaxMessage-headers {
		t.Errorf("%d bytes for a client that takes %d", len(r.Data), minMaxMessage-headers)
	}
	if over := a.Options.Get(dhcpv4.OptionOptionOverload); !bytes.Equal(over, []byte{3}) {
		t.Fatalf("overload %v", over)
	}
	for code, n := range map[uint8]int{optSubnetMask: 4, optPortal: len(svc.CaptivePortal), 224: 100, 225: 100, 226: 50, 227: 0} {
		if v := value(t, a, r.Data, code); len(v) != n {
			t.Errorf("option %d has %d bytes, want %d", code, len(v), n)
		}
	}
	// A client that takes more gets all of it in the usual place.
	m.opts = append(m.opts, raw(optMaxSize, 1400>>8, 1400&0xff))
	a, r = f.send(m.bytes())
	if a.Options.Has(dhcpv4.OptionOptionOverload) || len(a.Options.Get(dhcpv4.GenericOptionCode(227))) != 250 || len(r.Data) > 1400-headers {
		t.Errorf("%d bytes: %v", len(r.Data), a)
	}
	// One that names less than everybody must take gets that much (RFC 2132
	// section 9.10).
	m.opts = append(m.opts[:1], raw(optMaxSize, 0, 200))
	if a, _ = f.send(m.bytes()); a == nil || !a.Options.Has(dhcpv4.OptionRouter) {
		t.Errorf("a client with a silly size: %v", a)
	}
}

// RFC 3396: long options come in pieces, in both directions.
func TestLongOptions(t *testing.T) {
	svc := service()
	svc.DNS.Search = nil
	for i := range 6 {
		svc.DNS.Search = append(svc.DNS.Search, strings.Repeat(string(rune('a'+i)), 60)+".example.org")
	}
	f := newFake(t, svc)
	f.SetGuest(guest(1, "192.0.2.77"))
	m := ask(discover, 1, optSearch)
	m.opts = append(m.opts, raw(optMaxSize, 1400>>8, 1400&0xff))
	a, r := f.send(m.bytes())
	var want []byte
	for _, n := range svc.DNS.Search {
		want = vnet.AppendName(want, n)
	}
	if got := value(t, a, r.Data, optSearch); len(want) < 400 || !bytes.Equal(got, want) {
		t.Errorf("a list of %d bytes was read as %d", len(want), len(got))
	}
	// What we read: the identifier, in three pieces.
	long := slices.Concat([]byte{7}, bytes.Repeat([]byte{9}, 99))
	b := msg{kind: discover, mac: mac(2)}.bytes()
	b = b[:bytes.LastIndexByte(b, optEnd)]
	for _, p := range [][]byte{long[:40], long[40:60], long[60:]} {
		b = append(append(b, optClient, byte(len(p))), p...)
	}
	q, err := parsed(append(b, optEnd))
	if err != nil || q.id() != hex.EncodeToString(long) {
		t.Errorf("identifier %s: %v", q.id(), err)
	}
}

// Option 52: options in file and sname, in this order, joined with those in
// the usual place.
func TestOverloadRead(t *testing.T) {
	b := msg{kind: discover, mac: mac(1)}.bytes()
	b = b[:bytes.LastIndexByte(b, optEnd)]
	b = append(b, optOverload, 1, 3, optHostname, 1, 'a', optEnd)
	copy(b[offFile:], []byte{optPad, optHostname, 1, 'b', optAsked, 2, optRouter, optDNS, optEnd})
	copy(b[offSname:], []byte{optHostname, 1, 'c', optRequested, 4, 192, 0, 2, 50, optEnd})
	r, err := parsed(b)
	if err != nil || r.hostname() != "abc" || r.requested != ip("192.0.2.50") || !r.asked.has(optDNS) {
		t.Errorf("%v: %+v", err, r)
	}
	// Without option 52 these are the names of a server and a file.
	plain := bytes.Replace(b, []byte{optOverload, 1, 3}, []byte{optPad, optPad, optPad}, 1)
	if r, err := parsed(plain); err != nil || r.hostname() != "a" {
		t.Errorf("%v: %+v", err, r)
	}
	// Broken there, as anywhere.
	copy(b[offSname:], []byte{optHostname, 200})
	if _, err := parsed(b); err == nil {
		t.Error("an option that ends behind its field was accepted")
	}
}

// RFC 6842: the identifier comes back, whatever the answer.
func TestClientIdentifierComesBack(t *testing.T) {
	f := newFake(t, service())
	f.SetGuest(guest(1, "192.0.2.77"))
	for name, m := range map[string]msg{
		"offer":  {kind: discover},
		"ack":    {kind: requestM, requested: "192.0.2.77", server: "192.0.2.1"},
		"nak":    {kind: requestM, requested: "192.0.2.78", server: "192.0.2.1"},
		"inform": {kind: dhcpv4.MessageTypeInform, ciaddr: "192.0.2.99"},
	} {
		m.mac, m.id = mac(1), "\x00me"
		if got := f.option(m, optClient); string(got) != m.id {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := f.option(msg{kind: discover, mac: mac(1)}, optClient); got != nil {
		t.Errorf("invented: %q", got)
	}
}

// RFC 4702: who writes the records, under which name, in whose form.
func TestFQDN(t *testing.T) {
	const s, o, e, n = fqdnS, fqdnO, fqdnE, fqdnN
	wire := func(name string) string { return string(vnet.AppendName(nil, name)) }
	for name, c := range map[string]struct {
		sent  string
		port  bool
		mute  bool // no name service
		want  string
		lease string
	}{
		"the client would":       {sent: "\x00\x00\x00web.example", want: string([]byte{s | o, 255, 255}) + "web.default.internal", lease: "web"},
		"the server should":      {sent: string([]byte{s | e, 0, 0}) + wire("web.example"), want: string([]byte{s | e, 255, 255}) + wire("web.default.internal"), lease: "web"},
		"a port has its name":    {sent: string([]byte{s | e, 0, 0}) + wire("web"), port: true, want: string([]byte{s | e, 255, 255}) + wire("vm1.default.internal"), lease: "web"},
		"nobody is to":           {sent: string([]byte{n, 0, 0}) + "web", want: string([]byte{n, 255, 255}) + "web"},
		"we have no names":       {sent: string([]byte{s, 0, 0}) + "web", mute: true, want: string([]byte{n | o, 255, 255}) + "web.default.internal", lease: "web"},
		"a name that cannot be":  {sent: string([]byte{s, 0, 0}) + "-we b-", want: string([]byte{s, 255, 255}) + "-we b-"},
		"no name":                {sent: string([]byte{s, 0, 0}), want: string([]byte{s, 255, 255})},
		"too short to be option": {sent: "\x01", want: ""},
	} {
		t.Run(name, func(t *testing.T) {
			svc := service()
			svc.DNS.Serve = !c.mute
			f := newFake(t, svc)
			if c.port {
				f.SetGuest(guest(1, "192.0.2.77"))
			}
			m := msg{mac: mac(1), opts: []dhcpv4.Option{texts(optFQDN, c.sent)}}
			m.kind = discover
			if got := f.option(m, optFQDN); string(got) != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			f.dora(m)
			if l := slices.Concat(f.claims, f.granted)[0]; l.Hostname != c.lease {
				t.Errorf("the lease says %q, want %q", l.Hostname, c.lease)
			}
		})
	}
}

// RFC 4039: two messages, also for dynamic addresses, unless the network says
// four.
func TestRapidCommit(t *testing.T) {
	yes, no := true, false
	for name, c := range map[string]struct {
		policy *bool
		asks   bool
		want   dhcpv4.MessageType
	}{
		"default": {nil, true, ack}, "on": {&yes, true, ack}, "off": {&no, true, offerM}, "not asked": {nil, false, offerM},
	} {
		t.Run(name, func(t *testing.T) {
			svc := service()
			svc.DHCP.RapidCommit = c.policy
			f := newFake(t, svc)
			f.SetGuest(guest(1, "192.0.2.77"))
			for _, n := range []int{1, 2} {
				m := msg{kind: discover, mac: mac(n)}
				if c.asks {
					m.opts = []dhcpv4.Option{raw(optRapidCommit)}
				}
				a, _ := f.send(m.bytes())
				if a == nil || a.MessageType() != c.want || a.Options.Has(dhcpv4.GenericOptionCode(optRapidCommit)) != (c.want == ack) {
					t.Errorf("client %d: %v", n, a)
				}
			}
			if committed := c.want == ack; (len(f.granted) == 1) != committed || (len(f.claims) == 1) != committed {
				t.Errorf("%d grants, %d claims", len(f.granted), len(f.claims))
			}
		})
	}
}

// RFC 8925: only who asks is told, and who can do without wears no address out.
func TestIPv6OnlyPreferred(t *testing.T) {
	svc := service(subnet("192.0.2.0/24", "192.0.2.50-192.0.2.50"))
	f := newFake(t, svc)
	if got := f.option(ask(discover, 1, optV6Only), optV6Only); got != nil {
		t.Errorf("not set, and yet %v", got)
	}
	wait := vnet.Duration(30 * time.Minute)
	svc.DHCP.V6Only = &wait
	f = newFake(t, svc)
	f.SetGuest(guest(9, "192.0.2.77"))
	if got := f.option(ask(discover, 1, optRouter), optV6Only); got != nil {
		t.Errorf("not asked for, and yet %v", got)
	}
	f = newFake(t, svc)
	f.SetGuest(guest(9, "192.0.2.77"))
	for _, n := range []int{1, 2, 9} {
		a, _ := f.send(ask(discover, n, optV6Only).bytes())
		if a == nil || !oaddr(a.YourIPAddr).IsValid() || binary.BigEndian.Uint32(a.Options.Get(dhcpv4.GenericOptionCode(optV6Only))) != 1800 {
			t.Errorf("client %d: %v", n, a)
		}
	}
	if f.Table().Len() != 0 || len(f.probed) != 0 {
		t.Errorf("%d addresses kept and %d looked for, for who will not take them", f.Table().Len(), len(f.probed))
	}
	// It may take the address all the same.
	a, r := f.send(msg{kind: requestM, mac: mac(1), requested: "192.0.2.50", server: "192.0.2.1", opts: []dhcpv4.Option{prl(optV6Only)}}.bytes())
	if a == nil || a.MessageType() != ack || value(t, a, r.Data, optV6Only) == nil {
		t.Errorf("request: %v", a)
	}
	// Nothing is left: an offer of nothing for who can do without, none for others.
	a, r = f.send(ask(discover, 2, optV6Only).bytes())
	if a == nil || oaddr(a.YourIPAddr).IsValid() || r.To != everybody || value(t, a, r.Data, optV6Only) == nil {
		t.Errorf("full pool: %v", a)
	}
	if a, _ = f.send(ask(discover, 2, optRouter).bytes()); a != nil {
		t.Errorf("full pool, without option 108: %v", a)
	}
	if got := f.option(msg{kind: dhcpv4.MessageTypeInform, mac: mac(3), ciaddr: "192.0.2.99", opts: []dhcpv4.Option{prl(optV6Only)}}, optV6Only); got != nil {
		t.Errorf("inform, which is about no address of ours: %v", got)
	}
}

func TestInformWithoutCiaddr(t *testing.T) {
	f := newFake(t, service())
	b := msg{kind: dhcpv4.MessageTypeInform, mac: mac(1)}.bytes()
	if m, r := f.receive(listen.Packet{Data: b, From: ip("192.0.2.99")}); m == nil || r.To != ip("192.0.2.99") {
		t.Errorf("%v", m)
	}
	if m, _ := f.receive(listen.Packet{Data: b, From: netip.IPv4Unspecified()}); m != nil {
		t.Errorf("from nowhere: %v", m)
	}
	if m, _ := f.send(msg{kind: dhcpv4.MessageTypeInform, mac: mac(1), ciaddr: "203.0.113.9"}.bytes()); m != nil {
		t.Errorf("from another network: %v", m)
	}
}

// A subnet without a router of ours tells none.
func TestIsolatedSubnet(t *testing.T) {
	sub := subnet("192.0.2.0/31")
	sub.Router, sub.Gateway = netip.Addr{}, ip("192.0.2.0")
	f := newFake(t, service(sub))
	f.SetGuest(plan.Guest{Port: "p", MAC: mac(1), DefaultRoute: true, Addresses: []plan.GuestAddress{{Address: ip("192.0.2.1")}}})
	m, _ := f.send(ask(discover, 1, optRouter, optBroadcast, optSubnetMask).bytes())
	if m == nil || m.Options.Has(dhcpv4.OptionRouter) || m.Options.Has(dhcpv4.OptionBroadcastAddress) || !m.Options.Has(dhcpv4.OptionSubnetMask) {
		t.Errorf("%v", m)
	}
}
