package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/lab/topo"
)

// host is a machine of its own with the program on its PATH.
type host struct {
	*topo.Node
	t   *testing.T
	ctx context.Context
	bin string
}

var hosts atomic.Int64

// newHost makes a machine that ends with the test.
func newHost(t *testing.T) *host {
	t.Helper()
	if testing.Short() {
		t.Skip("the lab is not for short runs")
	}
	netnstest.NeedRoot(t)
	netnstest.NeedCommands(t, "ip", "nft", "nsenter")
	built, err := os.ReadFile("../../bin/sextant")
	if err != nil {
		netnstest.Skip(t, "needs bin/sextant: run `make build`")
	}
	lab, err := topo.New(fmt.Sprintf("sxt-cli%d-%d-", os.Getpid(), hosts.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	t.Cleanup(func() {
		cancel()
		if t.Failed() {
			t.Log(lab.Logs(60))
		}
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	// A copy: the checkout may be where only its owner can read.
	bin := filepath.Join(lab.Dir, "bin")
	if err := errors.Join(os.Mkdir(bin, 0o755), os.WriteFile(filepath.Join(bin, "sextant"), built, 0o755)); err != nil {
		t.Fatal(err)
	}
	n, err := lab.Node("host")
	if err != nil {
		t.Fatal(err)
	}
	n.Env = append(n.Env, "PATH="+bin+":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "SEXTANT_SERVER=", "TZ=UTC")
	return &host{Node: n, t: t, ctx: ctx, bin: bin}
}

// serve starts the daemon, with the words before the command, and waits until
// it is ready.
func (h *host) serve(before ...string) *topo.Proc {
	h.t.Helper()
	p, err := h.Start("sextant", append(before, filepath.Join(h.bin, "sextant"), "serve", "--host=host", "--no-default-network", "--state-dir="+h.stateDir())...)
	if err != nil {
		h.t.Fatal(err)
	}
	h.ready()
	return p
}

func (h *host) stateDir() string { return filepath.Join(h.Dir(), "state") }

func (h *host) ready() {
	h.t.Helper()
	netnstest.Eventually(h.t, 30*time.Second, "sextant status", func() error {
		_, err := h.Run(h.ctx, "sextant", "status")
		return err
	})
}

// sh runs a script, which must succeed.
func (h *host) sh(script string) string {
	h.t.Helper()
	out, err := h.Sh(h.ctx, script)
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

// result is what came of a command.
type result struct {
	stdout, stderr string
	code           int
}

// run runs a command and keeps its outputs apart.
func (h *host) run(args ...string) result {
	h.t.Helper()
	full := append(h.Enter(), args...)
	cmd := exec.CommandContext(h.ctx, full[0], full[1:]...)
	cmd.Env = append(os.Environ(), h.Env...)
	cmd.Dir = "/"
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		h.t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// refused checks that a command failed as commands must: with the code, nothing
// on stdout, and one line on stderr that matches.
func (r result) refused(t *testing.T, code int, want string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d", r.code, code)
	}
	if r.stdout != "" {
		t.Errorf("stdout: %s", r.stdout)
	}
	if !strings.HasPrefix(r.stderr, "sextant: ") || strings.Count(r.stderr, "\n") != 1 || !strings.HasSuffix(r.stderr, "\n") {
		t.Errorf("stderr is not one line of ours: %q", r.stderr)
	}
	if !regexp.MustCompile(want).MatchString(r.stderr) {
		t.Errorf("stderr: %swant %s", r.stderr, want)
	}
	if len(r.stderr) > 400 {
		t.Errorf("stderr has %d characters", len(r.stderr))
	}
}

// state is everything that a refused command must leave as it is: what is
// wished, but for how often it was written (a plug that its host could not do
// is taken back), and the kernel, but for counters and
// whether links have a carrier yet.
func (h *host) state() string {
	h.t.Helper()
	return h.sh(`{ for noun in network subnet port reservation router pool; do sextant $noun list -A -o json; done
sextant project list -o json
ip -o link | sed 's/NO-CARRIER,//; s/,LOWER_UP//; s/ state [A-Z]* / /'; ip -o addr | sed 's/\(valid\|preferred\)_lft.*//'
ip netns list; nft list ruleset
} | grep -v -e '"\(revision\|generation\|updated\)":' -e ' expires '`)
}

// unchanged runs f and checks that state is as before.
func (h *host) unchanged(t *testing.T, f func()) {
	t.Helper()
	before := h.state()
	f()
	if after := h.state(); after != before {
		t.Errorf("something changed:\n%s", difference(before, after))
	}
}

// difference lists the lines that only one of two texts has.
func difference(before, after string) string {
	count := map[string]int{}
	for line := range strings.Lines(before) {
		count[line]--
	}
	for line := range strings.Lines(after) {
		count[line]++
	}
	var out []string
	for line, n := range count {
		switch {
		case n < 0:
			out = append(out, "- "+strings.TrimSpace(line))
		case n > 0:
			out = append(out, "+ "+strings.TrimSpace(line))
		}
	}
	slices.Sort(out)
	if more := len(out) - 60; more > 0 {
		out = append(out[:60], fmt.Sprintf("and %d lines more", more))
	}
	return strings.Join(out, "\n")
}

// socket is the path of the daemon's API as seen from the machine.
func (h *host) socket() string {
	mount, _ := strings.CutPrefix(h.Enter()[1], "--mount=")
	return filepath.Join(strings.TrimSuffix(mount, "/ns/mnt"), "root", "run/sextant/api.sock")
}

// http is a client of the daemon's API that knows nothing of Sextant.
func (h *host) http() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", h.socket())
		},
	}}
}

// pid is the number of one of the daemon's processes: serve, control, agent.
func (h *host) pid(name string) int {
	h.t.Helper()
	text := h.sh("cat /run/sextant/" + name + ".pid")
	var r struct{ PID int }
	if err := json.Unmarshal([]byte(text), &r); err != nil || r.PID == 0 {
		h.t.Fatalf("%s.pid: %v in %q", name, err, text)
	}
	return r.PID
}
