package radv

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/ndp"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

func advertisement(t testing.TB, ra *ndp.RouterAdvertisement) []byte {
	t.Helper()
	b, err := ndp.MarshalMessage(ra)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRivals: what other routers say is compared with ours (RFC 4861 section
// 6.2.7), and told once.
func TestRivals(t *testing.T) {
	svc := service(subnet(net1, vnet.GuestsSLAAC))
	svc.RA.Policy.Reachable, svc.RA.Policy.Retrans = seconds32(30), seconds32(1)
	prefix := func(p string, valid, preferred time.Duration) ndp.Option {
		return &ndp.PrefixInformation{PrefixLength: 64, Prefix: netip.MustParseAddr(p), OnLink: true, ValidLifetime: valid, PreferredLifetime: preferred}
	}
	for name, c := range map[string]struct {
		ra   ndp.RouterAdvertisement
		want string
	}{
		"nothing said": {ndp.RouterAdvertisement{}, ""},
		"the same": {ndp.RouterAdvertisement{CurrentHopLimit: 64, ReachableTime: 30 * time.Second, RetransmitTimer: time.Second, Options: []ndp.Option{
			ndp.NewMTU(1500), prefix("2001:db8:1::", vnet.DefaultValid, vnet.DefaultPreferred), prefix("2001:db8:2::", time.Hour, time.Hour)}}, ""},
		"hop limit": {ndp.RouterAdvertisement{CurrentHopLimit: 63}, "hop limit 63, ours 64"},
		"flags":     {ndp.RouterAdvertisement{ManagedConfiguration: true, OtherConfiguration: true}, "flag M true, ours false, flag O true, ours false"},
		"times":     {ndp.RouterAdvertisement{ReachableTime: time.Second, RetransmitTimer: 2 * time.Second}, "reachable time 1000, ours 30000, retransmit time 2000, ours 1000"},
		"MTU":       {ndp.RouterAdvertisement{Options: []ndp.Option{ndp.NewMTU(1400)}}, "MTU 1400, ours 1500"},
		"lifetimes": {ndp.RouterAdvertisement{Options: []ndp.Option{prefix("2001:db8:1::", time.Hour, time.Minute)}},
			"valid lifetime of 2001:db8:1::/64 3600, ours 5400, preferred lifetime of 2001:db8:1::/64 60, ours 2700"},
	} {
		e := started(svc)
		b, s := advertisement(t, &c.ra), solicitation{from: netip.MustParseAddr("fe80::bad"), hopLimit: 255}
		if got := e.overhear(b, s, at(0)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if got := e.overhear(b, s, at(time.Minute)); got != "" {
			t.Errorf("%s: told again: %q", name, got)
		}
	}
	e := started(svc)
	b := advertisement(t, &ndp.RouterAdvertisement{CurrentHopLimit: 1})
	for i := range 1000 {
		s := solicitation{from: netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 14: byte(i >> 8), 15: byte(i)}), hopLimit: 255}
		if e.overhear(b, s, at(time.Duration(i)*time.Millisecond)) != "" && i > 0 {
			t.Error("a flood of advertisements is told each time")
		}
		e.overhear(b, s, at(time.Duration(i)*time.Minute))
	}
	if len(e.rivals) > maxRivals {
		t.Errorf("%d routers are remembered", len(e.rivals))
	}
	if got := e.overhear(b, solicitation{from: netip.MustParseAddr("fe80::5"), hopLimit: 64}, at(100*time.Hour)); got != "" {
		t.Errorf("from beyond the link: %q", got)
	}
}

func FuzzOverhear(f *testing.F) {
	f.Add(advertisement(f, &ndp.RouterAdvertisement{CurrentHopLimit: 1, Options: []ndp.Option{ndp.NewMTU(1280)}}))
	f.Add(foreign(f)[ipLen:])
	f.Fuzz(func(t *testing.T, b []byte) {
		e := started(everything())
		if what := e.overhear(b, solicitation{from: netip.MustParseAddr("fe80::1"), hopLimit: 255}, at(0)); len(what) > 20*len(b) {
			t.Errorf("%d bytes say %d", len(b), len(what))
		}
	})
}

// TestGatewayMoves: a gateway that gets another MAC, and with it another
// link-local address, says farewell from the old one (RFC 4861 section 6.2.8).
func TestGatewayMoves(t *testing.T) {
	svc := service(subnet(net1, vnet.GuestsSLAAC))
	svc.Strangers = []string{"eth7"}
	e := started(svc)
	e.setGuest(plan.Guest{Port: "alpha", MAC: alphaMAC, Device: "tapa", DefaultRoute: true}, at(0))
	timeline(e, 0, time.Minute)
	old := svc.MAC
	svc.MAC = vnet.MAC{2, 9, 9, 9, 9, 9}
	out := e.set(svc, at(time.Minute))
	if len(out) != 2 || out[0].device != "tapa" || out[1].device != "eth7" {
		t.Fatalf("%d messages", len(out))
	}
	for _, m := range out {
		_, _, icmp := unframe(t, m)
		if from := netip.AddrFrom16([16]byte(m.data[etherLen+8:])); from != ipam.LinkLocal(old) {
			t.Errorf("from %v", from)
		}
		if got := text(icmp); !strings.HasPrefix(got, "router lifetime 0s") || strings.Contains(got, "prefix") {
			t.Errorf("%s", got)
		}
	}
	if got := texts(e.tick(at(time.Minute + minDelay))); !strings.Contains(got, "source 02:09:09:09:09:09") {
		t.Errorf("the new one is not told at once:\n%s", got)
	}
}
