package uplink

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/lab/topo"
)

// patience is how long anything may take for which nothing better is promised.
const patience = 30 * time.Second

// peerBinary is the lab's peer, built once.
var peerBinary string

func TestMain(m *testing.M) {
	flag.Parse()
	moreParallel()
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "sxt-peer")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if netnstest.InVM() {
			peerBinary, err = filepath.Abs("../../bin/peer")
		} else {
			peerBinary = filepath.Join(dir, "peer")
			cmd := exec.Command("go", "build", "-o", peerBinary, "../peer")
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			cmd.Stderr = os.Stderr
			err = cmd.Run()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "build the lab's peer:", err)
			return 1
		}
		return m.Run()
	}())
}

// moreParallel runs more scenarios at a time than there are processors, unless
// told otherwise: they mostly wait for routers and clients.
func moreParallel() {
	told := false
	flag.Visit(func(f *flag.Flag) { told = told || f.Name == "test.parallel" })
	if !told {
		_ = flag.Set("test.parallel", strconv.Itoa(max(4, 2*runtime.GOMAXPROCS(0))))
	}
}

// world is a host, what it is plugged into and, once serve was called, a
// daemon.
type world struct {
	t      *testing.T
	ctx    context.Context
	lab    *topo.Lab
	host   *topo.Host
	daemon *topo.Proc
	flags  []string
	logs   int
}

var worlds atomic.Int64

// newWorld makes a host whose first uplink has that name. The world ends with
// the test and takes at most the time, times ten on an emulated machine.
func newWorld(t *testing.T, limit time.Duration, uplink string) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("the lab is not for short runs")
	}
	netnstest.NeedRoot(t)
	netnstest.NeedCommands(t, "ip", "nft", "nsenter", "radvd", "dnsmasq", "dig", "nc", "ping", "ss", "kea-dhcp6", "dhcpd", "rdisc6", "ndisc6")
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(bin, "sextant")); err != nil {
		netnstest.Skip(t, "needs bin/sextant: run `make build`")
	}
	if netnstest.InVM() {
		limit *= 10
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	w := &world{t: t, ctx: ctx}
	w.lab, err = topo.New(fmt.Sprintf("sxt-up%d-%d-", os.Getpid(), worlds.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(w.lab.Logs(60))
			if w.daemon != nil {
				out, _ := w.host.Sh(ctx, "for c in status 'network list -o yaml' 'uplink list -o yaml' 'prefix list' 'lease list' events; do timeout 5 sextant $c; done; ip -6 rule; ip -6 route show table all; ip -6 addr; for n in $(ls /run/netns); do echo $n; ip -n $n -6 addr; done")
				t.Log(out)
			}
		}
		cancel()
		if err := w.lab.Close(); err != nil {
			t.Error(err)
		}
	})
	if w.host, err = w.lab.Machine(topo.HostConfig{Uplink: uplink, Bin: bin}); err != nil {
		t.Fatal(err)
	}
	return w
}

// ok ends the test if something of the lab failed.
func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// serve starts the daemon and waits until it is ready.
func (w *world) serve(flags ...string) {
	w.t.Helper()
	w.flags = flags
	var err error
	w.daemon, err = w.host.Serve(flags...)
	w.ok(err)
	w.ok(w.host.Ready(w.ctx, w.daemon))
}

// sh runs a script on the host, which must succeed.
func (w *world) sh(script string) string {
	w.t.Helper()
	return w.on(w.host.Node, script)
}

// on runs a script on a node, which must succeed.
func (w *world) on(n *topo.Node, script string) string {
	w.t.Helper()
	out, err := n.Sh(w.ctx, script)
	w.ok(err)
	return out
}

func (w *world) eventually(limit time.Duration, what string, f func() error) {
	w.t.Helper()
	netnstest.Eventually(w.t, limit, what, f)
}

// json runs a command on the host that prints JSON and decodes it.
func (w *world) json(v any, command string) error {
	out, err := w.host.Sh(w.ctx, command+" -o json")
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), v); err != nil {
		return fmt.Errorf("%s: %w in %s", command, err, out)
	}
	return nil
}

// pid is the number of one of the daemon's processes: serve, control, agent.
func (w *world) pid(name string) int {
	w.t.Helper()
	text := w.sh("cat /run/sextant/" + name + ".pid")
	var r struct{ PID int }
	if err := json.Unmarshal([]byte(text), &r); err != nil || r.PID == 0 {
		w.t.Fatalf("%s.pid: %v in %q", name, err, text)
	}
	return r.PID
}

// kill ends all of the daemon's processes as a crash would.
func (w *world) kill() {
	w.t.Helper()
	for _, name := range []string{"serve", "agent", "control"} {
		p, err := os.FindProcess(w.pid(name))
		if err == nil {
			err = p.Kill()
		}
		w.ok(err)
	}
	_ = w.daemon.Wait(w.ctx)
}

// plug makes a node and a port of that name for its eth0, which is up.
func (w *world) plug(name, more string) *topo.Node {
	w.t.Helper()
	n, err := w.lab.Node(name)
	w.ok(err)
	w.ok(w.host.Show(w.ctx, n))
	w.sh(fmt.Sprintf("sextant port plug %s netns=%s device=eth0 %s", name, name, more))
	w.on(n, "ip link set eth0 up")
	return n
}

// guest plugs a node into a network and waits for its first address: what a
// kernel takes for that (RFC 4862 section 5.4.2, RFC 4861 section 6.3.7) is no
// matter of renumbering.
func (w *world) guest(name, network string) *topo.Node {
	w.t.Helper()
	n := w.plug(name, "network="+network)
	w.eventually(patience, name+" has an address", func() error {
		if len(w.own(n)) == 0 {
			return fmt.Errorf("none: %s", w.on(n, "ip -6 -o addr show dev eth0"))
		}
		return nil
	})
	return n
}

// address4 has dhclient get the guest's IPv4.
func (w *world) address4(n *topo.Node) {
	w.t.Helper()
	w.on(n, "mkdir -p /etc/dhcp; echo 'initial-delay 0;' >>/etc/dhcp/dhclient.conf; dhclient -4 -1 eth0")
}

// own are the guest's global addresses that it may use for what is new.
func (w *world) own(n *topo.Node) []netip.Addr {
	w.t.Helper()
	return addresses(w.on(n, "ip -6 -o addr show dev eth0 scope global -tentative -deprecated"))
}

func addresses(out string) []netip.Addr {
	var list []netip.Addr
	for f := range strings.FieldsSeq(out) {
		if p, err := netip.ParsePrefix(f); err == nil {
			list = append(list, p.Addr())
		}
	}
	return list
}

// in is the guest's address in a prefix; not valid if it has none.
func (w *world) in(n *topo.Node, p netip.Prefix) netip.Addr {
	w.t.Helper()
	for _, a := range w.own(n) {
		if p.Contains(a) {
			return a
		}
	}
	return netip.Addr{}
}

// prefix parses.
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }
