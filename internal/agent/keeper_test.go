package agent

import (
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

func TestKeeperReadsWhatItWrote(t *testing.T) {
	empty := plan.NewSnapshot(`h"1`)
	empty.Revision = 1
	full := plan.NewSnapshot("h1")
	full.Revision = 7
	full.Put(&vnet.Installation{Meta: vnet.Meta{ID: "installation"}})
	full.Put(&vnet.Project{Meta: vnet.Meta{ID: "p", Name: "default"}})
	for _, id := range []vnet.ID{"a", "b"} {
		full.Put(&vnet.Network{Meta: vnet.Meta{ID: id, Name: `n<"` + string(id), Project: "p"}})
		full.Put(&vnet.Activation{Meta: vnet.Meta{ID: "act-" + id}, Network: id, Host: "h1", Started: true})
		for i, l := range []vnet.ID{"l1-", "l2-"} {
			full.Put(&vnet.Lease{Meta: vnet.Meta{ID: l + id}, Network: id, Host: "h1", Address: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), Family: vnet.IPv4})
		}
	}
	for name, want := range map[string]*plan.Snapshot{"empty": empty, "full": full} {
		t.Run(name, func(t *testing.T) {
			k := newKeeper(t.TempDir(), slog.New(slog.DiscardHandler))
			if err := k.write(keepOf(want, nil), func() {}); err != nil {
				t.Fatal(err)
			}
			got, _ := k.load(want.Host)
			if got == nil {
				t.Fatal("not read")
			}
			if d := cmp.Diff(listed(want), listed(got), cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); d != "" || got.Host != want.Host || got.Revision != want.Revision {
				t.Error(d)
			}
		})
	}
}

// listed is all of a snapshot, in order.
func listed(s *plan.Snapshot) []vnet.Object {
	x := keepOf(s, nil)
	for _, l := range x.leases {
		x.objects = append(x.objects, l.Whole())
	}
	slices.SortFunc(x.objects, func(a, b vnet.Object) int { return strings.Compare(vnet.RefOf(a).String(), vnet.RefOf(b).String()) })
	return x.objects
}
