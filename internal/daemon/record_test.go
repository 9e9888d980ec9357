package daemon

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseStartTime(t *testing.T) {
	const rest = " 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 1 1"
	for stat, want := range map[string]uint64{
		"42 (sextant) S" + rest:   4711,
		"42 (a) b (c)) R" + rest:  4711,
		"42 (sextant) Z" + rest:   0,
		"42 (sextant) S 1":        0,
		"":                        0,
		"42 (sextant) S" + " x x": 0,
	} {
		got, err := parseStartTime(stat)
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %d %v, want %d", stat, got, err, want)
		}
	}
}

func TestParseHolder(t *testing.T) {
	const locks = "1: POSIX  ADVISORY  WRITE 1 00:1b:7 0 EOF\n2: FLOCK  ADVISORY  WRITE 708 00:1b:7 0 EOF\n2: -> FLOCK\n"
	if got := parseHolder(bufio.NewScanner(strings.NewReader(locks)), "00:1b:7"); got != 708 {
		t.Error(got)
	}
	if got := parseHolder(bufio.NewScanner(strings.NewReader(locks)), "00:1b:8"); got != 0 {
		t.Error(got)
	}
}

func FuzzRecord(f *testing.F) {
	b, _ := json.Marshal(record{PID: 1, Start: 2, Exe: "x", Args: []string{"a"}})
	f.Add(b)
	f.Add([]byte("{"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "a.pid")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := readRecord(path); err == nil && r.PID <= 0 {
			t.Errorf("took %+v", r)
		}
	})
}
