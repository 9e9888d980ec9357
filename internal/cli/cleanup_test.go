package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
)

// TestCleanupWithoutDaemon: who cleans up a host whose daemon does not run has
// it done by the program itself, but never for a daemon elsewhere.
func TestCleanupWithoutDaemon(t *testing.T) {
	t.Setenv("SEXTANT_SERVER", "")
	away := filepath.Join(t.TempDir(), "api.sock")
	for _, tc := range []struct {
		args   string
		answer string
		dirs   string // what the program was called with; empty: it was not
		want   string
		code   int
	}{
		{"--server unix://" + away, `{"removed":3,"failed":0}`, "|" + filepath.Dir(away), "everything of Sextant's is removed", 0},
		{"--server unix://" + away + " --state-dir /s --run-dir /r", `{"removed":3,"failed":0}`, "/s|/r", "everything", 0},
		{"--server unix://" + away + " -o json", `{"removed":3,"failed":0}`, "|" + filepath.Dir(away), `"removed": 3`, 0},
		{"--server unix://" + away, `{"removed":3,"failed":2,"why":"link sx-w: busy"}`, "|" + filepath.Dir(away),
			"sextant: cleanup: 2 objects cannot be removed: link sx-w: busy; mend that and try again", 1},
		{"--server unix://" + away + " --host other", "", "", "the daemon is not running", 1},
		{"--server http://[::1]:1", "", "", "cannot be reached", 1},
	} {
		called := ""
		var out bytes.Buffer
		cmd := Command(Config{Stdout: &out, Stderr: &out, Cleanup: func(_ context.Context, stateDir, runDir string) (json.RawMessage, error) {
			called = stateDir + "|" + runDir
			return json.RawMessage(tc.answer), nil
		}})
		cmd.SetArgs(append([]string{"cleanup"}, strings.Fields(tc.args)...))
		code := Fail(&out, cmd.ExecuteContext(t.Context()))
		if code != tc.code || called != tc.dirs || !strings.Contains(out.String(), tc.want) {
			t.Errorf("cleanup %s: code %d, called with %q, said %q; want %d, %q, %q", tc.args, code, called, out.String(), tc.code, tc.dirs, tc.want)
		}
	}
}
