package agent

import (
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/uplink"
	"github.com/sextant-net/sextant/internal/uplink/pd"
	"github.com/sextant-net/sextant/internal/vnet"
)

// TestUnheard: shortly after the begin an uplink that offers nothing is yet to
// be heard; one that was there and has gone is not.
func TestUnheard(t *testing.T) {
	now := pd.Instant{Wall: heldAt, Boot: time.Hour}
	clock := func() pd.Instant { return now }
	for name, c := range map[string]struct {
		uplink string
		since  time.Duration // when IPv6's way out became so, after the begin
		after  time.Duration
		want   bool
	}{
		"there since before":   {"eth0", -time.Second, time.Second, true},
		"come":                 {"eth0", time.Second, 2 * time.Second, true},
		"heard for long":       {"eth0", -time.Second, hearFirst, false},
		"not there yet":        {"", -time.Second, time.Second, true},
		"gone":                 {"", time.Second, 2 * time.Second, false},
		"none, heard for long": {"", -time.Second, hearFirst, false},
	} {
		a := &Agent{facts: &plan.Facts{Uplink6: c.uplink}, up: &uplinks{
			links: uplink.New(uplink.Config{Clock: clock}), begun: now.Boot - c.after,
			since: map[vnet.Family]time.Duration{vnet.IPv6: now.Boot - c.after + c.since},
		}}
		a.cfg.UplinkClock = clock
		if got := a.wayOut(); got.UnheardDelegated != c.want || got.UnheardOnLink != c.want {
			t.Errorf("%s: unheard: delegated %v, on-link %v, want %v", name, got.UnheardDelegated, got.UnheardOnLink, c.want)
		}
	}
}
