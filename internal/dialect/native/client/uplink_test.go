package client_test

import (
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/dialect/native"
	"github.com/sextant-net/sextant/internal/vnet"
)

func TestUplinkVerbs(t *testing.T) {
	ctx := t.Context()
	c := serve(t, native.NewFake())
	u, err := c.PatchUplink(ctx, "host1", "eth0", 0, time.Minute, map[string]any{"shared": true, "hint": 56})
	if err != nil || u.Name != "eth0" || !u.V6 || !u.Policy.Shared || u.Policy.Hint != 56 || u.Policy.Until.IsZero() || u.Revision == 0 {
		t.Fatalf("%+v %v", u, err)
	}
	if _, err := c.PatchUplink(ctx, "", "eth0", u.Revision-1, 0, map[string]any{"hint": 60}); !vnet.Is(err, vnet.ErrConflict) {
		t.Errorf("of an old revision: %v", err)
	}
	kept, err := c.Confirm(ctx)
	if err != nil || len(kept.Uplinks) != 1 || kept.Uplinks[0].Name != "eth0" || !kept.Uplinks[0].Shared {
		t.Errorf("%+v %v", kept, err)
	}
	if _, err := c.Confirm(ctx); !vnet.Is(err, vnet.ErrConflict) {
		t.Errorf("confirmed twice: %v", err)
	}
	for host, want := range map[string]int{"": 1, "host1": 1, "host2": 0} {
		if l, err := c.Uplinks(ctx, host); err != nil || len(l) != want || want > 0 && (l[0].State != "up" || !l[0].Policy.Until.IsZero()) {
			t.Errorf("uplinks of %q: %+v %v", host, l, err)
		}
	}
}
