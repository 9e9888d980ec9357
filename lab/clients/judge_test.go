package clients

import (
	"fmt"
	"os"
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
