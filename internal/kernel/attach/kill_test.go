package attach_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sextant-net/sextant/internal/kernel/attach"
	"github.com/sextant-net/sextant/internal/kernel/netns"
)

// The environment of the process that is killed.
const (
	killNS    = "ATTACH_KILL_NS"
	killState = "ATTACH_KILL_STATE"
	killAt    = "ATTACH_KILL_AT"
	killBack  = "ATTACH_KILL_BACK"
)

// TestKilledProcess is the process that TestKill starts: it shares a NIC, or
// ends that, and kills itself after a step.
func TestKilledProcess(t *testing.T) {
	if os.Getenv(killNS) == "" {
		return // by itself there is nothing to test
	}
	set, err := netns.At(os.Getenv(killNS))
	if err != nil {
		t.Fatal(err)
	}
	h, err := attach.New(set, os.Getenv(killState), attach.Options{Run: fstest.MapFS{}, Step: func(step string) error {
		if step == os.Getenv(killAt) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv(killBack) != "" {
		err = h.Unshare("eth0", "")
	} else {
		err = h.Share(context.Background(), "eth0", time.Now().Add(time.Hour))
	}
	t.Fatal("not killed: ", err)
}

func (w *world) killed(at string, back bool) {
	w.t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledProcess$")
	cmd.Env = append(os.Environ(), killNS+"="+w.host.Path(), killState+"="+w.state, killAt+"="+at)
	if back {
		cmd.Env = append(cmd.Env, killBack+"=1")
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		w.t.Fatalf("%s: %v\n%s", at, err, out)
	}
}

// TestKill: killed after any step, there and back, the next process gives the
// NIC what it had; meanwhile the host's connections go on.
func TestKill(t *testing.T) {
	w := newWorld(t, "eth0")
	w.furnish()
	before := w.carried("eth0")
	tcp4, tcp6 := w.talk(router4), w.talk(router6)
	recovered := func(at string) {
		t.Helper()
		tcp4("killed at " + at)
		tcp6("killed at " + at)
		h := w.attach(attach.Options{})
		ended, err := h.Recover()
		if err != nil || len(ended) != 1 || ended[0].NIC != "eth0" {
			t.Fatalf("%s: %v %v\n%s", at, ended, err, w.look())
		}
		if d := cmp.Diff(before, w.carried("eth0")); d != "" {
			t.Errorf("%s: not as it was:\n%s", at, d)
		}
		if b := w.bridge(); b != "" {
			t.Errorf("%s: %s is still there", at, b)
		}
		if ended, err := h.Recover(); err != nil || len(ended) != 0 {
			t.Errorf("%s: a second time: %v %v", at, ended, err)
		}
		tcp4("recovered from " + at)
		tcp6("recovered from " + at)
	}
	for _, at := range []string{"recorded", "made", "up", "joined", "addresses", "routes", "rules", "stripped", "settled", "verified"} {
		w.killed(at, false)
		recovered(at)
	}
	for _, at := range []string{"returned", "bare", "left", "removed"} {
		w.share(w.attach(attach.Options{}), time.Time{})
		w.killed(at, true)
		recovered(at)
	}
	w.reaches("after all")
}
