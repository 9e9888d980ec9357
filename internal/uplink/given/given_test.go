package given

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sextant-net/sextant/internal/uplink/pd"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct{ name, in, want, note, err string }{
		{"one", "2001:db8:12::/48\n", "2001:db8:12::/48 forever forever", "", ""},
		{"no newline at the end", "2001:db8:12::/48", "2001:db8:12::/48 forever forever", "", ""},
		{"lifetimes", "# from dhclient\n\n2001:db8:12:3400::/56 3600 7200 # now\n", "2001:db8:12:3400::/56 1h0m0s 2h0m0s", "", ""},
		{"durations", "fd00:1::/64 1h30m forever", "fd00:1::/64 1h30m0s forever", "", ""},
		{"all ones", "fd00:1::/64 4294967295 4294967295", "fd00:1::/64 forever forever", "", ""},
		{"carriage returns", "fd00:1::/64 1 2\r\nfd00:2::/64\r\n", "fd00:1::/64 1s 2s, fd00:2::/64 forever forever", "", ""},
		{"taken back", "2001:db8::/48 0 0", "", "", ""},
		{"host bits", "2001:db8:12::1/48", "2001:db8:12::/48 forever forever", "bits below", ""},
		{"too long", "2001:db8::/80\nfd00::/64", "fd00::/64 forever forever", "longer than a /64", ""},
		{"preferred for longer", "2001:db8::/48 20 10", "", "preferred for longer", ""},
		{"link-local", "fe80::/64", "", "cannot be used", ""},
		{"everything", "::/0", "", "cannot be used", ""},
		{"IPv4", "192.0.2.0/24", "", "", "line 1"},
		{"mapped", "::ffff:1.2.3.4/96", "", "", "line 1"},
		{"two words", "fd00::/64\n2001:db8::/48 10", "", "", "line 2"},
		{"negative", "2001:db8::/48 -1 10", "", "", "line 1"},
		{"half a line", "2001:db8:12:", "", "", "line 1"},
		{"binary", "\x00\x01\xff", "", "", "line 1"},
		{"too many", strings.Repeat("fd00::/64\n", 17), "", "", "line 17"},
		{"too large", strings.Repeat("#", maxBytes+1), "", "", "longer than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, notes, err := Parse([]byte(tt.in))
			var words []string
			life := func(d time.Duration) string {
				if d == Forever {
					return "forever"
				}
				return d.String()
			}
			for _, p := range got {
				words = append(words, fmt.Sprintf("%s %s %s", p.Prefix, life(p.Preferred), life(p.Valid)))
			}
			if strings.Join(words, ", ") != tt.want || !strings.Contains(fmt.Sprint(err), tt.err) || (err != nil) != (tt.err != "") {
				t.Errorf("%q, %v; want %q, %q", words, err, tt.want, tt.err)
			}
			if !strings.Contains(fmt.Sprint(notes), tt.note) || (len(notes) > 0) != (tt.note != "") {
				t.Errorf("notes %q, want %q", notes, tt.note)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("2001:db8:12:3400::1/56 3600 7200 # x\nfd00::/64 forever 2h\n::/0 1 2"))
	f.Fuzz(func(t *testing.T, b []byte) {
		prefixes, notes, err := Parse(b)
		if err != nil && len(prefixes)+len(notes) > 0 || len(prefixes) > maxPrefixes || len(notes) > maxPrefixes {
			t.Fatalf("%v %v %v", prefixes, notes, err)
		}
		for _, p := range prefixes {
			if !p.Prefix.IsValid() || p.Prefix != p.Prefix.Masked() || p.Prefix.Bits() > 64 || p.Valid <= 0 || p.Preferred < 0 || p.Preferred > p.Valid {
				t.Fatalf("%+v", p)
			}
		}
	})
}

// rig is a source in a bubble, whose clock is the bubble's.
type rig struct {
	*Source
	mu    sync.Mutex
	notes []string
	jump  time.Duration // by which the wall clock was set
}

func newRig(t *testing.T, w Wish) *rig {
	r := &rig{}
	start := time.Now()
	r.Source = New(w, func() pd.Instant {
		now := time.Now()
		return pd.Instant{Wall: now.Add(r.jump).Round(0), Boot: time.Hour + now.Sub(start)}
	}, func(notes []string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.notes = append(r.notes, notes...)
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { r.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return r
}

// gives compares what is given, as "prefix seconds preferred/valid".
func (r *rig) gives(t *testing.T, want string, notes int) {
	t.Helper()
	var got []string
	for _, d := range r.Delegations() {
		s := d.Prefix.String()
		if !d.ValidUntil.IsZero() {
			s += fmt.Sprintf(" %.0f", math.Ceil(d.ValidUntil.Sub(r.clock().Wall).Seconds()))
		}
		got = append(got, s)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if strings.Join(got, ", ") != want || len(r.notes) != notes {
		t.Errorf("%q with notes %q; want %q with %d", got, r.notes, want, notes)
	}
}

func TestByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Wish{Prefixes: []netip.Prefix{netip.MustParsePrefix("2001:db8::1/48"), {}, netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/80")}})
		synctest.Wait()
		r.gives(t, "2001:db8::/48", 0)
		if d := r.Delegations()[0]; d.From != "by hand" || !d.PreferredUntil.IsZero() {
			t.Errorf("%+v", d)
		}
	})
}

// TestFile goes through the life of a file. Whether it is one is the real
// file system's, when it was written is said.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "prefixes")
	synctest.Test(t, func(t *testing.T) {
		write := func(s string, ago time.Duration) {
			t.Helper()
			if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, time.Time{}, time.Now().Add(-ago)); err != nil {
				t.Fatal(err)
			}
		}
		pass := func(d time.Duration) { <-time.After(d); synctest.Wait() }
		write("2001:db8:1::/48 600 1000\n", 100*time.Second)
		r := newRig(t, Wish{File: path})
		synctest.Wait()
		r.gives(t, "2001:db8:1::/48 900", 0) // counted from when it was written
		since := r.Delegations()[0].Since

		write("2001:db8:1::/48 600 1000\nfd00:1::/", 0)
		pass(2500 * time.Millisecond)
		r.gives(t, "2001:db8:1::/48 898", 1) // half written: the last good one stays
		pass(10 * time.Second)
		r.gives(t, "2001:db8:1::/48 888", 1) // said once
		write("2001:db8:1::/48 600 1000\nfd00:1::/64\n", 0)
		pass(2500 * time.Millisecond)
		r.gives(t, "2001:db8:1::/48 998, fd00:1::/64", 1)
		if d := r.Delegations()[0]; !d.Since.Equal(since) {
			t.Errorf("since %v, and it was there since %v", d.Since, since)
		}

		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		pass(10 * time.Second)
		r.gives(t, "2001:db8:1::/48 988, fd00:1::/64", 2)
		r.jump = 24 * time.Hour // the wall clock is set: lifetimes go on
		pass(time.Second)
		r.gives(t, "2001:db8:1::/48 987, fd00:1::/64", 2)
		r.jump = 0
		pass(987 * time.Second)
		r.gives(t, "fd00:1::/64", 2) // its lifetime is over

		write("# nothing now\n", 0)
		pass(2500 * time.Millisecond)
		r.gives(t, "", 2)
	})
}

// TestLacking: what is to give prefixes and does not is known once it was looked
// at, for as long as it is so.
func TestLacking(t *testing.T) {
	path := filepath.Join(t.TempDir(), "prefixes")
	synctest.Test(t, func(t *testing.T) {
		w := Wish{File: path}
		if what, known := New(w, func() pd.Instant { return pd.Instant{} }, nil).Lacking(); known || len(what) != 0 {
			t.Errorf("before it was looked at: %q, %v", what, known)
		}
		r := newRig(t, w)
		says := func(want string) {
			t.Helper()
			<-time.After(3 * time.Second)
			synctest.Wait()
			if what, known := r.Lacking(); !known || !strings.Contains(strings.Join(what, "; "), want) || (len(what) > 0) != (want != "") {
				t.Errorf("%q, %v, want %q", what, known, want)
			}
		}
		write := func(s string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		says("no such file")
		write("# nothing yet\n")
		says("gives no prefix")
		write("2001:db8::/48\n")
		says("")
		write("2001:db8::/")
		says("no IPv6 prefix")
	})
}

func TestSpecialFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Wish{File: "/dev/zero"})
		<-time.After(5 * time.Second)
		synctest.Wait()
		r.gives(t, "", 1)
	})
}

// await waits for notes or prefixes of a real command.
func (r *rig) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 3000 {
		r.mu.Lock()
		done := ok()
		r.mu.Unlock()
		if done {
			return
		}
		<-tick.C
	}
	t.Fatalf("%s: never; notes %q", what, r.notes)
}

func TestCommand(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	script := `if [ -e "$0" ]; then echo no >&2; exit 3; fi; echo "2001:db8:1::/48 600 1000"`
	r := newRig(t, Wish{Command: []string{"/bin/sh", "-c", script, state}})
	r.await(t, "prefix", func() bool { return len(r.Delegations()) == 1 })
	if err := os.WriteFile(state, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.Kick()
	r.await(t, "error", func() bool { return len(r.notes) == 1 })
	if !strings.Contains(r.notes[0], `exit status 3: "no"`) || len(r.Delegations()) != 1 {
		t.Errorf("%q, %v", r.notes, r.Delegations())
	}
}

func TestBadCommand(t *testing.T) {
	for name, tt := range map[string]struct {
		command []string
		timeout time.Duration
		want    string
	}{
		"not there": {[]string{"/nonexistent/command"}, 0, "no such file"},
		"hangs":     {[]string{"/bin/sh", "-c", "sleep 1000 & sleep 1000"}, 300 * time.Millisecond, "not done after"},
		"floods":    {[]string{"/bin/sh", "-c", "head -c 10000000 /dev/zero"}, 0, "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Wish{Command: tt.command, Timeout: tt.timeout})
			r.await(t, "error", func() bool { return len(r.notes) == 1 })
			if !strings.Contains(r.notes[0], tt.want) {
				t.Errorf("%q", r.notes)
			}
		})
	}
}
