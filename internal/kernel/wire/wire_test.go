package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/kernel/wire"
	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// world is a bridge of a host with a guest and a router on it. The guest asks
// for no router by itself, and the router says nothing unasked for long.
type world struct {
	t                   *testing.T
	host, guest, router *netnstest.NS
	speaker             *wire.Speaker
	address             netip.Addr // the router's
	mac                 vnet.MAC
}

func newWorld(t *testing.T) *world {
	t.Helper()
	netnstest.NeedCommands(t, "ip", "radvd", "tcpdump", "sysctl")
	w := &world{t: t, host: netnstest.New(t, "wireh"), guest: netnstest.New(t, "wireg"), router: netnstest.New(t, "wirer")}
	w.guest.Run("sysctl", "-qw", "net.ipv6.conf.default.router_solicitations=0", "net.ipv6.conf.default.accept_dad=0")
	w.router.Run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1", "net.ipv6.conf.default.accept_dad=0")
	w.host.Run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
	w.host.Run("ip", "link", "add", "br0", "type", "bridge", "mcast_snooping", "0", "forward_delay", "0")
	w.host.Run("ip", "link", "set", "br0", "up")
	for name, ns := range map[string]*netnstest.NS{"guest": w.guest, "router": w.router} {
		netnstest.Veth(w.host, name, ns, "eth0")
		w.host.Run("ip", "link", "set", name, "master", "br0")
	}
	link := w.router.Run("ip", "-o", "link", "show", "dev", "eth0")
	_, text, _ := strings.Cut(link, "link/ether ")
	var err error
	if w.mac, err = vnet.ParseMAC(strings.Fields(text)[0]); err != nil {
		t.Fatal(err)
	}
	netnstest.Eventually(t, 10*time.Second, "the router has an address", func() error {
		out := w.router.Run("ip", "-6", "-o", "address", "show", "dev", "eth0", "scope", "link", "-tentative")
		for _, f := range strings.Fields(out) {
			if p, err := netip.ParsePrefix(f); err == nil {
				w.address = p.Addr()
				return nil
			}
		}
		return errors.New(out)
	})
	spaces, err := netns.At(w.host.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { spaces.Close() })
	w.speaker = wire.New(spaces)
	return w
}

// advertises runs radvd, which answers solicitations and says little else.
func (w *world) advertises() {
	w.t.Helper()
	dir := w.t.TempDir()
	conf := filepath.Join(dir, "radvd.conf")
	if err := os.WriteFile(conf, []byte(`interface eth0 {
	AdvSendAdvert on; MinRtrAdvInterval 900; MaxRtrAdvInterval 1200; MinDelayBetweenRAs 3; AdvDefaultLifetime 9000;
	prefix 2001:db8:1::/64 { };
};
`), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.router.Start("radvd", "--nodaemon", "--logmethod=stderr", "--config="+conf, "--pidfile="+filepath.Join(dir, "pid"))
}

// configured waits until the guest has, or has not, a default route and an
// address that it may use for what is new.
func (w *world) configured(want bool) {
	w.t.Helper()
	netnstest.Eventually(w.t, 20*time.Second, fmt.Sprintf("configured %v", want), func() error {
		out := w.guest.Run("ip", "-6", "route", "show", "default") + w.guest.Run("ip", "-6", "-o", "address", "show", "dev", "eth0", "scope", "global", "-deprecated")
		if strings.Contains(out, "default via "+w.address.String()) != want || strings.Contains(out, "2001:db8:1:") != want {
			return fmt.Errorf("the guest has\n%s", out)
		}
		return nil
	})
}

// heard is what tcpdump hears of ICMPv6 at the guest.
type heard struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (h *heard) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.out.Write(b)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.out.String()
}

// listen has tcpdump hear what comes to a namespace.
func (w *world) listen(ns *netnstest.NS) *heard {
	w.t.Helper()
	h, ready := &heard{}, &heard{}
	cmd := ns.Command("tcpdump", "-l", "-n", "-e", "-vvv", "-i", "eth0", "-Q", "in", "icmp6")
	cmd.Stdout, cmd.Stderr = h, ready
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	netnstest.Eventually(w.t, 10*time.Second, "tcpdump listens", func() error {
		if !strings.Contains(ready.String(), "listening on") {
			return errors.New(ready.String())
		}
		return nil
	})
	return h
}

// says waits until all of the words were heard, and returns all that was.
func (w *world) says(h *heard, words ...string) string {
	w.t.Helper()
	netnstest.Eventually(w.t, 10*time.Second, fmt.Sprintf("%q is heard", words), func() error {
		for _, word := range words {
			if !strings.Contains(h.String(), word) {
				return fmt.Errorf("no %q in\n%s", word, h)
			}
		}
		return nil
	})
	return h.String()
}

// TestSolicit: the router on a bridge answers everybody, so that a guest that
// asked for nothing is configured.
func TestSolicit(t *testing.T) {
	w := newWorld(t)
	w.advertises()
	atGuest, atRouter := w.listen(w.guest), w.listen(w.router)
	// radvd may not be there yet: a solicitation more changes nothing.
	netnstest.Eventually(t, 20*time.Second, "the router answers", func() error {
		if err := w.speaker.Solicit("br0"); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(atGuest.String(), "router advertisement") {
			return errors.New(atGuest.String())
		}
		return nil
	})
	w.configured(true)
	w.says(atGuest, w.address.String()+" > ff02::1: [icmp6 sum ok] ICMP6, router advertisement")
	out := w.says(atRouter, "> 33:33:00:00:00:02", "hlim 255", ":: > ff02::2: [icmp6 sum ok] ICMP6, router solicitation")
	if strings.Contains(out, "source link-address") {
		t.Errorf("a solicitation without source names a link-layer address (RFC 4861 section 4.1):\n%s", out)
	}
}

// TestFarewell: a guest that cannot hear its router any more forgets it, and its
// prefixes are not for what is new; what would be refused is not said.
func TestFarewell(t *testing.T) {
	w := newWorld(t)
	w.advertises()
	netnstest.Eventually(t, 20*time.Second, "configured", func() error {
		if err := w.speaker.Solicit("br0"); err != nil {
			t.Fatal(err)
		}
		if out := w.guest.Run("ip", "-6", "route", "show", "default"); !strings.Contains(out, "default") {
			return errors.New("no default route")
		}
		return nil
	})
	w.configured(true)
	w.host.Run("ip", "link", "set", "router", "nomaster")
	w.configured(true) // nobody told it
	h := w.listen(w.guest)
	now := time.Now()
	prefix := func(p string, left time.Duration) vnet.HeardPrefix {
		return vnet.HeardPrefix{Prefix: netip.MustParsePrefix(p), OnLink: true, Autonomous: true, ValidUntil: now.Add(left)}
	}
	router := vnet.HeardRouter{Address: w.address, MAC: w.mac, Resolvers: []netip.Addr{netip.MustParseAddr("2001:db8:1::53")},
		Prefixes: []vnet.HeardPrefix{prefix("2001:db8:1::/64", 24*time.Hour), prefix("2001:db8:2::/64", 90*time.Second), prefix("2001:db8:3::/64", -time.Second), {}}}
	router.Prefixes[1].Autonomous = false
	if err := w.speaker.Farewell("br0", []vnet.HeardRouter{{Address: netip.MustParseAddr("192.0.2.1")}, {}, router}, now); err != nil {
		t.Fatal(err)
	}
	w.configured(false)
	out := w.says(h, w.mac.String()+" > 33:33:00:00:00:01", "hlim 255", w.address.String()+" > ff02::1: [icmp6 sum ok] ICMP6, router advertisement",
		"router lifetime 0s", "2001:db8:1::/64, Flags [onlink, auto], valid time 7200s, pref. time 0s",
		"2001:db8:2::/64, Flags [onlink], valid time 90s, pref. time 0s", "lifetime 0s, addr: 2001:db8:1::53")
	if strings.Contains(out, "2001:db8:3:") || strings.Count(out, "router advertisement") != 1 {
		t.Errorf("more was said:\n%s", out)
	}
	if out := w.guest.Run("ip", "-6", "-o", "address", "show", "dev", "eth0", "scope", "global"); !strings.Contains(out, "deprecated") {
		t.Errorf("the old address is gone, and with it connections:\n%s", out)
	}
	w.host.Run("ip", "link", "set", "router", "master", "br0")
	netnstest.Eventually(t, 20*time.Second, "the router is heard again", func() error {
		if err := w.speaker.Solicit("br0"); err != nil {
			t.Fatal(err)
		}
		if out := w.guest.Run("ip", "-6", "route", "show", "default"); !strings.Contains(out, "default") {
			return errors.New("no default route")
		}
		return nil
	})
	w.configured(true)
}

// TestFarewellUnknownMAC: of a router whose MAC nobody knows the bridge's own
// one stands in.
func TestFarewellUnknownMAC(t *testing.T) {
	w := newWorld(t)
	own := strings.TrimSpace(w.host.Run("cat", "/sys/class/net/br0/address"))
	h := w.listen(w.guest)
	if err := w.speaker.Farewell("br0", []vnet.HeardRouter{{Address: w.address}}, time.Now()); err != nil {
		t.Fatal(err)
	}
	w.says(h, own+" > 33:33:00:00:00:01", w.address.String()+" > ff02::1: [icmp6 sum ok] ICMP6, router advertisement", "router lifetime 0s")
}

// TestNoLink: a bridge that is gone is an error that names it.
func TestNoLink(t *testing.T) {
	w := newWorld(t)
	for _, err := range []error{w.speaker.Solicit("br7"), w.speaker.Farewell("br7", []vnet.HeardRouter{{Address: w.address}}, time.Now())} {
		if !vnet.Is(err, vnet.ErrHost) || !strings.Contains(err.Error(), "br7") {
			t.Errorf("%v", err)
		}
	}
}
