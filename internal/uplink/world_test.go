package uplink

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/uplink/pd"
	"github.com/sextant-net/sextant/internal/vnet"
)

// world is a host with one uplink, and its provider.
type world struct {
	t          *testing.T
	prov, host *netnstest.NS
	dir        string
	link       Link
	*Links
	stopLinks func()

	mu      sync.Mutex
	ahead   time.Duration // of the test's clock
	setWall time.Duration // by which the wall clock was set
	notes   []string
	kept    map[string]*pd.Held
	trace   []string
	changes int
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, prov: netnstest.New(t, "prov"), host: netnstest.New(t, "host"), dir: t.TempDir(), kept: map[string]*pd.Held{}}
	for _, ns := range []*netnstest.NS{w.prov, w.host} {
		ns.Run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
	}
	netnstest.Veth(w.prov, "prov", w.host, "up0")
	w.prov.Run("ip", "address", "add", "2001:db8:1::1/64", "dev", "prov", "nodad")
	w.link = Link{Name: "up0", Up: true, Ask: true}
	netnstest.Eventually(t, 10*time.Second, "link-local address", func() error {
		if out := w.host.Run("ip", "-6", "address", "show", "dev", "up0"); !strings.Contains(out, "fe80:") {
			return fmt.Errorf("%q", out)
		}
		return nil
	})
	w.identify()
	return w
}

// identify reads which link it is now.
func (w *world) identify() {
	w.t.Helper()
	index, err := strconv.Atoi(strings.TrimSpace(w.host.Run("cat", "/sys/class/net/up0/ifindex")))
	if err != nil {
		w.t.Fatal(err)
	}
	mac, err := vnet.ParseMAC(strings.TrimSpace(w.host.Run("cat", "/sys/class/net/up0/address")))
	if err != nil {
		w.t.Fatal(err)
	}
	w.link.Index, w.link.MAC = index, mac
}

// clock is the system's, set ahead.
func (w *world) clock() pd.Instant {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := SystemClock()
	return pd.Instant{Wall: now.Wall.Add(w.ahead + w.setWall), Boot: now.Boot + w.ahead}
}

// freeze lets time pass without anybody noticing.
func (w *world) freeze(d time.Duration) {
	w.mu.Lock()
	w.ahead += d
	w.mu.Unlock()
	w.poke()
}

// terminate asks a server to end.
const terminate = unix.SIGTERM

// heardAgain has the router of the link advertise once more.
func (w *world) heardAgain() {
	w.t.Helper()
	at := w.Facts("up0").Routers[0].Until
	netnstest.Eventually(w.t, 20*time.Second, "another advertisement", func() error {
		w.Links.mu.Lock()
		w.links["up0"].solicit.begin(w.cfg.Clock().Boot - time.Hour)
		w.Links.mu.Unlock()
		w.poke()
		if r := w.Facts("up0").Routers; !r[0].Until.After(at) {
			return fmt.Errorf("%+v", r)
		}
		return nil
	})
}

// linkIndex is a link's in the calling thread's namespace.
func linkIndex(name string) (int, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req)
	return int(req.Uint32()), err
}

// Handle keeps what is logged of states.
func (w *world) Handle(_ context.Context, r slog.Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	line := r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.Key + "=" + a.Value.String(); return true })
	w.trace = append(w.trace, line)
	return nil
}

func (w *world) Enabled(context.Context, slog.Level) bool { return true }
func (w *world) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w *world) WithGroup(string) slog.Handler            { return w }

// start runs links that begin with what was kept.
func (w *world) start() {
	l := New(Config{
		DUID: []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 0x77}, Held: maps.Clone(w.kept),
		InNS: w.host.Do, Clock: w.clock, Log: slog.New(w),
	})
	w.Links = l
	l.Set([]Link{w.link})
	ctx, cancel := context.WithCancel(w.t.Context())
	var group sync.WaitGroup
	group.Go(func() { _ = l.Run(ctx) })
	group.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case c := <-l.Changed():
				w.took(l, c)
			}
		}
	})
	w.stopLinks = sync.OnceFunc(func() { cancel(); group.Wait() })
	w.t.Cleanup(func() {
		w.stopLinks()
		if w.t.Failed() {
			w.t.Logf("trace:\n%s\nnotes: %q", strings.Join(w.trace, "\n"), w.notes)
		}
	})
}

// took takes in what is told. Links ask for the time while they hold their own
// lock, so they are asked before ours is held.
func (w *world) took(l *Links, c Change) {
	held := map[string]*pd.Held{}
	for _, name := range c.Held {
		held[name] = l.Held(name)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changes++
	for _, n := range c.Notes {
		w.notes = append(w.notes, n.Link+": "+n.Text)
	}
	maps.Copy(w.kept, held)
}

// delegated waits until exactly that is delegated.
func (w *world) delegated(want string) {
	w.t.Helper()
	netnstest.Eventually(w.t, 30*time.Second, "delegation of "+want, func() error {
		var got []string
		for _, d := range w.Facts("up0").Delegations {
			got = append(got, d.Prefix.String())
		}
		if strings.Join(got, " ") != want {
			return fmt.Errorf("delegated: %q", got)
		}
		return nil
	})
}

// traced waits for a line of the log.
func (w *world) traced(what string) {
	w.t.Helper()
	netnstest.Eventually(w.t, 30*time.Second, "log "+what, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, l := range w.trace {
			if strings.Contains(l, what) {
				return nil
			}
		}
		return fmt.Errorf("not among %q", w.trace)
	})
}

func (w *world) noted(what string) {
	w.t.Helper()
	netnstest.Eventually(w.t, 30*time.Second, "note "+what, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !strings.Contains(strings.Join(w.notes, "\n"), what) {
			return fmt.Errorf("notes: %q", w.notes)
		}
		return nil
	})
}

// server is a delegating router's.
type server struct {
	*exec.Cmd
	t *testing.T
}

// end kills the server.
func (s *server) end() {
	_ = s.Process.Kill()
	_, _ = s.Process.Wait()
}

// served waits until a server listens.
func (w *world) served() {
	w.t.Helper()
	netnstest.Eventually(w.t, 15*time.Second, "DHCPv6 server", func() error {
		out, err := w.prov.Try("cat", "/proc/net/udp6")
		if err != nil || portHolders(out, serverPort) == 0 {
			return fmt.Errorf("nobody listens: %v", err)
		}
		return nil
	})
}

// kea runs Kea as delegating router with a pool, in a directory of its own.
// Options go into its subnet.
func (w *world) kea(name, pool string, options ...string) *server {
	w.t.Helper()
	netnstest.NeedCommands(w.t, "kea-dhcp6")
	dir := filepath.Join(w.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	pools := ""
	if pool != "" {
		pools = fmt.Sprintf(`"pd-pools": [{"prefix": %q, "prefix-len": 40, "delegated-len": 56}],`, pool)
	}
	conf := fmt.Sprintf(`{"Dhcp6": {
		"interfaces-config": {"interfaces": ["prov"]},
		"lease-database": {"type": "memfile", "persist": true, "name": %q, "lfc-interval": 0},
		"server-id": {"type": "EN", "enterprise-id": 32473, "identifier": "%x", "persist": false},
		"loggers": [{"name": "kea-dhcp6", "severity": "INFO", "output_options": [{"output": "stdout"}]}],
		"subnet6": [{"id": 1, "subnet": "2001:db8:1::/64", "interface": "prov", %s %s
			"pools": [{"pool": "2001:db8:1::1000-2001:db8:1::1fff"}]}]}}`,
		filepath.Join(dir, "leases"), name, pools, strings.Join(append(options, ""), ", "))
	path := filepath.Join(dir, "kea.json")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		w.t.Fatal(err)
	}
	cmd := w.prov.Start("env", "KEA_PIDFILE_DIR="+dir, "KEA_LOCKFILE_DIR="+dir, "kea-dhcp6", "-c", path)
	w.served()
	return &server{cmd, w.t}
}

// dhcpd runs ISC dhcpd as delegating router.
func (w *world) dhcpd(from, to, options string) *server {
	w.t.Helper()
	netnstest.NeedCommands(w.t, "dhcpd")
	dir := filepath.Join(w.dir, "dhcpd")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	conf, leases := filepath.Join(dir, "dhcpd.conf"), filepath.Join(dir, "leases")
	text := fmt.Sprintf("authoritative; default-lease-time 3600; preferred-lifetime 1800;\n%s\nsubnet6 2001:db8:1::/64 { prefix6 %s %s /56; }\n", options, from, to)
	for path, b := range map[string]string{conf: text, leases: ""} {
		if err := os.WriteFile(path, []byte(b), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	cmd := w.prov.Start("dhcpd", "-6", "-f", "-d", "--no-pid", "-user", "root", "-group", "root", "-cf", conf, "-lf", leases, "prov")
	w.served()
	return &server{cmd, w.t}
}

// radvd runs radvd with the text inside its interface's braces.
func (w *world) radvd(text string) *server {
	w.t.Helper()
	netnstest.NeedCommands(w.t, "radvd")
	w.prov.Run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
	conf := filepath.Join(w.dir, "radvd.conf")
	if err := os.WriteFile(conf, []byte("interface prov { AdvSendAdvert on; MinRtrAdvInterval 100; MaxRtrAdvInterval 200; "+text+" };\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return &server{w.prov.Start("radvd", "-n", "-m", "stderr", "-C", conf, "-p", filepath.Join(w.dir, "radvd.pid")), w.t}
}

// refusals records what the host refuses the provider: ICMPv6 destination
// unreachable.
func (w *world) refusals() (count func() string) {
	w.t.Helper()
	netnstest.NeedCommands(w.t, "tcpdump")
	path := filepath.Join(w.dir, "refusals")
	w.prov.Start("sh", "-c", `exec tcpdump -U -l -n -i prov 'icmp6 and ip6[40] == 1' >"$0" 2>"$0.err"`, path)
	netnstest.Eventually(w.t, 10*time.Second, "tcpdump", func() error {
		b, err := os.ReadFile(path + ".err")
		if !strings.Contains(string(b), "listening on") {
			return fmt.Errorf("%s %v", b, err)
		}
		return nil
	})
	return func() string {
		b, _ := os.ReadFile(path)
		return string(b)
	}
}
