package daemon

import (
	"bufio"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
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
