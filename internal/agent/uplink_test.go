package agent_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// active waits until a network has an active prefix of a rung, and returns it.
func (h *host) active(id string, rung vnet.Egress) *vnet.PrefixAssignment {
	h.t.Helper()
	var found *vnet.PrefixAssignment
	netnstest.Eventually(h.t, 20*time.Second, string(rung)+" prefix of "+id, func() error {
		for _, o := range h.store.All(vnet.KindAssignment) {
			if as := o.(*vnet.PrefixAssignment); string(as.Network) == id && as.Rung == rung && as.State == vnet.PrefixActive {
				found = as
				return nil
			}
		}
		return errors.New("none")
	})
	return found
}

// TestDelegated: a guest gets an address in what the provider delegates, is
// reached in it, and keeps it over the agent's restart; a new delegation takes
// its place at once.
func TestDelegated(t *testing.T) {
	h := newHost(t)
	p := h.provider("wan")
	p.delegates("2001:db8:100::", 56, "")
	h.start()
	n, ref := h.network("web")
	h.await(ref, vnet.StateRunning)
	first := h.active("web", vnet.EgressDelegated)
	if first.Prefix.String() != "2001:db8:100:1::/64" || first.Uplink != "wan" {
		t.Errorf("%+v", first)
	}
	guest := h.guest("g1", n)
	reaches(t, guest, "2001:db8:100:1:")
	reaches(t, guest, "fd12:3456:789a:1:") // masqueraded
	h.online()
	netnstest.Eventually(t, 5*time.Second, "status", func() error {
		if st := h.store.Status(ref, "h1"); st.Rung6 != vnet.EgressDelegated || !strings.Contains(st.Why6, "2001:db8:100::/56") || len(st.Prefixes) != 3 {
			return errors.New(st.Why6)
		}
		return nil
	})
}
