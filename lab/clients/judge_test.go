package clients

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// has says which of the words the text lacks; words that begin with "!" must
// not be in it.
func has(text string, words ...string) error {
	for _, w := range words {
		if not, ok := strings.CutPrefix(w, "!"); ok && strings.Contains(text, not) {
			return fmt.Errorf("%q is in\n%s", not, text)
		} else if !ok && !strings.Contains(text, w) {
			return fmt.Errorf("no %q in\n%s", w, text)
		}
	}
	return nil
}

// check reports what the text lacks.
func check(t *testing.T, what, text string, words ...string) {
	t.Helper()
	if err := has(text, words...); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// writeFile writes a file that may be run.
func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// section is the part of the text from the first word to the next end after it.
func section(text, from, to string) string {
	i := strings.Index(text, from)
	if i < 0 {
		return ""
	}
	text = text[i:]
	if j := strings.Index(text, to); j >= 0 {
		text = text[:j]
	}
	return text
}

// squeeze writes single blanks for several.
func squeeze(text string) string { return strings.Join(strings.Fields(text), " ") }

func hex(n int) string { return strconv.FormatInt(int64(n), 16) }
