package cli

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// FuzzYAMLString: every string comes back.
func FuzzYAMLString(f *testing.F) {
	for _, s := range []string{"a: b", "x\ny", "0x1f", "12:30:45", "a #b", "é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		in, err := json.Marshal(map[string]any{"a": s, "l": []string{s}})
		if err != nil || !utf8.ValidString(s) {
			return
		}
		text, err := toYAML(in)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		out, err := fromYAML(text)
		if err != nil {
			t.Fatalf("%q: %q: %v", s, text, err)
		}
		var a, b any
		if json.Unmarshal(in, &a) != nil || json.Unmarshal(out, &b) != nil || !cmp.Equal(a, b) {
			t.Errorf("%q became %q, then %s", s, text, out)
		}
	})
}

// TestYAMLRoundTrip: what show prints, edit reads as the same, whatever a
// string looks like; and nothing of it moves a terminal's cursor.
func TestYAMLRoundTrip(t *testing.T) {
	for _, s := range []string{
		"52:54:00:12:34:56", "0x1f", "1e3", "on", "~", "null", "2001:db8::1", "1:20", "- a", "*x", "@a", "%a", "a: b", "a #b",
		" x ", "", "x\ny", "evil\x1b[2J", "\u009b2J", "'", `"`, "2026-01-02T03:04:05Z", "12h", "1_000", ".5", "=", "<<", "!x", "{", "|",
		"tab\there", "x\r", "é", "\u2028",
	} {
		in, err := json.Marshal(map[string]any{"a": s, "n": json.Number("18446744073709551615"), "l": []string{s},
			"o": []any{map[string]any{"x": s, s: 1, "e": map[string]any{}, "le": []any{}, "deep": map[string]any{"l": []any{map[string]any{"k": s}, 7}}}, nil, true},
			"z": map[string]any{"y": s},
		})
		if err != nil {
			t.Fatal(err)
		}
		text, err := toYAML(in)
		if err != nil {
			t.Errorf("%q: %v", s, err)
			continue
		}
		if bytes.ContainsAny(text, "\x1b\u009b\r") {
			t.Errorf("%q is printed as %q", s, text)
		}
		out, err := fromYAML(text)
		if err != nil {
			t.Errorf("%q: %q: %v", s, text, err)
			continue
		}
		a, err1 := decode(in)
		b, err2 := decode(out)
		if diff := cmp.Diff(a, b); diff != "" || err1 != nil || err2 != nil {
			t.Errorf("%q became %q: %s %v %v", s, text, diff, err1, err2)
		}
	}
}
