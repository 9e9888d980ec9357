package link_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/kernel/link"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

func (h *host) sysctl(path string) string {
	h.t.Helper()
	return strings.TrimSpace(h.ns.Run("cat", "/proc/sys/"+path))
}

// TestRestore: what was set on links that are not ours is as before when
// nobody asks any more, also after a kill, also with a dot in the name.
func TestRestore(t *testing.T) {
	h := newHost(t)
	for _, name := range []string{"eth0.100", "fifteen-letters", "abc"} {
		h.ns.Run("ip", "link", "add", name, "type", "veth", "peer", "name", "p"+name[:3])
	}
	h.ns.Run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/abc/forwarding")
	items := []plan.Item{
		plan.Sysctl{Path: "net/ipv6/conf/all/forwarding", Value: "1"},
		plan.Sysctl{Path: "net/ipv6/conf/eth0.100/accept_ra", Value: "2"},
		plan.Sysctl{Path: "net/ipv6/conf/fifteen-letters/accept_ra", Value: "2", If: "1"},
		plan.Sysctl{Path: "net/ipv6/conf/abc/accept_ra", Value: "2", If: "0"}, // it is 1: stays
		plan.Sysctl{Path: "net/ipv4/conf/abc/forwarding", Value: "1"},
	}
	h.apply(items, nil)
	h.settled(items)
	for path, want := range map[string]string{
		"net/ipv6/conf/all/forwarding":            "1",
		"net/ipv6/conf/eth0.100/forwarding":       "1",
		"net/ipv6/conf/eth0.100/accept_ra":        "2",
		"net/ipv6/conf/fifteen-letters/accept_ra": "2",
		"net/ipv6/conf/abc/accept_ra":             "1",
		"net/ipv4/conf/abc/forwarding":            "1",
	} {
		if got := h.sysctl(path); got != want {
			t.Errorf("%s = %s, want %s", path, got, want)
		}
	}
	h.restart()
	h.settled(items)
	// Somebody else decides one of them anew: not ours to restore any more.
	h.ns.Run("sh", "-c", "echo 0 > /proc/sys/net/ipv6/conf/fifteen-letters/accept_ra")
	h.restart()
	var del []plan.Item
	for _, i := range h.actual(nil) {
		del = append(del, i)
	}
	h.apply(nil, del)
	for path, want := range map[string]string{
		"net/ipv6/conf/all/forwarding":            "0",
		"net/ipv6/conf/eth0.100/forwarding":       "0",
		"net/ipv6/conf/abc/forwarding":            "1", // the admin's own
		"net/ipv6/conf/eth0.100/accept_ra":        "1",
		"net/ipv6/conf/fifteen-letters/accept_ra": "0",
		"net/ipv4/conf/abc/forwarding":            "0",
	} {
		if got := h.sysctl(path); got != want {
			t.Errorf("restored %s = %s, want %s", path, got, want)
		}
	}
	if got := h.actual(nil); len(got) != 0 {
		t.Errorf("still recorded: %v", got)
	}
}

// TestRestoreOtherLink: a link that comes back under the name is another one.
func TestRestoreOtherLink(t *testing.T) {
	h := newHost(t)
	h.ns.Run("ip", "link", "add", "usb0", "type", "veth", "peer", "name", "p0")
	item := plan.Sysctl{Path: "net/ipv6/conf/usb0/accept_ra", Value: "2"}
	h.apply([]plan.Item{item}, nil)
	h.ns.Run("ip", "link", "delete", "usb0")
	h.ns.Run("ip", "link", "add", "usb0", "type", "veth", "peer", "name", "p0")
	h.ns.Run("sh", "-c", "echo 2 > /proc/sys/net/ipv6/conf/usb0/accept_ra") // the admin's
	h.apply(nil, []plan.Item{item})
	if got := h.sysctl(item.Path); got != "2" {
		t.Errorf("the new link's accept_ra was changed to %s", got)
	}
}

// TestValueChanges: a second wish for the same setting keeps the original.
func TestValueChanges(t *testing.T) {
	h := newHost(t)
	h.ns.Run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "p1")
	path := "net/ipv6/conf/eth1/accept_ra"
	for _, v := range []string{"2", "0"} {
		item := plan.Sysctl{Path: path, Value: v}
		h.apply([]plan.Item{item}, nil)
		h.settled([]plan.Item{item})
	}
	h.apply(nil, []plan.Item{plan.Sysctl{Path: path, Value: "0"}})
	if got := h.sysctl(path); got != "1" {
		t.Errorf("restored to %s", got)
	}
}

// TestRecordUnwritable: with the state directory gone or full, what cannot be
// recorded is not changed, and what need not be is.
func TestRecordUnwritable(t *testing.T) {
	h := newHost(t)
	h.ns.Run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "p1")
	h.apply([]plan.Item{plan.Bridge{Name: "sx-web", Owner: owner, MAC: mac}}, nil)
	if err := os.RemoveAll(h.state); err != nil {
		t.Fatal(err)
	}
	ours := plan.Sysctl{Path: "net/ipv6/conf/sx-web/accept_ra", Value: "0", Ours: true}
	theirs := plan.Sysctl{Path: "net/ipv6/conf/eth1/accept_ra", Value: "2"}
	failed := h.links.Apply(t.Context(), []plan.Item{ours, theirs}, nil)
	if len(failed) != 1 || !vnet.Is(failed[theirs.Key()], vnet.ErrHost) {
		t.Errorf("failed: %v", failed)
	}
	if a, b := h.sysctl(ours.Path), h.sysctl(theirs.Path); a != "0" || b != "1" {
		t.Errorf("ours %s, theirs %s", a, b)
	}
	// Room again: it is recorded and changed.
	if err := os.Mkdir(h.state, 0o700); err != nil {
		t.Fatal(err)
	}
	h.apply([]plan.Item{theirs}, nil)
	if got := h.sysctl(theirs.Path); got != "2" {
		t.Errorf("accept_ra = %s", got)
	}
}

func TestRecordBroken(t *testing.T) {
	h := newHost(t)
	file := filepath.Join(h.state, "originals.json")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := link.New(h.set, h.state); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a broken record: %v", err)
	}
	// Another boot's record restores nothing.
	if err := os.WriteFile(file, []byte(`{"boot":"x","sysctls":[{"path":"net/ipv6/conf/lo/accept_ra","value":"0","set":"1"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	h.restart()
	if got := h.actual(nil); len(got) != 0 {
		t.Errorf("recorded before the boot: %v", got)
	}
}
