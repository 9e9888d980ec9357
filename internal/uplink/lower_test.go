package uplink

import (
	"fmt"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// TestLower: what is held goes over to the bridge that a link is put into, and
// back, and the provider sees the same client.
func TestLower(t *testing.T) {
	w := newWorld(t)
	w.kea("one", "2001:db8:100::")
	w.start()
	w.delegated("2001:db8:100::/56")
	since := w.Facts("up0").Delegations[0].Since
	held := func(name, want string) {
		t.Helper()
		got := ""
		for _, d := range w.Facts(name).Delegations {
			got += d.Prefix.String()
		}
		if got != want {
			t.Errorf("%s holds %q, want %q", name, got, want)
		}
	}
	kept := func(name, gone string) {
		t.Helper()
		netnstest.Eventually(t, 10*time.Second, "told to keep", func() error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.kept[name] == nil || w.kept[gone] != nil {
				return fmt.Errorf("%v", w.kept)
			}
			return nil
		})
	}
	w.host.Run("sh", "-c", "ip link set up0 down; ip link set up0 name br0; ip link set br0 up")
	bridge := w.link
	bridge.Name, bridge.Lower = "br0", "up0"
	was := w.link
	was.Up = false
	w.Set([]Link{bridge, was}) // for a moment both are there
	w.Set([]Link{bridge})
	held("br0", "2001:db8:100::/56")
	if d := w.Facts("br0").Delegations[0]; !d.Since.Equal(since) {
		t.Errorf("it is another one, since %v, not %v", d.Since, since)
	}
	held("up0", "")
	kept("br0", "up0")
	w.traced("from=rebinding to=bound") // to the provider it is the same client
	held("br0", "2001:db8:100::/56")

	w.Set(nil) // between the two there may be neither
	w.mu.Lock()
	w.trace = nil
	w.mu.Unlock()
	w.host.Run("sh", "-c", "ip link set br0 down; ip link set br0 name up0; ip link set up0 up")
	w.Set([]Link{w.link})
	held("up0", "2001:db8:100::/56")
	kept("up0", "br0")
	w.traced("from=rebinding to=bound")
	held("up0", "2001:db8:100::/56")
}
