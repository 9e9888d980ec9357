package link_test

import (
	"testing"

	"github.com/sextant-net/sextant/internal/plan"
)

// TestFollow: a bridge that got a NIC's settings, ours among them, has what the
// NIC had before us in the end; so has the NIC that got them back.
func TestFollow(t *testing.T) {
	const forwarding, redirects = "net/ipv4/conf/own0/forwarding", "net/ipv4/conf/own0/send_redirects"
	h := newHost(t)
	h.ns.Run("ip", "link", "add", "own0", "type", "veth", "peer", "name", "p0")
	h.ns.Run("sysctl", "-qw", "net.ipv4.conf.own0.forwarding=0", "net.ipv4.conf.own0.send_redirects=1")
	item := func(link string) plan.Item {
		return plan.Sysctl{Path: "net/ipv4/conf/" + link + "/forwarding", Value: "1"}
	}
	follow := func(from, to string) {
		t.Helper()
		for range 2 {
			if err := h.links.Follow(from, to); err != nil {
				t.Fatal(err)
			}
		}
	}
	items := []plan.Item{item("own0"), plan.Sysctl{Path: redirects, Value: "0"}}
	h.apply(items, nil)
	h.ns.Run("ip", "link", "add", "br-own0", "type", "bridge")
	h.ns.Run("sysctl", "-qw", "net.ipv4.conf.br-own0.forwarding=1", "net.ipv4.conf.br-own0.send_redirects=1") // this one it did not get
	follow("own0", "br-own0")
	follow("own0", "nobody0")
	h.restart()
	h.apply([]plan.Item{item("br-own0")}, items)
	if got := h.sysctl(forwarding); got != "0" {
		t.Errorf("the NIC has forwarding=%s", got)
	}

	// Back: the NIC has the bridge's, which is gone.
	h.ns.Run("sysctl", "-qw", "net.ipv4.conf.own0.forwarding=1")
	follow("br-own0", "own0")
	h.ns.Run("ip", "link", "delete", "br-own0")
	h.apply([]plan.Item{item("own0")}, []plan.Item{item("br-own0")})
	h.restart()
	h.apply(nil, []plan.Item{item("own0")})
	if got := h.sysctl(forwarding); got != "0" {
		t.Errorf("in the end: forwarding=%s", got)
	}

	// What ends on the bridge ends there.
	h.apply([]plan.Item{item("own0")}, nil)
	h.ns.Run("ip", "link", "add", "br-own0", "type", "bridge")
	h.ns.Run("sysctl", "-qw", "net.ipv4.conf.br-own0.forwarding=1")
	follow("own0", "br-own0")
	h.apply(nil, []plan.Item{item("own0"), item("br-own0")})
	if got := h.sysctl("net/ipv4/conf/br-own0/forwarding"); got != "0" {
		t.Errorf("the bridge has forwarding=%s", got)
	}
	if got := h.actual(nil); len(got) != 0 {
		t.Errorf("recorded: %v", got)
	}
}
