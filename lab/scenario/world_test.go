package scenario

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
// told otherwise: they mostly wait for clients.
func moreParallel() {
	told := false
	flag.Visit(func(f *flag.Flag) { told = told || f.Name == "test.parallel" })
	if !told {
		_ = flag.Set("test.parallel", strconv.Itoa(max(3, runtime.GOMAXPROCS(0)+1)))
	}
}

// world is an upstream, a host and, once serve was called, a daemon.
type world struct {
	t      *testing.T
	ctx    context.Context
	lab    *topo.Lab
	up     *topo.Upstream
	host   *topo.Host
	daemon *topo.Proc
	flags  []string
}

var worlds atomic.Int64

// newWorld makes upstream and host. It ends with the test and takes at most
// the time, times ten on an emulated machine.
func newWorld(t *testing.T, limit time.Duration, c topo.HostConfig) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("the lab is not for short runs")
	}
	netnstest.NeedRoot(t)
	netnstest.NeedCommands(t, "ip", "nft", "nsenter", "radvd", "dnsmasq", "dig", "nc", "dhclient")
	var err error
	if c.Bin, err = filepath.Abs("../../bin"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(c.Bin, "sextant")); err != nil {
		netnstest.Skip(t, "needs bin/sextant: run `make build`")
	}
	if netnstest.InVM() {
		limit *= 10
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	w := &world{t: t, ctx: ctx}
	w.lab, err = topo.New(fmt.Sprintf("sxt-sc%d-%d-", os.Getpid(), worlds.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if t.Failed() {
			t.Log(w.lab.Logs(60))
		}
		if err := w.lab.Close(); err != nil {
			t.Error(err)
		}
	})
	w.up, err = w.lab.Upstream(ctx, topo.UpstreamConfig{NoIPv4: c.NoIPv4, NoIPv6: c.NoIPv6, Peer: []string{peerBinary}})
	if err != nil {
		t.Fatal(err)
	}
	if w.host, err = w.lab.Host(ctx, c, w.up); err != nil {
		t.Fatal(err)
	}
	return w
}

// serve starts the daemon and waits until it is ready.
func (w *world) serve(flags ...string) {
	w.t.Helper()
	w.flags = flags
	var err error
	if w.daemon, err = w.host.Serve(flags...); err != nil {
		w.t.Fatal(err)
	}
	if err := w.host.Ready(w.ctx, w.daemon); err != nil {
		w.t.Fatal(err)
	}
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
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// guest makes a node and plugs it into the network; dhclient gets it IPv4 and
// the kernel IPv6.
func (w *world) guest(name, network string) *topo.Node {
	w.t.Helper()
	n := w.plug(name, "network="+network)
	w.address4(n)
	w.eventually(30*time.Second, name+" has a global IPv6 address", func() error {
		_, err := n.Sh(w.ctx, "ip -6 -o addr show dev eth0 scope global -tentative | grep -q inet6 && ip -6 route show default | grep -q .")
		return err
	})
	return n
}

// plug makes a node and a port of that name for its eth0; more goes on the
// command line.
func (w *world) plug(name, more string) *topo.Node {
	w.t.Helper()
	n, err := w.lab.Node(name)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.host.Show(w.ctx, n); err != nil {
		w.t.Fatal(err)
	}
	w.sh(fmt.Sprintf("sextant port plug %s netns=%s device=eth0 %s", name, name, more))
	return n
}

// address4 has dhclient get the guest's IPv4. The client's own random delay at
// start is up to five seconds.
func (w *world) address4(n *topo.Node) {
	w.t.Helper()
	w.on(n, "mkdir -p /etc/dhcp; echo 'initial-delay 0;' >>/etc/dhcp/dhclient.conf; ip link set eth0 up; dhclient -4 -1 eth0")
}

func (w *world) eventually(limit time.Duration, what string, f func() error) {
	w.t.Helper()
	netnstest.Eventually(w.t, limit, what, f)
}

// answers tries until the guest reaches the upstream's server in both families.
func (w *world) answers(n *topo.Node) {
	w.t.Helper()
	for _, to := range []string{topo.Server4.String(), topo.Server6.String()} {
		w.eventually(10*time.Second, n.Name+" reaches "+to, func() error {
			_, err := n.Sh(w.ctx, "nc -w 3 "+to+" 80 </dev/null")
			return err
		})
	}
}

// settled tries until the guest has its addresses in the uplink's prefix, and the
// host a route for each: whoever compares the host with what it was waits for that.
func (w *world) settled(n *topo.Node) {
	w.t.Helper()
	within := topo.UpstreamLink6.Masked()
	w.eventually(15*time.Second, n.Name+"'s addresses in "+within.String()+" have routes", func() error {
		out, err := n.Sh(w.ctx, "ip -6 -o addr show dev eth0 scope global")
		if err != nil {
			return err
		}
		var has []netip.Addr
		for _, f := range strings.Fields(out) {
			if p, err := netip.ParsePrefix(f); err == nil && within.Contains(p.Addr()) {
				has = append(has, p.Addr())
			}
		}
		if len(has) == 0 || strings.Contains(out, "tentative") {
			return fmt.Errorf("it has\n%s", out)
		}
		for _, a := range has {
			if _, err := w.host.Sh(w.ctx, "ip -6 route show "+a.String()+"/128 proto 83 | grep -q . && nft list set inet sextant proxied6 | grep -q "+a.String()); err != nil {
				return fmt.Errorf("%v: %w", a, err)
			}
		}
		return nil
	})
}

// json runs a command on the host that prints JSON and decodes it.
func (w *world) json(v any, command string) {
	w.t.Helper()
	out := w.sh(command + " -o json")
	if err := json.Unmarshal([]byte(out), v); err != nil {
		w.t.Fatalf("%s: %v in %s", command, err, out)
	}
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

// kill ends one of the processes as a crash would.
func (w *world) kill(name string) {
	w.t.Helper()
	p, err := os.FindProcess(w.pid(name))
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		w.t.Fatalf("kill %s: %v", name, err)
	}
}

// bridge is the device of the network.
func (w *world) bridge(network string) string {
	w.t.Helper()
	var n struct{ Bridge string }
	w.json(&n, "sextant network show "+network)
	if n.Bridge == "" {
		w.t.Fatalf("network %s has no bridge", network)
	}
	return n.Bridge
}

// follow starts a program that prints what changes on the host, and returns a
// function that says what it printed since, without the lines that do not
// matter.
func (w *world) follow(name string, args ...string) func(ignore ...string) []string {
	w.t.Helper()
	if _, err := w.host.Start(name, args...); err != nil {
		w.t.Fatal(err)
	}
	file := filepath.Join(w.host.Dir(), name+".log")
	read := func() []string {
		text, err := os.ReadFile(file)
		if err != nil {
			w.t.Fatal(err)
		}
		return strings.Split(strings.TrimSpace(string(text)), "\n")
	}
	return func(ignore ...string) []string {
		var lines []string
	next:
		for _, line := range read() {
			for _, i := range append(ignore, "") {
				if i != "" && strings.Contains(line, i) || line == "" {
					continue next
				}
			}
			lines = append(lines, line)
		}
		return lines
	}
}

func itoa(n int) string { return strconv.Itoa(n) }
