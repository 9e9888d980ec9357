package agent

import (
	"log/slog"
	"reflect"
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
	}
	for name, want := range map[string]*plan.Snapshot{"empty": empty, "full": full} {
		t.Run(name, func(t *testing.T) {
			k := newKeeper(t.TempDir(), slog.New(slog.DiscardHandler))
			if err := k.write(keep{want.Host, want.Revision, want.Objects()}); err != nil {
				t.Fatal(err)
			}
			got := k.load(want.Host)
			if got == nil {
				t.Fatal("not read")
			}
			if d := cmp.Diff(want, got, cmp.Exporter(func(reflect.Type) bool { return true }), cmpopts.EquateEmpty()); d != "" {
				t.Error(d)
			}
		})
	}
}
