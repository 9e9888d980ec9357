package radv

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

const net1 = "2001:db8:1::/64"

// row is a wish and what must, or must not, be advertised then.
type row struct {
	name string
	wish func(*plan.Service)
	want string // part of the text; with a leading "!", must not be there
}

func judge(t *testing.T, rows []row) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			svc := service(subnet(net1, vnet.GuestsSLAAC))
			r.wish(&svc)
			got := texts(started(svc).to(allNodes, whole, at(0)))
			want, not := strings.CutPrefix(r.want, "!")
			if strings.Contains(got, want) == not {
				t.Errorf("want %q in:\n%s", r.want, got)
			}
		})
	}
}

func seconds32(n int) vnet.Duration { return vnet.Duration(time.Duration(n) * time.Second) }

// TestNetworkKeys has a row for each key of a network's advertisements, and for
// what it is without.
func TestNetworkKeys(t *testing.T) {
	p := func(f func(*vnet.RAPolicy)) func(*plan.Service) {
		return func(s *plan.Service) { f(&s.RA.Policy) }
	}
	judge(t, []row{
		{"lifetime default", p(func(*vnet.RAPolicy) {}), "router lifetime 30m0s"},
		{"lifetime of the interval", p(func(p *vnet.RAPolicy) { p.MaxInterval = seconds32(100) }), "router lifetime 5m0s"},
		{"lifetime", p(func(p *vnet.RAPolicy) { p.Lifetime = ptr(seconds32(9000)) }), "router lifetime 2h30m0s"},
		{"lifetime 0", p(func(p *vnet.RAPolicy) { p.Lifetime = ptr(vnet.Duration(0)) }), "router lifetime 0s"},
		{"preference default", p(func(*vnet.RAPolicy) {}), "!preference"},
		{"preference medium", p(func(p *vnet.RAPolicy) { p.Preference = vnet.PreferenceMedium }), "!preference"},
		{"preference high", p(func(p *vnet.RAPolicy) { p.Preference = vnet.PreferenceHigh }), "hop limit 64 preference 1"},
		{"preference low", p(func(p *vnet.RAPolicy) { p.Preference = vnet.PreferenceLow }), "hop limit 64 preference 3"},
		{"preference without lifetime", func(s *plan.Service) {
			s.RA.Policy.Preference, s.RA.DefaultRouter = vnet.PreferenceHigh, false
		}, "!preference"},
		{"hopLimit default", p(func(*vnet.RAPolicy) {}), "hop limit 64"},
		{"hopLimit", p(func(p *vnet.RAPolicy) { p.HopLimit = ptr(31) }), "hop limit 31"},
		{"hopLimit 0", p(func(p *vnet.RAPolicy) { p.HopLimit = ptr(0) }), "hop limit 0"},
		{"times default", p(func(*vnet.RAPolicy) {}), "!reachable"},
		{"reachable, retrans", p(func(p *vnet.RAPolicy) {
			p.Reachable, p.Retrans = vnet.Duration(time.Hour), vnet.Duration(1500*time.Millisecond)
		}), "reachable 1h0m0s retrans 1.5s"},
		{"managed", p(func(p *vnet.RAPolicy) { p.Managed = ptr(true) }), "M=true O=false"},
		{"other", p(func(p *vnet.RAPolicy) { p.Other = ptr(true) }), "M=false O=true"},
		{"managed off", func(s *plan.Service) {
			s.Subnets[0].Guests, s.RA.Policy.Managed = vnet.GuestsStateful, ptr(false)
		}, "M=false"},
		{"mtu default", p(func(*vnet.RAPolicy) {}), "mtu 1500"},
		{"mtu", p(func(p *vnet.RAPolicy) { p.MTU = ptr(1400) }), "mtu 1400"},
		{"mtu 0", p(func(p *vnet.RAPolicy) { p.MTU = ptr(0) }), "!mtu"},
		{"sourceLink default", p(func(*vnet.RAPolicy) {}), "source 52:54:00:01:02:03"},
		{"sourceLink", p(func(p *vnet.RAPolicy) { p.SourceLink = ptr(false) }), "!source"},
		{"dnsLifetime default", p(func(p *vnet.RAPolicy) { p.MaxInterval = seconds32(100) }), "rdnss [2001:db8:1::1] 5m0s"},
		{"dnsLifetime of servers", p(func(p *vnet.RAPolicy) { p.DNSLifetime = seconds32(77) }), "rdnss [2001:db8:1::1] 1m17s"},
		{"dnsLifetime of names", p(func(p *vnet.RAPolicy) { p.DNSLifetime = seconds32(77) }), "dnssl [default.internal] 1m17s"},
		{"pref64 default", p(func(*vnet.RAPolicy) {}), "!pref64"},
		{"pref64", p(func(p *vnet.RAPolicy) { p.PREF64 = netip.MustParsePrefix("64:ff9b::/96") }), "pref64 64:ff9b::/96 30m0s"},
		{"pref64 /48", p(func(p *vnet.RAPolicy) { p.PREF64 = netip.MustParsePrefix("2001:db8:64::/48") }), "pref64 2001:db8:64::/48"},
		{"pref64Lifetime rounds up", p(func(p *vnet.RAPolicy) {
			p.PREF64, p.PREF64Lifetime = netip.MustParsePrefix("64:ff9b::/96"), seconds32(601)
		}), "pref64 64:ff9b::/96 10m8s"},
		{"captive portal", func(s *plan.Service) { s.CaptivePortal = "https://portal.example/api" }, "portal https://portal.example/api"},
		{"captive portal with an address", func(s *plan.Service) { s.CaptivePortal = "https://192.0.2.1/api" }, "portal https://192.0.2.1/api"},
		{"captive portal default", func(*plan.Service) {}, "!portal"},
		{"route", func(s *plan.Service) {
			s.Routes = []vnet.Route{{Prefix: netip.MustParsePrefix("2001:db8:ff::/48")}}
		}, "route 2001:db8:ff::/48 preference 0 30m0s"},
		{"route with everything", func(s *plan.Service) {
			s.Routes = []vnet.Route{{Prefix: netip.MustParsePrefix("2001:db8:ff::1/128"), Preference: vnet.PreferenceLow, Lifetime: seconds32(60)}}
		}, "route 2001:db8:ff::1/128 preference 3 1m0s"},
		{"route of IPv4", func(s *plan.Service) {
			s.Routes = []vnet.Route{{Prefix: netip.MustParsePrefix("10.9.0.0/16")}}
		}, "!route 10"},
		{"encrypted", func(s *plan.Service) { s.DNS.Encrypted = []vnet.EncryptedDNS{encrypted("7 dot.example 2001:db8::53")} },
			"encrypted priority 7 30m0s: 000d03646f74076578616d706c6500" + "0010" + "20010db8000000000000000000000053" + "0008" + "0001000403646f74"},
	})
}

func encrypted(text string) (e vnet.EncryptedDNS) {
	if err := e.UnmarshalText([]byte(text)); err != nil {
		panic(err)
	}
	return e
}

// TestPrefixKeys has a row for each key of a prefix.
func TestPrefixKeys(t *testing.T) {
	s := func(f func(*plan.Subnet)) func(*plan.Service) {
		return func(s *plan.Service) { f(&s.Subnets[0]) }
	}
	judge(t, []row{
		{"default", s(func(*plan.Subnet) {}), "prefix 2001:db8:1::/64 L=true A=true preferred 45m0s valid 1h30m0s"},
		{"off", s(func(s *plan.Subnet) { s.Advertise.Off = true }), "!prefix"},
		{"onLink", s(func(s *plan.Subnet) { s.Advertise.OnLink = ptr(false) }), "L=false A=true"},
		{"onLink of a proxied prefix", s(func(s *plan.Subnet) { s.OffLink, s.Advertise.OnLink = true, ptr(true) }), "L=true"},
		{"autonomous", s(func(s *plan.Subnet) { s.Advertise.Autonomous = ptr(false) }), "A=false"},
		{"autonomous where DHCPv6 gives addresses", s(func(s *plan.Subnet) { s.Guests, s.Advertise.Autonomous = vnet.GuestsStateful, ptr(true) }), "A=true"},
		{"autonomous in no /64", s(func(s *plan.Subnet) {
			s.Prefix, s.Advertise.Autonomous = netip.MustParsePrefix("2001:db8:1::/80"), ptr(true)
		}), "prefix 2001:db8:1::/80 L=true A=false"},
		{"preferDelegation", s(func(s *plan.Subnet) { s.Advertise.PreferDelegation = true }), "A=true P preferred"},
		{"routerAddress", s(func(s *plan.Subnet) { s.Advertise.RouterAddress = true }), "prefix 2001:db8:1::1/64 L=true A=true R preferred"},
		{"routerAddress without a gateway", s(func(s *plan.Subnet) { s.Advertise.RouterAddress, s.Gateway = true, netip.Addr{} }), "prefix 2001:db8:1::/64 L=true A=true preferred"},
		{"preferred, valid", s(func(s *plan.Subnet) {
			s.Advertise.Preferred, s.Advertise.Valid = vnet.Duration(7*24*time.Hour), vnet.Duration(30*24*time.Hour)
		}), "preferred 168h0m0s valid 720h0m0s"},
		{"valid below the default of preferred", s(func(s *plan.Subnet) { s.Advertise.Valid = seconds32(600) }), "preferred 10m0s valid 10m0s"},
		{"decrement", s(func(s *plan.Subnet) { s.Advertise.Decrement, s.Written = true, wall.Add(-10*time.Minute) }), "preferred 35m0s valid 1h20m0s"},
		{"decrement to the end", s(func(s *plan.Subnet) { s.Advertise.Decrement, s.Written = true, wall.Add(-24*time.Hour) }), "preferred 0s valid 0s"},
		{"decrement within deadlines", s(func(s *plan.Subnet) {
			s.Advertise.Decrement, s.Written, s.ValidUntil = true, wall.Add(-10*time.Minute), wall.Add(time.Minute)
		}), "preferred 1m0s valid 1m0s"},
		{"delegation", s(func(s *plan.Subnet) { s.Delegate = 64 }), "!prefix"},
		{"delegation, without a length", s(func(s *plan.Subnet) { s.Guests = vnet.GuestsDelegation }), "!prefix"},
		{"host bits", s(func(s *plan.Subnet) { s.Prefix = netip.MustParsePrefix("2001:db8:1::7/64") }), "prefix 2001:db8:1::/64"},
	})
}

// TestEverything holds all that can be said at once to one file, and that
// nothing else is ever said: Mobile IPv6's flag and options (RFC 6275: the H
// flag, 7 and 8), 6LoWPAN's (RFC 6775: 34 and 35) and the proxy flag (RFC
// 4389).
func TestEverything(t *testing.T) {
	svc := everything()
	e := started(svc)
	golden(t, "everything", texts(e.to(allNodes, whole, at(0))))
	golden(t, "everything-aside", texts(e.to(allNodes, aside, at(0))))
	may := []byte{optSource, optPrefix, 5, optRoute, optRDNSS, optDNSSL, optPortal, optPREF64, optEncrypted}
	for _, out := range [][]message{e.to(allNodes, whole, at(0)), e.to(allNodes, recalled, at(0)), e.withdraw(at(0))} {
		for _, m := range out {
			if m.data[5]&0x27 != 0 {
				t.Errorf("flags %#x", m.data[5])
			}
			for _, o := range rawOptions(m.data) {
				if !slices.Contains(may, o[0]) {
					t.Errorf("option %d is sent", o[0])
				}
			}
		}
	}
}

// everything has every key set.
func everything() plan.Service {
	svc := service(subnet(net1, vnet.GuestsSLAACStateful), subnet("fd00:1::/64", vnet.GuestsStateless))
	svc.Subnets[0].Advertise = vnet.PrefixPolicy{PreferDelegation: true, RouterAddress: true, Preferred: seconds32(3600), Valid: seconds32(7200)}
	svc.RA.Policy = vnet.RAPolicy{
		MaxInterval: seconds32(200), Preference: vnet.PreferenceHigh, HopLimit: ptr(33), Reachable: seconds32(30),
		Retrans: seconds32(1), MTU: ptr(1400), PREF64: netip.MustParsePrefix("64:ff9b::/96"),
	}
	svc.CaptivePortal = "https://portal.example/api"
	svc.Routes = []vnet.Route{
		{Prefix: netip.MustParsePrefix("2001:db8:ff::/48"), Preference: vnet.PreferenceHigh},
		{Prefix: netip.MustParsePrefix("::/0"), Preference: vnet.PreferenceLow},
		{Prefix: netip.MustParsePrefix("10.0.0.0/8")},
	}
	svc.DNS.Encrypted = []vnet.EncryptedDNS{
		encrypted("1 doh.example 2001:db8::53 2001:db8::54 192.0.2.53 alpn=h2+h3 port=8443 dohpath=/q{?dns}"),
		encrypted("2 name-only.example alpn=dot"),
	}
	return svc
}

func TestIntervalKeys(t *testing.T) {
	for _, c := range []struct {
		policy             vnet.RAPolicy
		least, most, delay time.Duration
	}{
		{vnet.RAPolicy{}, 198 * time.Second, 600 * time.Second, 3 * time.Second},
		{vnet.RAPolicy{MaxInterval: seconds32(1800)}, 594 * time.Second, 1800 * time.Second, 3 * time.Second},
		{vnet.RAPolicy{MaxInterval: seconds32(9)}, 2970 * time.Millisecond, 9 * time.Second, 3 * time.Second},
		{vnet.RAPolicy{MaxInterval: seconds32(4)}, 4 * time.Second, 4 * time.Second, 3 * time.Second},
		{vnet.RAPolicy{MaxInterval: seconds32(100), MinInterval: seconds32(75)}, 75 * time.Second, 100 * time.Second, 3 * time.Second},
		{vnet.RAPolicy{MinInterval: seconds32(3), MinDelay: seconds32(10)}, 3 * time.Second, 600 * time.Second, 10 * time.Second},
	} {
		svc := service(subnet(net1, vnet.GuestsSLAAC))
		svc.RA.Policy = c.policy
		e := started(svc)
		if least, most, delay := e.intervals(); least != c.least || most != c.most || delay != c.delay {
			t.Errorf("%+v: %v to %v, %v apart", c.policy, least, most, delay)
		}
		times := timeline(e, 0, 3*time.Hour)
		for i := 1; i < len(times); i++ {
			d := times[i] - times[i-1]
			if d < c.delay || d > max(c.most, c.delay) || i >= initialCount && d < c.least {
				t.Errorf("%+v: advertisements %v apart", c.policy, d)
			}
		}
		if len(times) < 6 {
			t.Errorf("%+v: %d advertisements", c.policy, len(times))
		}
	}
}

func TestUnicastOnly(t *testing.T) {
	svc := service(subnet(net1, vnet.GuestsSLAAC))
	svc.RA.Policy.UnicastOnly = true
	e := started(svc)
	if times := timeline(e, 0, time.Hour); len(times) != 0 {
		t.Errorf("multicast at %v", times)
	}
	ll := netip.MustParseAddr("fe80::7")
	out, err := e.solicit(asking(), solicitation{from: ll, hopLimit: 255}, at(0))
	if err != nil || len(out) != 1 || out[0].to != ll {
		t.Errorf("a solicitation: %v, %v", out, err)
	}
	out, err = e.solicit(asking(), solicitation{from: netip.IPv6Unspecified(), hopLimit: 255}, at(0))
	if _, due := e.deadline(); err != nil || len(out) != 0 || due {
		t.Errorf("a solicitation without a source: %v, %v", out, err)
	}
	// A known guest without an address is told at its port.
	e.setGuest(plan.Guest{Port: "p", MAC: vnet.MAC{2, 0, 0, 0, 0, 7}, Device: "tap7", DefaultRoute: true}, at(0))
	out, _ = e.solicit(asking(), solicitation{from: netip.IPv6Unspecified(), hopLimit: 255, mac: vnet.MAC{2, 0, 0, 0, 0, 7}}, at(0))
	if len(out) != 1 || out[0].device != "tap7" {
		t.Errorf("a known guest's solicitation without a source: %v", out)
	}
	if out := e.withdraw(at(0)); len(out) != 1 || out[0].device != "tap7" {
		t.Errorf("farewell: %v", out)
	}
}
