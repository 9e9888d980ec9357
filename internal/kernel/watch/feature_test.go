package watch_test

import (
	"context"
	"testing"

	"github.com/sextant-net/sextant/internal/kernel/watch"
	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// TestProbe: what every kernel that runs these tests has is found, each
// feature is listed, and what is missing says what needs it.
func TestProbe(t *testing.T) {
	netnstest.NeedRoot(t)
	netnstest.NeedCommands(t, "nft")
	found, list, err := watch.Probe(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v", found)
	for _, name := range []string{vnet.FeatureIPv6, vnet.FeatureVeth, vnet.FeatureNAT, vnet.FeatureTun} {
		if !found[name] {
			t.Errorf("%s is missing", name)
		}
	}
	if len(list) != len(found) {
		t.Errorf("%d listed, %d found", len(list), len(found))
	}
	for _, f := range list {
		if f.Present == (f.Needed != "") {
			t.Errorf("%+v", f)
		}
	}
	t.Setenv("PATH", t.TempDir())
	if found, _, err := watch.Probe(context.Background()); !vnet.Is(err, vnet.ErrUnsupported) || found[vnet.FeatureNAT] || !found[vnet.FeatureVeth] {
		t.Errorf("without nft: %v %v", found, err)
	}
}
