package dhcp4

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

func TestPortGetsItsAddress(t *testing.T) {
	f := newFake(t, service())
	f.SetGuest(guest(1, "192.0.2.77"))
	if a := f.dora(msg{mac: mac(1), id: "whatever", host: "Web-1.example"}); a != ip("192.0.2.77") {
		t.Errorf("port got %v", a)
	}
	if len(f.claims) != 0 || len(f.granted) != 1 {
		t.Fatalf("%d claims and %d grants for a port", len(f.claims), len(f.granted))
	}
	l := f.granted[0]
	if l.Port != "port1" || l.Hostname != "web-1" || l.Host != "host" || l.Project != "project" || !l.Expires.Equal(start.Add(time.Hour)) {
		t.Errorf("lease %+v", l)
	}
	// Nobody else gets it, even who asks for it.
	m, _ := f.send(msg{kind: discover, mac: mac(2), requested: "192.0.2.77"}.bytes())
	if m == nil || oaddr(m.YourIPAddr) == ip("192.0.2.77") {
		t.Errorf("stranger was offered %v", m)
	}
	// The port moves to another address: the renewal is refused.
	f.SetGuest(guest(1, "192.0.2.78"))
	m, _ = f.send(msg{kind: requestM, mac: mac(1), ciaddr: "192.0.2.77"}.bytes())
	if m == nil || m.MessageType() != nak {
		t.Errorf("renewal of an address that moved: %v", m)
	}
	f.RemoveGuest("port1")
	if f.Guests() != 0 || f.PortOf(mac(1)) != "" || f.Owned(ip("192.0.2.77")) || f.Owned(ip("192.0.2.78")) {
		t.Error("a port that is gone is remembered")
	}
}

func TestReservation(t *testing.T) {
	f := newFake(t, service())
	f.SetReservations([]vnet.Reservation{
		{MAC: mac(1), Address: ip("192.0.2.10")},
		{Client: "Printer", Address: ip("192.0.2.11")},
		{MAC: mac(3), Address: ip("192.0.2.12")},
	})
	f.SetGuest(guest(3, "192.0.2.13"))
	f.SetGuest(guest(4, "192.0.2.10"))
	for _, c := range []struct {
		m    msg
		want string
	}{
		{msg{mac: mac(2), host: "printer"}, "192.0.2.11"},
		{msg{mac: mac(3)}, "192.0.2.13"}, // a port's own wins
		{msg{mac: mac(4)}, "192.0.2.10"}, // also over a reservation of another
	} {
		if a := f.dora(c.m); a != ip(c.want) {
			t.Errorf("%v got %v, want %s", c.m.mac, a, c.want)
		}
	}
	if a := f.dora(msg{mac: mac(1)}); a == ip("192.0.2.10") {
		t.Error("the port's address was given by reservation")
	}
	f.RemoveGuest("port4")
	if a := f.dora(msg{mac: mac(1)}); a != ip("192.0.2.10") {
		t.Errorf("reservation got %v after the port has gone", a)
	}
}

// The kinds of REQUEST, RFC 2131 section 4.3.2 and its table 4.
func TestRequest(t *testing.T) {
	const silent = dhcpv4.MessageType(0)
	cases := map[string]struct {
		m    msg
		want dhcpv4.MessageType
	}{
		"selecting ours":                      {msg{mac: mac(1), requested: "192.0.2.50", server: "192.0.2.1"}, ack},
		"selecting another server":            {msg{mac: mac(1), requested: "192.0.2.50", server: "192.0.2.9"}, silent},
		"selecting another's address":         {msg{mac: mac(2), requested: "192.0.2.50", server: "192.0.2.1"}, nak},
		"selecting a port's address":          {msg{mac: mac(2), requested: "192.0.2.60", server: "192.0.2.1"}, nak},
		"selecting the gateway":               {msg{mac: mac(2), requested: "192.0.2.1", server: "192.0.2.1"}, nak},
		"selecting what was offered long ago": {msg{mac: mac(2), requested: "192.0.2.51", server: "192.0.2.1"}, ack},
		"selecting nothing":                   {msg{mac: mac(1), server: "192.0.2.1"}, silent},
		"init-reboot":                         {msg{mac: mac(1), requested: "192.0.2.50"}, ack},
		"init-reboot wrong address":           {msg{mac: mac(1), requested: "192.0.2.51"}, nak},
		"init-reboot wrong network":           {msg{mac: mac(1), requested: "198.51.100.7"}, nak},
		"init-reboot unknown":                 {msg{mac: mac(2), requested: "192.0.2.51"}, silent},
		"init-reboot unknown, wrong network":  {msg{mac: mac(2), requested: "198.51.100.7"}, nak},
		"init-reboot port":                    {msg{mac: mac(3), requested: "192.0.2.60"}, ack},
		"init-reboot port, wrong address":     {msg{mac: mac(3), requested: "192.0.2.61"}, nak},
		"renewing":                            {msg{mac: mac(1), ciaddr: "192.0.2.50"}, ack},
		"renewing port":                       {msg{mac: mac(3), ciaddr: "192.0.2.60"}, ack},
		"renewing another's":                  {msg{mac: mac(2), ciaddr: "192.0.2.50"}, nak},
		"renewing what was forgotten":         {msg{mac: mac(2), ciaddr: "192.0.2.51"}, ack},
		"rebinding wrong network":             {msg{mac: mac(2), ciaddr: "198.51.100.7"}, nak},
		"nothing":                             {msg{mac: mac(1)}, silent},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, service(subnet("192.0.2.0/24", "192.0.2.50-192.0.2.59")))
			f.SetGuest(guest(3, "192.0.2.60"))
			f.Load(pack.Of(&vnet.Lease{
				Network: "net", Subnet: "192.0.2.0/24", Address: ip("192.0.2.50"), Family: vnet.IPv4,
				How: vnet.HowDHCPv4, MAC: mac(1), Expires: start.Add(time.Hour),
			}), start)
			c.m.kind = requestM
			m, r := f.send(c.m.bytes())
			got := silent
			if m != nil {
				got = m.MessageType()
			}
			if got != c.want {
				t.Fatalf("answer %v, want %v", got, c.want)
			}
			if got == nak && (r.To != everybody || len(m.Options.Get(dhcpv4.OptionIPAddressLeaseTime)) > 0 || oaddr(m.YourIPAddr).IsValid()) {
				t.Errorf("NAK to %v: %v", r.To, m)
			}
		})
	}
}

// Where replies go, RFC 2131 section 4.1.
func TestReplyAddress(t *testing.T) {
	f := newFake(t, service())
	f.SetGuest(guest(1, "192.0.2.77"))
	cases := map[string]struct {
		m   msg
		to  string
		mac vnet.MAC
	}{
		"unicast":   {msg{kind: discover, mac: mac(1)}, "192.0.2.77", mac(1)},
		"broadcast": {msg{kind: discover, mac: mac(1), broadcast: true}, "255.255.255.255", broadcastMAC},
		"renewing":  {msg{kind: requestM, mac: mac(1), ciaddr: "192.0.2.77"}, "192.0.2.77", vnet.MAC{}},
		"inform":    {msg{kind: dhcpv4.MessageTypeInform, mac: mac(1), ciaddr: "192.0.2.99"}, "192.0.2.99", vnet.MAC{}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, r := f.send(c.m.bytes())
			if r == nil || r.To != ip(c.to) || r.MAC != c.mac || r.From != ip("192.0.2.1") {
				t.Errorf("reply %+v", r)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	f := newFake(t, service())
	g := guest(1, "192.0.2.77")
	f.SetGuest(g)
	all := dhcpv4.OptParameterRequestList(
		dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer, dhcpv4.OptionHostName, dhcpv4.OptionDomainName,
		dhcpv4.OptionInterfaceMTU, dhcpv4.OptionBroadcastAddress, dhcpv4.OptionDNSDomainSearchList, dhcpv4.OptionNTPServers)
	m, _ := f.send(msg{kind: discover, mac: mac(1), id: "abc", opts: []dhcpv4.Option{all}}.bytes())
	got := fmt.Sprint(m.Options)
	for _, want := range []string{
		"Subnet Mask: ffffff00", "Router: 192.0.2.1", "Domain Name Server: 192.0.2.1", "Host Name: vm1", "Domain Name: default.internal",
		"Interface MTU: [5 170]", "Broadcast Address: 192.0.2.255", "IP Addresses Lease Time: 1h0m0s", "Renew Time Value: 30m0s",
		"Rebinding Time Value: 52m30s", "Server Identifier: 192.0.2.1", "DNS Domain Search List: [default.internal]", "Client identifier: [97 98 99]",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	g.DefaultRoute = false
	f.SetGuest(g)
	few := dhcpv4.OptParameterRequestList(dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter)
	m, _ = f.send(msg{kind: discover, mac: mac(1), opts: []dhcpv4.Option{few}}.bytes())
	if m.Options.Has(dhcpv4.OptionRouter) || m.Options.Has(dhcpv4.OptionDomainNameServer) || !m.Options.Has(dhcpv4.OptionSubnetMask) {
		t.Errorf("not default, few asked for: %v", m.Options)
	}
	short := dhcpv4.OptIPAddressLeaseTime(10 * time.Minute)
	if m, _ = f.send(msg{kind: discover, mac: mac(1), opts: []dhcpv4.Option{short}}.bytes()); m.IPAddressLeaseTime(0) != 10*time.Minute {
		t.Errorf("asked for 10 minutes, got %v", m.IPAddressLeaseTime(0))
	}
	m, _ = f.send(msg{kind: dhcpv4.MessageTypeInform, mac: mac(1), ciaddr: "192.0.2.99"}.bytes())
	if m.MessageType() != ack || m.Options.Has(dhcpv4.OptionIPAddressLeaseTime) || oaddr(m.YourIPAddr).IsValid() || !m.Options.Has(dhcpv4.OptionSubnetMask) {
		t.Errorf("inform: %v", m)
	}
}

func TestDynamicLife(t *testing.T) {
	f := newFake(t, service(subnet("192.0.2.0/24", "192.0.2.50-192.0.2.52")))
	a1, a2, a3 := f.dora(msg{mac: mac(1)}), f.dora(msg{mac: mac(2), id: "two"}), f.dora(msg{mac: mac(3)})
	if a1 == a2 || a2 == a3 || a1 == a3 {
		t.Fatalf("addresses %v %v %v", a1, a2, a3)
	}
	if len(f.claims) != 3 || f.claims[1].Client != "74776f" || f.claims[1].MAC != mac(2) {
		t.Fatalf("claims %+v", f.claims)
	}
	if m, _ := f.send(msg{kind: discover, mac: mac(4)}.bytes()); m != nil {
		t.Fatalf("offer from an empty pool: %v", m)
	}
	// The client identifier, not the MAC, keeps a dynamic lease.
	if a := f.dora(msg{mac: mac(9), id: "two"}); a != a2 {
		t.Errorf("client two got %v, had %v", a, a2)
	}
	// 1 releases; 2 and 3 expire later: the first free is used first.
	if m, _ := f.send(msg{kind: dhcpv4.MessageTypeRelease, mac: mac(1), ciaddr: a1.String(), server: "192.0.2.1"}.bytes()); m != nil || len(f.ended) != 1 {
		t.Errorf("release: answer %v, released %v", m, f.ended)
	}
	f.now = f.now.Add(2 * time.Hour)
	if a := f.dora(msg{mac: mac(4)}); a != a1 {
		t.Errorf("new client got %v, the longest idle is %v", a, a1)
	}
	if a := f.dora(msg{mac: mac(3)}); a != a3 {
		t.Errorf("returning client got %v, had %v", a, a3)
	}
	// 3 finds its address in use.
	f.send(msg{kind: dhcpv4.MessageTypeDecline, mac: mac(3), requested: a3.String(), server: "192.0.2.1"}.bytes())
	if l := f.claims[len(f.claims)-1]; !l.Declined || l.Address != a3 {
		t.Errorf("decline was not claimed: %+v", l)
	}
	if a := f.dora(msg{mac: mac(3)}); a != a2 {
		t.Errorf("after a decline: %v", a)
	}
	if m, _ := f.send(msg{kind: discover, mac: mac(5)}.bytes()); m != nil {
		t.Errorf("a declined address was offered: %v", m)
	}
	f.now = f.now.Add(lease.Quarantine + time.Second)
	if m, _ := f.send(msg{kind: discover, mac: mac(5)}.bytes()); m == nil {
		t.Error("the lease.Quarantine does not end")
	}
}

func TestAdmitPorts(t *testing.T) {
	svc := service()
	svc.Admit = vnet.AdmitPorts
	f := newFake(t, svc)
	for _, m := range []msg{
		{kind: discover}, {kind: requestM, requested: "198.51.100.1"}, {kind: requestM, ciaddr: "192.0.2.9"},
		{kind: dhcpv4.MessageTypeInform, ciaddr: "192.0.2.9"},
	} {
		m.mac = mac(1)
		if got, _ := f.send(m.bytes()); got != nil {
			t.Errorf("a stranger's %v was answered: %v", m.kind, got)
		}
	}
	if f.Table().Len() != 0 {
		t.Error("state is kept for a stranger")
	}
}

func TestCommitFails(t *testing.T) {
	f := newFake(t, service(subnet("192.0.2.0/24", "192.0.2.50-192.0.2.51")))
	o, _ := f.send(msg{kind: discover, mac: mac(1)}.bytes())
	req := msg{kind: requestM, mac: mac(1), requested: oaddr(o.YourIPAddr).String(), server: "192.0.2.1"}.bytes()
	f.err = errors.New("store is away")
	if m, _ := f.send(req); m != nil {
		t.Errorf("answer without a claim: %v", m)
	}
	f.err = vnet.Errorf(vnet.ErrExists, "taken")
	if m, _ := f.send(req); m == nil || m.MessageType() != nak {
		t.Errorf("address that somebody has: %v", m)
	}
	f.err = nil
	if a := f.dora(msg{mac: mac(1)}); a == oaddr(o.YourIPAddr) {
		t.Errorf("the taken address %v was given again", a)
	}
	if len(f.pending) != 0 || len(f.waiting) != 0 {
		t.Errorf("%d claims left", len(f.pending))
	}
}

func TestRepeatedRequestIsClaimedOnce(t *testing.T) {
	f := newFake(t, service())
	o, _ := f.send(msg{kind: discover, mac: mac(1)}.bytes())
	req := msg{kind: requestM, mac: mac(1), requested: oaddr(o.YourIPAddr).String(), server: "192.0.2.1"}
	first, _ := f.Receive(listen.Packet{Data: req.bytes()}, f.now)
	last := req.bytes()
	second, _ := f.Receive(listen.Packet{Data: last}, f.now)
	if len(first.Claim) != 1 || len(second.Claim) != 0 {
		t.Fatalf("%d and %d claims", len(first.Claim), len(second.Claim))
	}
	out := f.Committed(first.Claim[0], nil, f.now)
	if len(out.Send) != 1 || string(out.Send[0].Data[4:8]) != string(last[4:8]) {
		t.Error("the answer is not to the last request")
	}
	if out := f.Committed(first.Claim[0], nil, f.now); len(out.Send) != 0 {
		t.Error("answered twice")
	}
}

func TestLoadLeases(t *testing.T) {
	f := newFake(t, service(subnet("192.0.2.0/24", "192.0.2.50-192.0.2.53")))
	l := func(a string, n int, how vnet.How, d time.Duration) vnet.Lease {
		return vnet.Lease{Network: "net", Subnet: "192.0.2.0/24", Address: ip(a), Family: vnet.IPv4, How: how, MAC: mac(n), Expires: start.Add(d)}
	}
	seen := l("192.0.2.52", 7, vnet.HowFixed, time.Hour)
	bad := l("192.0.2.53", 8, vnet.HowDHCPv4, time.Hour)
	bad.Declined = true
	for _, l := range []vnet.Lease{l("192.0.2.50", 1, vnet.HowDHCPv4, time.Hour), l("192.0.2.51", 2, vnet.HowDHCPv4, -time.Hour), seen, bad} {
		f.Load(pack.Of(&l), start)
	}
	impostor := l("192.0.2.50", 9, vnet.HowFixed, time.Hour)
	f.Load(pack.Of(&impostor), start)
	if a := f.dora(msg{mac: mac(1)}); a != ip("192.0.2.50") {
		t.Errorf("client of a loaded lease got %v", a)
	}
	if a := f.dora(msg{mac: mac(3)}); a != ip("192.0.2.51") {
		t.Errorf("the only free address is the expired one; got %v", a)
	}
	gone := l("192.0.2.50", 1, vnet.HowDHCPv4, time.Hour)
	gone.Deleting = &start
	f.Load(pack.Of(&gone), start)
	if en := f.Table().At(ip("192.0.2.50")); en == nil || en.State != lease.Idle {
		t.Errorf("a lease that was ended elsewhere: %+v", en)
	}
}

func TestRangesAndReserved(t *testing.T) {
	sub := subnet("192.0.2.0/29")
	sub.Reserved = []netip.Addr{ip("192.0.2.2")}
	f := newFake(t, service(sub))
	f.SetGuest(guest(100, "192.0.2.3"))
	seen := map[netip.Addr]bool{}
	for i := range 3 {
		seen[f.dora(msg{mac: mac(i + 1)})] = true
	}
	for _, a := range []string{"192.0.2.4", "192.0.2.5", "192.0.2.6"} {
		if !seen[ip(a)] {
			t.Errorf("%s was not given: %v", a, seen)
		}
	}
	if m, _ := f.send(msg{kind: discover, mac: mac(9)}.bytes()); m != nil {
		t.Errorf("offered %v from a full subnet", m.YourIPAddr)
	}
}

func TestDeprecatedSubnet(t *testing.T) {
	old, next := subnet("192.0.2.0/24"), subnet("198.51.100.0/24")
	f := newFake(t, service(old))
	a := f.dora(msg{mac: mac(1)})
	f.SetGuest(plan.Guest{Port: "p", MAC: mac(2), Addresses: []plan.GuestAddress{{Address: ip("192.0.2.2"), Deprecated: true}, {Address: ip("198.51.100.2")}}})
	old.Deprecated = true
	f.Set(service(next, old))
	if m, _ := f.send(msg{kind: requestM, mac: mac(1), ciaddr: a.String()}.bytes()); m == nil || m.MessageType() != nak {
		t.Errorf("renewal in a subnet that goes: %v", m)
	}
	if m, _ := f.send(msg{kind: requestM, mac: mac(2), ciaddr: "192.0.2.2"}.bytes()); m == nil || m.MessageType() != nak {
		t.Errorf("renewal of a port's old address: %v", m)
	}
	if b := f.dora(msg{mac: mac(1)}); !next.Prefix.Contains(b) {
		t.Errorf("new address %v", b)
	}
	if b := f.dora(msg{mac: mac(2)}); b != ip("198.51.100.2") {
		t.Errorf("the port's new address %v", b)
	}
}

func TestFlood(t *testing.T) {
	f := newFake(t, service(subnet("10.0.0.0/8")))
	for i := range lease.MaxOffers + 1000 {
		if m, _ := f.send(msg{kind: discover, mac: mac(i + 1)}.bytes()); m == nil {
			t.Fatalf("client %d got no offer", i)
		}
	}
	if n := f.Table().Len(); n > lease.MaxOffers {
		t.Errorf("%d offers are remembered", n)
	}
	f.dora(msg{mac: mac(1 << 20)})
	f.now = f.now.Add(lease.OfferTime)
	f.Table().Expire(f.now)
	if n := f.Table().Len(); n != 1 {
		t.Errorf("%d entries are left of a flood", n)
	}
}

func TestParseBounds(t *testing.T) {
	good := msg{kind: discover, mac: mac(1)}.bytes()
	many := append([]byte{}, good[:240]...)
	for range maxOptions + 1 {
		many = append(many, 60, 0)
	}
	cases := map[string][]byte{
		"empty": {}, "short": good[:239], "long": append(append([]byte{}, good...), make([]byte, maxMessage)...), "options": append(many, 255),
		"no end": good[:243],
		"reply":  msg{kind: discover, mac: mac(1), edit: func(d *dhcpv4.DHCPv4) { d.OpCode = dhcpv4.OpcodeBootReply }}.bytes(),
		"hardware": msg{kind: discover, mac: mac(1), edit: func(d *dhcpv4.DHCPv4) {
			d.HWType = iana.HWTypeInfiniband
		}}.bytes(),
		"multicast": msg{kind: discover, mac: vnet.MAC{1, 2, 3, 4, 5, 6}}.bytes(),
	}
	for name, b := range cases {
		if _, err := parsed(b); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := parsed(good); err != nil {
		t.Error(err)
	}
}
