package uplink

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// short are lifetimes of Kea's with which the least possible T1 comes soon.
const short = `"renew-timer": 5, "rebind-timer": 20, "preferred-lifetime": 30, "valid-lifetime": 40`

func TestKea(t *testing.T) {
	w := newWorld(t)
	refused := w.refusals()
	server := w.kea("one", "2001:db8:100::", short)
	w.start()
	w.delegated("2001:db8:100::/56")
	first := w.Facts("up0").Delegations[0]
	if d := first; d.From != "DHCPv6 on up0" || d.Since.IsZero() || !d.PreferredUntil.Before(d.ValidUntil) {
		t.Errorf("%+v", d)
	}
	before := w.changes
	netnstest.Eventually(t, 20*time.Second, "renewal", func() error {
		if d := w.Facts("up0").Delegations[0]; !d.ValidUntil.After(first.ValidUntil.Add(2 * time.Second)) {
			return fmt.Errorf("valid until %v as at first", d.ValidUntil)
		}
		return nil
	})
	w.mu.Lock()
	if w.kept["up0"] == nil || w.changes < before {
		t.Errorf("kept %+v", w.kept)
	}
	w.mu.Unlock()
	if !w.Facts("up0").Delegations[0].Since.Equal(first.Since) {
		t.Error("a renewal made it another delegation")
	}

	// The server is away past T2, and comes back with its leases.
	server.end()
	w.freeze(8 * time.Second)
	w.traced("to=renewing")
	server = w.kea("one", "2001:db8:100::", short)
	w.freeze(20 * time.Second) // resumed: what is held is confirmed
	w.traced("to=rebinding")
	w.delegated("2001:db8:100::/56")
	netnstest.Eventually(t, 20*time.Second, "rebinding", func() error {
		if d := w.Facts("up0").Delegations; len(d) != 1 || d[0].ValidUntil.Sub(w.clock().Wall) < 30*time.Second {
			return fmt.Errorf("%+v", d)
		}
		return nil
	})

	// It comes back with other prefixes.
	server.end()
	w.kea("two", "2001:db8:200::", short)
	w.freeze(8 * time.Second)
	w.delegated("2001:db8:200::/56")
	if out := refused(); out != "" {
		t.Errorf("the host refused answers:\n%s", out)
	}
}

// TestRapidAndRelease: two messages are enough, and what is no longer wished
// is given back.
func TestRapidAndRelease(t *testing.T) {
	w := newWorld(t)
	w.kea("one", "2001:db8:100::", `"rapid-commit": true`)
	w.link.Hint.UnmarshalText([]byte("::/56"))
	w.start()
	w.delegated("2001:db8:100::/56")
	for _, line := range w.trace {
		if strings.Contains(line, "to=requesting") {
			t.Error("a Request was sent:", line)
		}
	}
	w.link.Ask = false
	w.Set([]Link{w.link})
	w.delegated("")
	netnstest.Eventually(t, 10*time.Second, "released", func() error {
		b, err := os.ReadFile(filepath.Join(w.dir, "one", "leases"))
		lines := strings.Split(strings.TrimSpace(string(b)), "\n")
		if f := strings.Split(lines[len(lines)-1], ","); err != nil || len(f) < 3 || f[0] != "2001:db8:100::" || f[2] != "0" {
			return fmt.Errorf("%s %v", b, err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if h, told := w.kept["up0"]; !told || h != nil {
			return fmt.Errorf("kept: %+v", h)
		}
		return nil
	})
	w.link.Ask = true
	w.Set([]Link{w.link})
	w.delegated("2001:db8:100:100::/56") // Kea's next
}

// TestAskedAgain: prefixes are wished again while a server that is away is told
// that they are not.
func TestAskedAgain(t *testing.T) {
	w := newWorld(t)
	server := w.kea("one", "2001:db8:100::")
	w.start()
	w.delegated("2001:db8:100::/56")
	server.end()
	w.link.Ask = false
	w.Set([]Link{w.link})
	w.traced("to=releasing")
	w.link.Ask = true
	w.Set([]Link{w.link})
	w.traced("from=stopped to=soliciting")
	w.kea("two", "2001:db8:200::")
	w.delegated("2001:db8:200::/56")
}

func TestNoPrefix(t *testing.T) {
	w := newWorld(t)
	w.kea("one", "")
	w.start()
	w.noted("NoPrefixAvail")
	w.delegated("")
}

func TestTwoServers(t *testing.T) {
	w := newWorld(t)
	other := netnstest.New(t, "prov2")
	other.Run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
	// Both providers' servers are on one wire, behind a bridge.
	w.prov.Run("ip", "link", "add", "br0", "type", "bridge")
	w.prov.Run("ip", "link", "set", "br0", "up")
	w.prov.Run("ip", "link", "set", "prov", "master", "br0")
	w.prov.Run("ip", "link", "add", "far", "type", "veth", "peer", "name", "prov", "netns", other.Name)
	w.prov.Run("ip", "link", "set", "far", "up", "master", "br0")
	other.Run("ip", "link", "set", "prov", "up")
	other.Run("ip", "address", "add", "2001:db8:1::2/64", "dev", "prov", "nodad")
	third := netnstest.New(t, "prov3")
	third.Run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
	w.prov.Run("ip", "link", "add", "far3", "type", "veth", "peer", "name", "prov", "netns", third.Name)
	w.prov.Run("ip", "link", "set", "far3", "up", "master", "br0")
	third.Run("ip", "link", "set", "prov", "up")
	third.Run("ip", "address", "add", "2001:db8:1::3/64", "dev", "prov", "nodad")

	w.prov = other
	w.dhcpd("2001:db8:300::", "2001:db8:300::", "option dhcp6.preference 100;")
	w.prov = third
	server := w.kea("one", "2001:db8:100::", `"renew-timer": 1000, "rebind-timer": 2000, "preferred-lifetime": 3000, "valid-lifetime": 4000`,
		`"option-data": [{"name": "preference", "data": "200", "always-send": true}]`)
	w.start()
	w.delegated("2001:db8:100::/56")
	// The better one goes for good: after the last of its prefix, the other's.
	server.end()
	w.freeze(5000 * time.Second)
	w.noted("run out")
	w.delegated("2001:db8:300::/56")
}

// TestRestart: after a restart, and after the link was away, what was held is
// confirmed; what is over meanwhile is not.
func TestRestart(t *testing.T) {
	w := newWorld(t)
	server := w.dhcpd("2001:db8:300::", "2001:db8:300::", "")
	w.start()
	w.delegated("2001:db8:300::/56")
	netnstest.Eventually(t, 5*time.Second, "told to keep", func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.kept["up0"] == nil {
			return fmt.Errorf("%v", w.kept)
		}
		return nil
	})
	w.stopLinks()
	w.trace = nil
	w.start()
	w.delegated("2001:db8:300::/56") // at once, before anybody has answered
	w.traced("from=rebinding to=bound")

	w.mu.Lock()
	w.trace = nil
	w.mu.Unlock()
	w.host.Run("ip", "link", "set", "up0", "down")
	w.link.Up = false
	w.Set([]Link{w.link})
	w.delegated("2001:db8:300::/56")
	w.host.Run("ip", "link", "set", "up0", "up")
	w.link.Up = true
	w.Set([]Link{w.link})
	w.traced("from=rebinding to=bound")
	w.delegated("2001:db8:300::/56")

	w.mu.Lock()
	w.trace = nil
	w.mu.Unlock()
	w.Set(nil)
	w.delegated("")
	w.host.Run("ip", "link", "delete", "up0")
	server.end()
	netnstest.Veth(w.prov, "prov", w.host, "up0")
	w.prov.Run("ip", "address", "add", "2001:db8:1::1/64", "dev", "prov", "nodad")
	w.identify()
	w.Set([]Link{w.link})
	w.delegated("2001:db8:300::/56")
	w.traced("what is held is to be confirmed")
	w.freeze(24 * time.Hour) // past everything
	w.traced("nothing is held")
	w.delegated("")
	w.dhcpd("2001:db8:300::", "2001:db8:300::", "")
	w.delegated("2001:db8:300::/56")
}
