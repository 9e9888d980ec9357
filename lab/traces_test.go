package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// TestTraces: a command that leaves a namespace, a process in it, one elsewhere
// and a file is told so by name, whether it succeeded or not; its own status
// goes before.
func TestTraces(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for what is left to end")
	}
	netnstest.NeedRoot(t)
	netnstest.NeedCommands(t, "ip", "setsid", "diff", "awk")
	for _, status := range []int{0, 3} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			name := fmt.Sprintf("sxt-traces-%d-%d", os.Getpid(), status)
			script := fmt.Sprintf(`ip netns add %[1]s
setsid --fork ip netns exec %[1]s env -i sleep 0%[2]d7771 >/dev/null 2>&1
setsid --fork sleep 0%[2]d7772 >/dev/null 2>&1
: >/tmp/%[1]s
exit %[2]d`, name, status)
			t.Cleanup(func() {
				_ = exec.Command("sh", "-c", "kill $(ip netns pids "+name+"); ip netns delete "+name+"; rm -f /tmp/"+name).Run()
			})
			out, err := exec.Command("../scripts/traces.sh", "sh", "-c", script).CombinedOutput()
			var exit *exec.ExitError
			if want := max(status, 1); !errors.As(err, &exit) || exit.ExitCode() != want {
				t.Errorf("%v, want exit status %d", err, want)
			}
			for _, want := range []string{"> namespace " + name, fmt.Sprintf("sleep 0%d7771", status), fmt.Sprintf("sleep 0%d7772", status), "> file /tmp/" + name} {
				if !strings.Contains(string(out), want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
			end(t, string(out), fmt.Sprintf("sleep 0%d7772", status))
		})
	}
}

// end ends the process with that command line, which the report names.
func end(t *testing.T, report, command string) {
	t.Helper()
	for line := range strings.Lines(report) {
		if f := strings.Fields(line); len(f) > 3 && f[1] == "process" && strings.Join(f[3:], " ") == command {
			if out, err := exec.Command("kill", f[2]).CombinedOutput(); err != nil {
				t.Errorf("%v %s", err, out)
			}
		}
	}
}
