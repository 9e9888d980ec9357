package agent_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/uplink"
	"github.com/sextant-net/sextant/internal/uplink/pd"
	"github.com/sextant-net/sextant/internal/vnet"
)

// clocks are the machine's, with a wall clock that a test sets.
type clocks struct {
	mu  sync.Mutex
	set time.Duration
}

func (c *clocks) instant() pd.Instant {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := uplink.SystemClock()
	now.Wall = now.Wall.Add(c.set)
	return now
}

func (c *clocks) now() time.Time { return c.instant().Wall }

func (c *clocks) jump(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set += by
}

func (c *clocks) nowOf() func() time.Time {
	if c == nil {
		return nil
	}
	return c.now
}

func (c *clocks) instantOf() uplink.Clock {
	if c == nil {
		return nil
	}
	return c.instant
}

// TestClockSet: what a network holds, the deprecated as well, lasts as long as
// it did whatever somebody sets the clock to, and as often; no network climbs or
// descends for it.
func TestClockSet(t *testing.T) {
	h := newHost(t)
	h.clock = &clocks{}
	p := h.provider("wan")
	p.delegates("2001:db8:100::", 56, "")
	byHand := given("2001:db8:180::/56")
	byHand.Ask = vnet.AskOn
	h.store.Put(byHand)
	h.start()
	n, ref := h.network("web")
	h.await(ref, vnet.StateRunning)
	netnstest.Eventually(t, 20*time.Second, "both are there", func() error {
		if u := h.uplink("wan"); u == nil || len(u.Delegations) != 2 {
			return fmt.Errorf("%+v", u)
		}
		return nil
	})
	byHand = given()
	byHand.Ask = vnet.AskOn
	h.store.Put(byHand)
	left := func() (out []string) {
		for _, o := range h.store.All(vnet.KindAssignment) {
			if as := o.(*vnet.PrefixAssignment); as.Family == vnet.IPv6 {
				out = append(out, fmt.Sprintf("%v %s, valid for %v", as.Prefix, as.State, as.ValidUntil.Sub(h.clock.now()).Round(10*time.Minute)))
			}
		}
		slices.Sort(out)
		return out
	}
	want := "[2001:db8:100:1::/64 active, valid for 2h0m0s 2001:db8:180:1::/64 deprecated, valid for 12h0m0s]"
	holds := func(when string) {
		t.Helper()
		netnstest.Eventually(t, 20*time.Second, when+": "+want, func() error {
			if got := fmt.Sprint(left()); got != want {
				return fmt.Errorf("held: %s", got)
			}
			return nil
		})
	}
	holds("at first")
	guest := h.guest("g1", n)
	reaches(t, guest, "2001:db8:100:1:")
	told := len(h.store.Events())
	for i, by := range []time.Duration{24 * time.Hour, -48 * time.Hour, 24 * time.Hour, 400 * 24 * time.Hour, -401 * 24 * time.Hour} {
		h.clock.jump(by)
		again := *n
		again.LeaseTime = vnet.Duration(time.Duration(10+i) * time.Hour) // something to do
		h.store.Put(&again)
		holds(by.String())
		if st := h.await(ref, vnet.StateRunning); st.Rung6 != vnet.EgressDelegated {
			t.Errorf("%v: stands on %s: %s", by, st.Rung6, st.Why6)
		}
		reaches(t, guest, "2001:db8:100:1:")
		if u := h.uplink("wan"); u == nil || len(u.Delegations) != 1 {
			t.Errorf("%v: reported %+v", by, u)
		}
	}
	for _, e := range h.store.Events()[told:] {
		if e.What == "rung" || e.What == "prefix" || e.What == "delegation" || e.What == "uplink" {
			t.Errorf("told: %s: %s", e.What, e.Msg)
		}
	}
}
