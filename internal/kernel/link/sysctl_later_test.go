package link_test

import (
	"testing"

	"github.com/sextant-net/sextant/internal/plan"
)

// TestRestoreLater: a link that comes while our value is the default for links
// to come gets back what it would have had without us; one that had the value
// before we came keeps it.
func TestRestoreLater(t *testing.T) {
	h := newHost(t)
	h.ns.Run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/default/accept_ra")
	h.ns.Run("ip", "link", "add", "own0", "type", "veth", "peer", "name", "p0")
	h.ns.Run("sh", "-c", "echo 2 > /proc/sys/net/ipv6/conf/own0/accept_ra")
	sysctl := func(link string) plan.Item {
		return plan.Sysctl{Path: "net/ipv6/conf/" + link + "/accept_ra", Value: "2", If: "1"}
	}
	items := []plan.Item{sysctl("default"), sysctl("own0")}
	h.apply(items, nil)
	h.ns.Run("ip", "link", "add", "late0", "type", "veth", "peer", "name", "p1")
	if got := h.sysctl("net/ipv6/conf/late0/accept_ra"); got != "2" {
		t.Fatalf("a new link has %s", got)
	}
	items = append(items, sysctl("late0"))
	h.apply(items, nil)
	h.restart()
	h.apply(nil, items)
	for link, want := range map[string]string{"default": "1", "own0": "2", "late0": "1"} {
		if got := h.sysctl("net/ipv6/conf/" + link + "/accept_ra"); got != want {
			t.Errorf("%s: %s, want %s", link, got, want)
		}
	}
}
