package daemon

import (
	"bufio"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestCleanMappings: only what can be read again is given up.
func TestCleanMappings(t *testing.T) {
	const smaps = `00400000-01800000 r-xp 00000000 fe:00 123 /usr/bin/sextant
Size:              20480 kB
Anonymous:             0 kB
01800000-02800000 r--p 01400000 fe:00 123 /usr/bin/sextant
Anonymous:             8 kB
02800000-02900000 rw-p 02400000 fe:00 123 /usr/bin/sextant
Anonymous:             0 kB
02900000-02a00000 r--p 02400000 fe:00 124 /usr/lib/other
Anonymous:             0 kB
02a00000-02b00000 r--p 02500000 fe:00 123 /usr/bin/sextant
Anonymous:             0 kB
VmFlags: rd mr mw me sd
c000000000-c000400000 rw-p 00000000 00:00 0
Anonymous:             0 kB
`
	got := cleanMappings([]byte(smaps), "/usr/bin/sextant")
	want := []mapping{{0x400000, 0x1800000}, {0x2a00000, 0x2b00000}}
	if !slices.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

// TestForgetProgram: pages go, and the program goes on.
func TestForgetProgram(t *testing.T) {
	before := fileRSS(t)
	forgetProgram()
	after := fileRSS(t)
	if after >= before {
		t.Errorf("%d kB of files mapped before, %d after", before, after)
	}
}

// fileRSS is how much of files is mapped, in kB.
func fileRSS(t *testing.T) int {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "RssFile:"); ok {
			n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(v), " kB"))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("no RssFile")
	return 0
}

// TestRestDue: memory is given back after the start, soon after a burst has
// ended, and now and then.
func TestRestDue(t *testing.T) {
	var r rest
	now := time.Unix(1e9, 0)
	for i, step := range []struct {
		after     time.Duration
		allocated uint64
		want      bool
	}{
		{restFirst, 50 << 20, true},              // the start
		{restFirst, 51 << 20, false},             // little
		{restFirst, 300 << 20, false},            // much, and not quiet
		{restFirst, 301 << 20, true},             // quiet again
		{restFirst, 302 << 20, false},            // given back already
		{restEvery, 302<<20 + 1, true},           // now and then
		{restFirst, 302<<20 + restMuch/2, false}, // not quiet
		{restFirst, 302<<20 + restMuch + 1, false},
		{restFirst, 302<<20 + restMuch + 2, true}, // much in two parts
	} {
		now = now.Add(step.after)
		if got := r.due(now, step.allocated, restQuiet); got != step.want {
			t.Errorf("step %d: due %v, want %v", i, got, step.want)
		}
	}
	const much = 4 * restQuiet * restQuietPart // of which more than quiet is little
	for i, want := range []bool{false, true, false, true, false} {
		now = now.Add(restFirst)
		if got := r.due(now, 1<<30+uint64(i)*restQuiet*3/2, much); got != want {
			t.Errorf("a large heap, step %d: due %v, want %v", i, got, want)
		}
	}
}
