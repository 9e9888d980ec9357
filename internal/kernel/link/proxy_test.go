package link_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/plan"
)

// TestProxy: the kernel answers for addresses that it does not hold, as long
// as it is asked to.
func TestProxy(t *testing.T) {
	h, guest := newHost(t), netnstest.New(t, "gst")
	items := network(guest.Name)
	h.apply(items, nil)
	proxies := []plan.Item{
		plan.ProxyNeighbour{Link: "sx-web", Address: netip.MustParseAddr("192.168.99.1"), Owner: owner},
		plan.ProxyNeighbour{Link: "sx-web", Address: netip.MustParseAddr("2001:db8:99::1"), Owner: owner},
	}
	h.apply(proxies, nil)
	h.settled(append(items, proxies...))
	if out := h.ns.Run("ip", "neigh", "show", "proxy"); !strings.Contains(out, "192.168.99.1 dev sx-web") {
		t.Errorf("ip neigh shows\n%s", out)
	}
	h.ns.Run("ip", "neigh", "add", "proxy", "192.168.99.2", "dev", "sx-web")
	h.apply(nil, proxies)
	if out := h.ns.Run("ip", "neigh", "show", "proxy"); !strings.HasPrefix(out, "192.168.99.2 dev sx-web") || strings.Count(out, "\n") != 1 {
		t.Errorf("left behind, or somebody else's removed:\n%s", out)
	}
	h.settled(items)
}
