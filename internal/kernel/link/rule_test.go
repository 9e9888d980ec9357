package link_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// TestRules: what comes in by a link is led to another uplink, once, in both
// families; rules and routes of others are left alone.
func TestRules(t *testing.T) {
	h, guest := newHost(t), netnstest.New(t, "gst")
	items := network(guest.Name)
	h.apply(items, nil)
	other := netnstest.New(t, "isp")
	netnstest.Veth(h.ns, "eth1", other, "peer")
	h.ns.Run("sysctl", "-qw", "net.ipv4.ip_forward=1")
	h.ns.Run("ip", "addr", "add", "198.51.100.2/24", "dev", "eth1")
	h.ns.Run("ip", "rule", "add", "pref", "8300", "iif", "eth1", "lookup", "99")
	h.ns.Run("ip", "rule", "add", "pref", "8301", "iif", "sx-web", "lookup", "99")
	h.ns.Run("ip", "route", "add", "default", "via", "198.51.100.9", "table", "8383", "metric", "7")
	theirs := h.ns.Run("sh", "-c", "ip rule; ip -6 rule; ip route show table 8383")
	rule := func(f vnet.Family, priority, table int, near bool) plan.Item {
		return plan.Rule{Family: f, Priority: priority, In: "sx-web", Table: table, NoDefault: near, Owner: owner}
	}
	pinned := []plan.Item{
		rule(vnet.IPv4, 8300, 254, true), rule(vnet.IPv4, 8301, plan.PinTable, false),
		rule(vnet.IPv6, 8300, 254, true), rule(vnet.IPv6, 8301, plan.PinTable, false),
		plan.HostRoute{Prefix: pfx("0.0.0.0/0"), Via: netip.MustParseAddr("198.51.100.1"), Link: "eth1", Table: plan.PinTable, Owner: owner},
		plan.HostRoute{Prefix: pfx("::/0"), Via: netip.MustParseAddr("fe80::1"), Link: "eth1", Table: plan.PinTable, Owner: owner},
	}
	h.apply(pinned, nil)
	h.settled(append(items, pinned...))
	for _, f := range []struct{ cmd, want string }{
		{"ip route get 203.0.113.9 from 192.168.150.9 iif sx-web", "via 198.51.100.1 dev eth1"},
		{"ip -6 rule", "8300:\tfrom all iif sx-web lookup main suppress_prefixlength 0 proto 83"},
		{"ip -6 rule", "8301:\tfrom all iif sx-web lookup 8383 proto 83"},
	} {
		if out, err := h.ns.Try("sh", "-c", f.cmd); !strings.Contains(out, f.want) {
			t.Errorf("%s: %v\n%s\nwant %q", f.cmd, err, out, f.want)
		}
	}
	// The next hop changes; a rule is there twice, one is gone.
	pinned[5] = plan.HostRoute{Prefix: pfx("::/0"), Via: netip.MustParseAddr("fe80::2"), Link: "eth1", Table: plan.PinTable, Owner: owner}
	h.ns.Run("ip", "-6", "rule", "delete", "pref", "8301")
	h.ns.Run("ip", "rule", "add", "pref", "8301", "iif", "sx-web", "lookup", "77", "protocol", "83")
	h.restart()
	if h.actual(pinned)[pinned[1].Key()] == pinned[1] {
		t.Error("a rule that is there twice is as wanted")
	}
	h.apply(pinned, nil)
	h.settled(append(items, pinned...))

	h.apply(nil, pinned)
	h.settled(items)
	if now := h.ns.Run("sh", "-c", "ip rule; ip -6 rule; ip route show table 8383"); now != theirs {
		t.Errorf("left behind, or somebody else's removed:\n%s\nwant\n%s", now, theirs)
	}
}
