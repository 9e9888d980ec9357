package translate

import (
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestConfig(t *testing.T) {
	w := Wish{Link: "sextant64", Prefix: netip.MustParsePrefix("fd12:3456:789a:fffe::/96"),
		Itself: netip.MustParseAddr("198.18.0.2"), Guests: netip.MustParsePrefix("198.18.32.0/19")}
	const want = `tun-device sextant64
ipv4-addr 198.18.0.2
prefix fd12:3456:789a:fffe::/96
dynamic-pool 198.18.32.0/19
data-dir /run/sextant/nat64
`
	if got := w.config("/run/sextant/nat64"); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestBackoff(t *testing.T) {
	var b backoff
	for i, step := range []struct{ ran, wait time.Duration }{
		{0, time.Second}, {time.Second, 2 * time.Second}, {0, 4 * time.Second}, {0, 8 * time.Second}, {0, 16 * time.Second},
		{0, 32 * time.Second}, {0, time.Minute}, {0, time.Minute}, {time.Minute, time.Second}, {0, 2 * time.Second},
	} {
		if got := b.after(step.ran); got != step.wait {
			t.Errorf("step %d: %v, want %v", i, got, step.wait)
		}
	}
}

func TestRecord(t *testing.T) {
	for _, r := range []record{{2, 0}, {4194304, 1<<64 - 1}} {
		if got, ok := parseRecord(r.String()); !ok || got != r {
			t.Errorf("%v became %v, %v", r, got, ok)
		}
	}
	for _, s := range []string{"", "1 5", "0 5", "-7 5", "7", "7 5 6", "7 -5", "7x 5", "99999999999 5"} {
		if r, ok := parseRecord(s); ok {
			t.Errorf("%q is read as %v", s, r)
		}
	}
}

func TestBegunAt(t *testing.T) {
	const rest = " 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21"
	for s, want := range map[string]uint64{
		"7 (tayga) S" + rest: 4711, "7 (a) b) c) R" + rest: 4711,
		"7 (tayga) Z" + rest: 0, "7 (tayga) X" + rest: 0, "7 tayga S" + rest: 0, "7 (tayga) S 1 2": 0, "": 0,
	} {
		if got, ok := begunAt(s); got != want || ok != (want > 0) {
			t.Errorf("%q: %d, %v, want %d", s, got, ok, want)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add("17 4711\n")
	f.Fuzz(func(t *testing.T, s string) {
		if r, ok := parseRecord(s); ok {
			if again, ok := parseRecord(r.String()); !ok || again != r || r.pid < 2 {
				t.Errorf("%q is read as %v, then %v", s, r, again)
			}
		}
	})
}

func TestLastOf(t *testing.T) {
	for s, want := range map[string]string{
		"": "", "one": "one", "one\ntwo \n\n": "two", "a\r\nb\x1b[31m\r\n": "b?[31m", "\xff": "?",
		strings.Repeat("x", 300): strings.Repeat("x", 200),
	} {
		if got := lastOf(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

// FuzzLastOf: what tayga says is shown to people.
func FuzzLastOf(f *testing.F) {
	f.Add("tayga: fatal: unable to open tun device: No such file or directory\n")
	f.Fuzz(func(t *testing.T, s string) {
		got := lastOf(s)
		if utf8.RuneCountInString(got) > 200 || !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q gives %q", s, got)
		}
	})
}

func FuzzBegunAt(f *testing.F) {
	f.Add("7 (tayga) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21")
	f.Fuzz(func(t *testing.T, s string) {
		if n, ok := begunAt(s); !ok && n != 0 {
			t.Errorf("%q: %d though it is not read", s, n)
		}
	})
}
