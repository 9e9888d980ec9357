package clients

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/lab/topo"
)

// patience is how long anything may take on a loaded machine.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	flag.Parse()
	moreParallel()
	code := m.Run()
	if w, ok := made.Load().(*world); ok {
		if err := w.lab.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "the lab's end:", err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// moreParallel runs more tests at a time than there are processors, unless told
// otherwise: they mostly wait for clients.
func moreParallel() {
	told := false
	flag.Visit(func(f *flag.Flag) { told = told || f.Name == "test.parallel" })
	if !told {
		_ = flag.Set("test.parallel", strconv.Itoa(max(8, 4*runtime.GOMAXPROCS(0))))
	}
}

// world is a host with the daemon, shared by all tests.
type world struct {
	lab    *topo.Lab
	host   *topo.Host
	daemon *topo.Proc
	files  string // directory that every node sees, below the lab's

	networks atomic.Int64
	numbers  atomic.Int64 // of all else
}

var (
	made  atomic.Value // the *world, once there is one
	build = sync.OnceValues(newWorld)
)

// theWorld returns the world; the first test makes it.
func theWorld(t *testing.T) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("the lab is not for short runs")
	}
	netnstest.NeedRoot(t)
	netnstest.NeedCommands(t, "ip", "nft", "nsenter", "radvd", "dnsmasq")
	if _, err := os.Stat("../../bin/sextant"); err != nil {
		netnstest.Skip(t, "needs bin/sextant: run `make build`")
	}
	w, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func newWorld() (*world, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	lab, err := topo.New(fmt.Sprintf("sxt-cl%d-", os.Getpid()))
	if err != nil {
		return nil, err
	}
	w := &world{lab: lab, files: filepath.Join(lab.Dir, "files")}
	made.Store(w)
	// A copy: somebody may build while this runs.
	bin := filepath.Join(lab.Dir, "bin")
	built, err := os.ReadFile("../../bin/sextant")
	if err := errors.Join(err, os.Mkdir(bin, 0o755), os.Mkdir(w.files, 0o755),
		os.WriteFile(filepath.Join(bin, "sextant"), built, 0o755)); err != nil {
		return nil, err
	}
	peer := exec.Command("go", "build", "-o", filepath.Join(bin, "peer"), "../peer")
	peer.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := peer.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the lab's peer: %w: %s", err, out)
	}
	up, err := lab.Upstream(ctx, topo.UpstreamConfig{Peer: []string{filepath.Join(bin, "peer")}})
	if err != nil {
		return nil, err
	}
	if w.host, err = lab.Host(ctx, topo.HostConfig{Bin: bin}, up); err != nil {
		return nil, err
	}
	if w.daemon, err = w.host.Serve("--no-default-network"); err != nil {
		return nil, err
	}
	if err := w.host.Ready(ctx, w.daemon); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, w.host.Logs(40))
	}
	return w, nil
}

// sh runs a script on the host, which must succeed.
func (w *world) sh(t *testing.T, script string) string {
	t.Helper()
	return run(t, w.host.Node, script)
}

// run runs a script on a node, which must succeed in time.
func run(t *testing.T, n *topo.Node, script string) string {
	t.Helper()
	out, err := try(t, n, script)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// try runs a script on a node.
func try(t *testing.T, n *topo.Node, script string) (string, error) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return n.Sh(ctx, script)
}

// decode runs a command on the host that prints JSON.
func (w *world) decode(t *testing.T, v any, command string) {
	t.Helper()
	out := w.sh(t, command+" -o json")
	if err := json.Unmarshal([]byte(out), v); err != nil {
		t.Fatalf("%s: %v in %s", command, err, out)
	}
}

// number is one that nobody else gets; networks are counted apart.
func (w *world) number() int { return int(w.numbers.Add(1)) }

// eventually polls with patience.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	netnstest.Eventually(t, patience, what, f)
}

// contains runs a script until what it prints has all of the words.
func contains(t *testing.T, n *topo.Node, script string, words ...string) string {
	t.Helper()
	var out string
	eventually(t, fmt.Sprintf("%s# %s has %q", n.Name, script, words), func() (err error) {
		if out, err = try(t, n, script); err != nil {
			return err
		}
		return has(out, words...)
	})
	return out
}
