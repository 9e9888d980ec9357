package agent_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// kept waits until the kept snapshot says something, and returns it.
func (h *host) kept(what string) []byte {
	h.t.Helper()
	var text []byte
	netnstest.Eventually(h.t, 15*time.Second, "kept: "+what, func() (err error) {
		if text, err = os.ReadFile(h.state + "/agent-snapshot.json"); err == nil && !strings.Contains(string(text), what) {
			err = errors.New(string(text))
		}
		return err
	})
	return text
}

// TestProxiedAway: a guest that comes while the store is away has IPv6 in an
// uplink's prefix; so has it when the agent starts from a snapshot that is older
// than its address, or with a store that does not speak.
func TestProxiedAway(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	w := h.town("AdvAutonomous on;")
	var away atomic.Bool
	h.store.Refuse = func(o vnet.Object) error {
		if _, is := o.(*vnet.Lease); is && away.Load() {
			return vnet.Errorf(vnet.ErrUnavailable, "away")
		}
		return nil
	}
	h.start()
	web, ref := h.network("web")
	h.await(ref, vnet.StateRunning)
	h.active("web", vnet.EgressProxied)
	before := h.kept(`"proxied"`)
	away.Store(true)
	g := h.guest("g1", web)
	a := addressOf(t, g, "2001:db8:1:")
	pings(t, g, distant, a.String())
	pings(t, w.isp, a.String(), "")
	if l := h.learnt(a); l != nil {
		t.Fatalf("the store is not away: %+v", l)
	}
	away.Store(false)
	netnstest.Eventually(t, 15*time.Second, "the store is told", func() error {
		if h.learnt(a) == nil {
			return errors.New("not yet")
		}
		return nil
	})

	t.Run("from an older snapshot", func(t *testing.T) {
		h.stop()
		if err := os.WriteFile(h.state+"/agent-snapshot.json", before, 0o600); err != nil {
			t.Fatal(err)
		}
		changes := h.monitor()
		h.start()
		port := &vnet.Port{Meta: vnet.Meta{ID: "unbound", Name: "unbound", Project: "p1"}, Network: web.ID, MAC: vnet.MAC{2, 0, 0, 0, 0, 9}}
		h.store.Put(port)
		h.await(vnet.RefOf(port), vnet.StateStopped)
		if seen := changes(); strings.Contains(seen, a.String()) || !strings.Contains(h.show(), a.String()) {
			t.Errorf("the agent's start changed the host:\n%s", seen)
		}
		pings(t, g, distant, a.String())
	})
	t.Run("by the agent before", func(t *testing.T) {
		away.Store(true)
		g.Run("ip", "addr", "add", "2001:db8:1::53/128", "dev", "eth0")
		pings(t, g, distant, "2001:db8:1::53")
		h.kept("2001:db8:1::53")
		h.stop()
		h.startWith(silentStore{h.store})
		w.isp.Run("ip", "-6", "neigh", "flush", "dev", "cust")
		pings(t, w.isp, "2001:db8:1::53", "")
		h.stop()
		away.Store(false)
		h.start()
		netnstest.Eventually(t, 15*time.Second, "the store is told", func() error {
			for _, o := range h.store.All(vnet.KindLease) {
				if fmt.Sprint(o.(*vnet.Lease).Address) == "2001:db8:1::53" {
					return nil
				}
			}
			return errors.New("not yet")
		})
		pings(t, g, distant, "2001:db8:1::53")
	})
}
