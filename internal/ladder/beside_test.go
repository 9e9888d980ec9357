package ladder_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/ladder"
	"github.com/sextant-net/sextant/internal/vnet"
)

// TestBeside: bridged IPv6 beside NATed IPv4 stands on bridged with a bridge to
// join, else on proxied, at once and back; the shared prefix ends when it climbs.
func TestBeside(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	p := netip.MustParsePrefix("2001:db8:1::/64")
	in := ladder.Input{
		Now: now, Host: "h1",
		Uplink: ladder.Uplink{V4: true, V6: true, Link4: "wlan0", Link6: "wlan0", Addresses6: []netip.Prefix{netip.MustParsePrefix("2001:db8:1::7/64")},
			OnLink: []ladder.Source{{Prefix: p, Link: "wlan0", Since: now}}},
		Wishes: []ladder.Wish{{Network: "n1", Name: "web", IPv4: vnet.EgressNAT, IPv6: vnet.EgressBridged, Beside: true, NoWire: "the uplink wlan0 is Wi-Fi",
			Subnets: []vnet.Subnet{{Meta: vnet.Meta{ID: "s1"}, Network: "n1", Family: vnet.IPv6, Primary: true, Source: vnet.SourceProxied}}}},
	}
	out := ladder.Decide(in)
	d := out.Networks["n1"]
	if d.Rung6 != vnet.EgressProxied || !strings.Contains(d.Why6, "wlan0 is Wi-Fi") || len(d.Problems) != 0 || len(out.Claim) != 1 || out.Claim[0].Prefix != p {
		t.Fatalf("%+v\n%+v", d, out)
	}
	in.Held = out.Held
	in.Wishes[0].Wire, in.Wishes[0].NoWire = "br-eth0", ""
	out = ladder.Decide(in)
	d = out.Networks["n1"]
	if d.Rung6 != vnet.EgressBridged || !strings.Contains(d.Why6, "br-eth0") || len(d.Problems) != 0 {
		t.Errorf("%+v", d)
	}
	if len(out.Held) != 1 || out.Held[0].State != vnet.PrefixDeprecated {
		t.Errorf("the shared prefix did not end: %+v", out.Held)
	}
	in.Held = out.Held
	if again := ladder.Decide(in); len(again.Claim)+len(again.Release) != 0 {
		t.Errorf("a second time: %+v", again)
	}
	in.Wishes[0].Wire, in.Wishes[0].NoWire = "", "the uplink is not shared"
	in.Uplink.OnLink = nil
	if d := ladder.Decide(in).Networks["n1"]; d.Rung6 != vnet.EgressProxied || len(d.Problems) != 1 {
		t.Errorf("without a prefix: %+v", d)
	}
}
