package attach_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sextant-net/sextant/internal/kernel/attach"
	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/netnstest"
)

// world is a host with a NIC, and the router and LAN that it is plugged into:
// IPv4 by hand, IPv6 from a real radvd.
type world struct {
	t      *testing.T
	host   *netnstest.NS
	router *netnstest.NS
	nic    string
	state  string
	set    *netns.Set
	radvd  *exec.Cmd
}

const (
	host4   = "192.0.2.10"
	router4 = "192.0.2.1"
	host6   = "2001:db8:1::10"
	router6 = "2001:db8:1::1"
)

func newWorld(t *testing.T, nic string) *world {
	t.Helper()
	netnstest.NeedCommands(t, "ip", "radvd", "ping", "sysctl")
	w := &world{t: t, host: netnstest.New(t, "atth"), router: netnstest.New(t, "attr"), nic: nic, state: t.TempDir()}
	w.router.Run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1", "net.ipv6.conf.default.accept_dad=0")
	w.host.Run("sysctl", "-qw", "net.ipv6.conf.default.router_solicitation_delay=0")
	netnstest.Veth(w.host, nic, w.router, "lan0")
	w.router.Run("ip", "address", "add", router4+"/24", "dev", "lan0")
	w.router.Run("ip", "address", "add", router6+"/64", "dev", "lan0", "nodad")
	w.router.Run("ip", "address", "add", "198.51.100.1/32", "dev", "lo")
	w.router.Run("ip", "address", "add", "2001:db8:ffff::1/128", "dev", "lo")
	w.host.Run("ip", "address", "add", host4+"/24", "dev", nic)
	w.host.Run("ip", "address", "add", host6+"/64", "dev", nic, "nodad")
	w.host.Run("ip", "route", "add", "default", "via", router4, "dev", nic, "metric", "100")
	dir := t.TempDir()
	conf := filepath.Join(dir, "radvd.conf")
	err := os.WriteFile(conf, []byte(`interface lan0 {
	AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 5;
	prefix 2001:db8:1::/64 { AdvValidLifetime 3600; AdvPreferredLifetime 1800; };
	route 2001:db8:77::/48 { AdvRouteLifetime 1200; };
};
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	w.host.Run("sysctl", "-qw", "net.ipv6.conf."+nic+".accept_ra_rt_info_max_plen=64")
	w.radvd = w.router.Start("radvd", "--nodaemon", "--logmethod=stderr", "--config="+conf, "--pidfile="+filepath.Join(dir, "pid"))
	netnstest.Eventually(t, 10*time.Second, "the host hears radvd", func() error {
		out, err := w.host.Try("ping", "-6", "-c1", "-W1", "2001:db8:ffff::1")
		now := w.host.Run("ip", "-6", "address")
		if err != nil || !strings.Contains(now, "mngtmpaddr") || strings.Contains(now, "tentative") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	w.set, err = netns.At(w.host.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.set.Close() })
	return w
}

// attach is a new process's view of the host.
func (w *world) attach(opt attach.Options) *attach.Host {
	w.t.Helper()
	if opt.Run == nil {
		opt.Run = fstest.MapFS{}
	}
	h, err := attach.New(w.set, w.state, opt)
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

// reaches fails the test unless the host reaches the outside in both families,
// and is reached.
func (w *world) reaches(when string) {
	w.t.Helper()
	for _, a := range []string{router4, "198.51.100.1", router6, "2001:db8:ffff::1"} {
		if out, err := w.host.Try("ping", "-c2", "-i0.2", "-W2", a); err != nil {
			w.t.Errorf("%s: the host does not reach %s:\n%s%s", when, a, out, w.look())
		}
	}
	for _, a := range []string{host4, host6} {
		if out, err := w.router.Try("ping", "-c1", "-W3", a); err != nil {
			w.t.Errorf("%s: %s is not reached:\n%s%s", when, a, out, w.look())
		}
	}
}

func (w *world) look() string {
	var b strings.Builder
	for _, args := range [][]string{{"address"}, {"route"}, {"-6", "route"}, {"rule"}, {"neigh"}} {
		out, _ := w.host.Try("ip", args...)
		fmt.Fprintf(&b, "# ip %s\n%s", strings.Join(args, " "), out)
	}
	return b.String()
}

// times are what changes by itself in what ip prints; numbers of links and
// whether they have a carrier do, too.
var times = regexp.MustCompile(`(expires|valid_lft|preferred_lft) \d+sec`)

// carried is what a link carries, as other people's tool shows it, with the
// link's name taken out.
func (w *world) carried(link string) string {
	var lines []string
	for _, args := range [][]string{
		{"-o", "address", "show", "dev", link}, {"route", "show", "table", "all", "dev", link},
		{"-6", "route", "show", "table", "all", "dev", link},
		{"neigh", "show", "dev", link, "nud", "permanent"}, {"neigh", "show", "proxy", "dev", link},
	} {
		for line := range strings.Lines(w.host.Run("ip", args...)) {
			line = times.ReplaceAllString(strings.TrimSpace(line), "$1 N")
			line = regexp.MustCompile(`^\d+: `).ReplaceAllString(line, "")
			line = strings.ReplaceAll(line, link, "LINK")
			line = strings.Join(strings.Fields(strings.ReplaceAll(line, `\`, " ")), " ")
			// What the kernel says of how a thing came to be is not the thing.
			for _, word := range []string{" linkdown", " proto kernel_ra", " proto kernel_ll", " proto ra", " proto boot", " proto kernel", " secondary", " nodad", " hoplimit 64"} {
				line = strings.ReplaceAll(line, word, "")
			}
			// Each advertisement gives the route to its prefix a lifetime, also
			// where an address that stays had taken it away (seen on 6.1).
			if strings.HasPrefix(line, "2001:db8:1::/64 ") {
				line = strings.ReplaceAll(line, " expires N", "")
			}
			if !strings.HasPrefix(line, "multicast ff00::/8") && !strings.HasPrefix(line, "anycast") {
				lines = append(lines, line)
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// talk opens a TCP connection from the host to the router and returns a
// function that fails the test unless it still works.
func (w *world) talk(to string) func(when string) {
	w.t.Helper()
	var l net.Listener
	err := w.router.Do(func() (err error) {
		l, err = net.Listen("tcp", net.JoinHostPort(to, "0"))
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		b := make([]byte, 100)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			if _, err := c.Write(b[:n]); err != nil {
				return
			}
		}
	}()
	var c net.Conn
	if err := w.host.Do(func() (err error) { c, err = net.Dial("tcp", l.Addr().String()); return err }); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return func(when string) {
		w.t.Helper()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		b := make([]byte, 5)
		if _, err := c.Write([]byte("hello")); err != nil {
			w.t.Errorf("%s: connection to %s: %v", when, to, err)
		} else if _, err := c.Read(b); err != nil || string(b) != "hello" {
			w.t.Errorf("%s: connection to %s: %q %v", when, to, b, err)
		}
	}
}

// pings sends an echo request every 100 ms until the function that it returns
// is called, which fails the test if more than most were lost.
func (w *world) pings(to string) func(most int) {
	w.t.Helper()
	out := filepath.Join(w.t.TempDir(), "ping")
	f, err := os.Create(out)
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := w.host.Command("ping", "-i0.1", "-n", to)
	cmd.Stdout, cmd.Stderr = f, f
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	return func(most int) {
		w.t.Helper()
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		f.Close()
		b, _ := os.ReadFile(out)
		m := regexp.MustCompile(`(\d+) packets transmitted, (\d+) received`).FindStringSubmatch(string(b))
		if m == nil {
			w.t.Fatalf("ping %s said:\n%s", to, b)
		}
		var sent, got int
		fmt.Sscan(m[1], &sent)
		fmt.Sscan(m[2], &got)
		w.t.Logf("ping %s: %d of %d lost", to, sent-got, sent)
		if sent-got > most {
			w.t.Errorf("ping %s lost %d of %d:\n%s", to, sent-got, sent, b)
		}
	}
}

func (w *world) share(h *attach.Host, until time.Time) {
	w.t.Helper()
	if err := h.Share(context.Background(), w.nic, until); err != nil {
		w.t.Fatalf("share: %v\n%s", err, w.look())
	}
}

func (w *world) bridge() string {
	w.t.Helper()
	var links []struct {
		Name  string `json:"ifname"`
		Alias string `json:"ifalias"`
	}
	if err := json.Unmarshal([]byte(w.host.Run("ip", "-j", "link", "show", "type", "bridge")), &links); err != nil {
		w.t.Fatal(err)
	}
	for _, l := range links {
		if l.Alias == "sextant-uplink:"+w.nic {
			return l.Name
		}
	}
	return ""
}
