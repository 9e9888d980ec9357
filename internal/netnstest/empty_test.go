package netnstest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestLeftRunning: what a test leaves running in its namespace ends with it,
// also what has nobody any more, and the namespace is gone.
func TestLeftRunning(t *testing.T) {
	NeedCommands(t, "ip", "setsid")
	var pid, name string
	t.Run("leaves", func(t *testing.T) {
		ns := New(t, "left")
		name = ns.Name
		pid = strings.TrimSpace(ns.Run("setsid", "--fork", "sh", "-c", "echo $$; exec sleep 1000 >/dev/null 2>&1"))
		if out := ns.Run("ip", "netns", "pids", name); !strings.Contains(out, pid) {
			t.Fatalf("process %s is not in %s, only %s", pid, name, out)
		}
	})
	Eventually(t, 10*time.Second, "the process is gone", func() error {
		if stat, err := os.ReadFile("/proc/" + pid + "/stat"); err == nil && !strings.Contains(string(stat), ") Z") {
			return fmt.Errorf("%s", stat)
		}
		return nil
	})
	if out, err := exec.Command("ip", "netns", "list").CombinedOutput(); err != nil || strings.Contains(string(out), name) {
		t.Errorf("%v %s", err, out)
	}
}
