package agent

import (
	"encoding/hex"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/uplink"
	"github.com/sextant-net/sextant/internal/uplink/pd"
)

var heldAt = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func heldExample() *pd.Held {
	return &pd.Held{
		Server: []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 1}, Renew: heldAt.Add(time.Hour), Rebind: heldAt.Add(2 * time.Hour),
		Prefixes: []pd.Prefix{{Prefix: netip.MustParsePrefix("2001:db8:100::/56"), Exclude: netip.MustParsePrefix("2001:db8:100:ff::/64"),
			Preferred: heldAt.Add(3 * time.Hour), Valid: heldAt.Add(4 * time.Hour)}},
	}
}

// TestHeldKeeper: what is held is there again after a restart, as long as it is
// valid, and so is who we are to the provider.
func TestHeldKeeper(t *testing.T) {
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	k := newHeldKeeper(dir, log)
	k.set("eth0", heldExample())
	k.set("wwan0", heldExample())
	k.set("wwan0", nil) // given back
	if err := k.write(); err != nil {
		t.Fatal(err)
	}
	again := newHeldKeeper(dir, log).load(heldAt)
	if len(again) != 1 || !reflect.DeepEqual(again["eth0"], heldExample()) {
		t.Errorf("loaded %+v", again)
	}
	if old := newHeldKeeper(dir, log).load(heldAt.Add(5 * time.Hour)); len(old) != 0 {
		t.Errorf("what is over is loaded: %+v", old)
	}
	id := keptDUID(dir, log)
	if got := keptDUID(dir, log); !reflect.DeepEqual(got, id) || len(id) != 18 {
		t.Errorf("identifiers %x and %x", id, got)
	}
	if err := os.WriteFile(filepath.Join(dir, "uplink-duid"), []byte("zz\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := keptDUID(dir, log); reflect.DeepEqual(got, id) || !reflect.DeepEqual(got, keptDUID(dir, log)) {
		t.Errorf("after garbage: %x", got)
	}
}

// TestHeldGarbage: of a file that somebody wrote into, nothing impossible is
// believed.
func TestHeldGarbage(t *testing.T) {
	link := func(prefix, more string) string {
		return `{"links":{"eth0":{"server":"000300010200000000` + `01","prefixes":[{"prefix":"` + prefix + `"` + more + `}]}}}`
	}
	for what, tc := range map[string]struct {
		text string
		held int // links
		bad  bool
	}{
		"good":              {link("2001:db8:100::/56", ""), 1, false},
		"nothing":           {"", 0, true},
		"no object":         {"[1]", 0, true},
		"half of it":        {`{"links":{"eth0":{"server":"00`, 0, true},
		"too long":          {strings.Repeat(" ", maxHeldFile+1), 0, true},
		"host bits":         {link("2001:db8:100::1/56", ""), 0, false},
		"longer than /64":   {link("2001:db8:100::/65", ""), 0, false},
		"everything":        {link("::/0", ""), 0, false},
		"IPv4":              {link("10.0.0.0/8", ""), 0, false},
		"link-local":        {link("fe80::/64", ""), 0, false},
		"multicast":         {link("ff00::/56", ""), 0, false},
		"excludes another":  {link("2001:db8:100::/56", `,"exclude":"2001:db8:200::/64"`), 0, false},
		"excludes it all":   {link("2001:db8:100::/56", `,"exclude":"2001:db8:100::/56"`), 0, false},
		"it is over":        {link("2001:db8:100::/56", `,"valid":"2026-11-20T11:00:00Z"`), 0, false},
		"nobody's":          {strings.Replace(link("2001:db8:100::/56", ""), "00030001020000000001", "", 1), 0, false},
		"no DUID":           {strings.Replace(link("2001:db8:100::/56", ""), "00030001020000000001", "xyz", 1), 0, false},
		"a link of no name": {strings.Replace(link("2001:db8:100::/56", ""), "eth0", "", 1), 0, false},
	} {
		held, err := readHeld([]byte(tc.text), heldAt)
		if len(held) != tc.held || (err != nil) != tc.bad {
			t.Errorf("%s: %+v, %v", what, held, err)
		}
	}
}

// FuzzReadHeld: whatever is in the file, what is believed can be asked for and
// written again.
func FuzzReadHeld(f *testing.F) {
	f.Add([]byte(`{"links":{"eth0":{"server":"00030001020000000001","prefixes":[{"prefix":"2001:db8:100::/56","valid":"2027-01-01T00:00:00Z"}]}}}`))
	f.Add([]byte(`{"links":{"":{}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		held, err := readHeld(data, heldAt)
		if err != nil {
			return
		}
		for name, h := range held {
			if name == "" || len(h.Prefixes) == 0 || len(hex.EncodeToString(h.Server)) < 6 {
				t.Fatalf("%q: %+v", name, h)
			}
			for _, p := range h.Prefixes {
				if p.Prefix != p.Prefix.Masked() || p.Prefix.Bits() > 64 || !p.Prefix.Addr().Is6() || p.Exclude.IsValid() && !p.Prefix.Overlaps(p.Exclude) {
					t.Fatalf("%+v", p)
				}
			}
		}
	})
}

// TestCarriedNotTold: what a NIC and its bridge take over of each other has been
// told of, also when both were there for a moment.
func TestCarriedNotTold(t *testing.T) {
	p := pd.Prefix{Prefix: netip.MustParsePrefix("2001:db8:100::/56"), Valid: time.Now().Add(time.Hour)}
	u := &uplinks{heard: map[string]uplink.Facts{}, links: uplink.New(uplink.Config{
		Held: map[string]*pd.Held{"br-eth3": {Server: []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 1}, Prefixes: []pd.Prefix{p}}},
	})}
	nic, bridge := uplink.Link{Name: "eth3", Index: 2, Ask: true}, uplink.Link{Name: "br-eth3", Lower: "eth3", Index: 3, Ask: true}
	given := uplink.Link{}
	for _, links := range [][]uplink.Link{{given, bridge}, {bridge, nic}, {nic}} {
		was := u.told
		u.told = links
		u.links.Set(links)
		u.carry(was)
	}
	if d := u.heard["eth3"].Delegations; len(d) != 1 || d[0].Prefix != p.Prefix {
		t.Errorf("told of eth3: %+v, it has %+v", d, u.links.Facts("eth3").Delegations)
	}
	if _, there := u.heard["br-eth3"]; there {
		t.Error("something was told of br-eth3, which had nothing new")
	}
}
