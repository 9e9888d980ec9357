package netnstest

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// emptyTime is how long the processes of a namespace may take to end once they
// are killed.
const emptyTime = 10 * time.Second

// empty ends every process that lives in a namespace: clients that became
// daemons, and what is to outlive who began it. Without its name nobody would
// find them any more. It looks again until none is left, since a supervisor may
// have started another one meanwhile.
func empty(name string) error {
	deadline := time.Now().Add(emptyTime)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		out, err := exec.Command("ip", "netns", "pids", name).Output()
		if err != nil {
			return fmt.Errorf("processes of namespace %s: %w", name, err)
		}
		left := 0
		for f := range strings.FieldsSeq(string(out)) {
			// The first thread of the test itself may have been left there by Do.
			if pid, err := strconv.Atoi(f); err == nil && pid != os.Getpid() {
				left++
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
		switch {
		case left == 0:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("namespace %s: processes %s do not end", name, strings.Join(strings.Fields(string(out)), " "))
		}
		<-tick.C
	}
}
