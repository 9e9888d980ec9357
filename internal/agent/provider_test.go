package agent_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// provider is a network that delegates prefixes to the host, and routes them.
type provider struct {
	*netnstest.NS
	t    *testing.T
	link string // the host's
	dir  string
	kea  *exec.Cmd
}

// provider plugs the host into a provider by a link of that name. The host has
// an address of its own there and the default route.
func (h *host) provider(link string) *provider {
	h.t.Helper()
	netnstest.NeedCommands(h.t, "kea-dhcp6")
	p := &provider{NS: netnstest.New(h.t, "isp"), t: h.t, link: link, dir: h.t.TempDir()}
	p.Run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
	netnstest.Veth(h.ns, link, p.NS, "cust")
	p.ready("cust")
	p.Run("sh", "-c", `set -e
sysctl -qw net.ipv6.conf.all.forwarding=1
ip addr add 2001:db8:1::1/64 dev cust nodad
ip addr add 2001:db8:ffff::1/128 dev lo`)
	h.ns.Run("sh", "-c", fmt.Sprintf(`set -e
ip addr add 2001:db8:1::2/64 dev %[1]s nodad
ip -6 route replace default via 2001:db8:1::1 dev %[1]s`, link))
	return p
}

// ready waits for a link-local address to serve from.
func (p *provider) ready(link string) {
	p.t.Helper()
	netnstest.Eventually(p.t, 10*time.Second, "link-local address", func() error {
		if out := p.Run("ip", "-6", "address", "show", "dev", link, "scope", "link", "-tentative"); !strings.Contains(out, "fe80:") {
			return errors.New(out)
		}
		return nil
	})
}

// delegates runs Kea with a pool of prefixes; what ran before is killed, and
// forgets its leases.
func (p *provider) delegates(pool string, length int, options string) {
	p.t.Helper()
	p.silent()
	dir, err := os.MkdirTemp(p.dir, "kea")
	if err != nil {
		p.t.Fatal(err)
	}
	if options != "" {
		options = ", " + options
	}
	conf := fmt.Sprintf(`{"Dhcp6": {
		"interfaces-config": {"interfaces": ["cust"]},
		"lease-database": {"type": "memfile", "persist": false},
		"server-id": {"type": "EN", "enterprise-id": 32473, "identifier": "%x", "persist": false},
		"loggers": [{"name": "kea-dhcp6", "severity": "WARN", "output_options": [{"output": "stdout"}]}],
		"subnet6": [{"id": 1, "subnet": "2001:db8:1::/64", "interface": "cust",
			"pd-pools": [{"prefix": %q, "prefix-len": 40, "delegated-len": %d}]%s}]}}`, filepath.Base(dir), pool, length, options)
	path := filepath.Join(dir, "kea.json")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.Run("ip", "-6", "route", "replace", pool+"/40", "via", "2001:db8:1::2")
	p.kea = p.Start("env", "KEA_PIDFILE_DIR="+dir, "KEA_LOCKFILE_DIR="+dir, "kea-dhcp6", "-c", path)
	netnstest.Eventually(p.t, 15*time.Second, "DHCPv6 server", func() error {
		if out := p.Run("cat", "/proc/net/udp6"); !strings.Contains(out, ":0223 ") {
			return errors.New("nobody listens")
		}
		return nil
	})
}

// silent ends the server.
func (p *provider) silent() {
	if p.kea != nil {
		_ = p.kea.Process.Kill()
		_, _ = p.kea.Process.Wait()
	}
	p.kea = nil
}

// guest plugs a namespace into a network.
func (h *host) guest(name string, n *vnet.Network) *netnstest.NS {
	h.t.Helper()
	ns := netnstest.New(h.t, name)
	mac := vnet.MAC{2, 0, 0, 0, 1, byte(len(h.store.All(vnet.KindPort)) + 1)}
	port := &vnet.Port{Meta: vnet.Meta{ID: vnet.ID(name), Name: name, Project: "p1"}, Network: n.ID, MAC: mac,
		Binding: &vnet.Binding{Host: "h1", Plug: vnet.PlugVeth, Netns: ns.Path(), Device: "eth0"}}
	h.store.Put(port)
	h.await(vnet.RefOf(port), vnet.StateRunning)
	return ns
}

// has waits for an address of a guest in a prefix, and for whether it is
// preferred.
func has(t *testing.T, guest *netnstest.NS, prefix string, preferred bool) {
	t.Helper()
	netnstest.Eventually(t, 20*time.Second, fmt.Sprintf("address in %s, preferred %v", prefix, preferred), func() error {
		out := guest.Run("ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "global")
		for line := range strings.Lines(out) {
			if strings.Contains(line, " "+prefix) && !strings.Contains(line, "tentative") && strings.Contains(line, "deprecated") != preferred {
				return nil
			}
		}
		return errors.New(out)
	})
}

// address is a guest's in a prefix.
func address(t *testing.T, guest *netnstest.NS, prefix string) string {
	t.Helper()
	out := guest.Run("ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "global")
	for _, f := range strings.Fields(out) {
		if a, _, ok := strings.Cut(f, "/"); ok && strings.HasPrefix(a, prefix) {
			return a
		}
	}
	t.Fatalf("no address in %s: %s", prefix, out)
	return ""
}

// connect makes a TCP connection from a guest's address in a prefix to the
// provider, which echoes.
func (h *host) connect(p *provider, guest *netnstest.NS, prefix string) net.Conn {
	h.t.Helper()
	var l net.Listener
	err := p.Do(func() (err error) {
		l, err = net.Listen("tcp6", "[2001:db8:ffff::1]:7")
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	var conn net.Conn
	from := net.ParseIP(address(h.t, guest, prefix))
	err = guest.Do(func() (err error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: 5 * time.Second, FallbackDelay: -1}
		conn, err = d.Dial("tcp6", "[2001:db8:ffff::1]:7")
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	if err := talk(conn); err != nil {
		h.t.Fatal(err)
	}
	return conn
}

// talk sends a byte and waits for its echo.
func talk(c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := c.Write([]byte{1}); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

// uplink is how an uplink was reported, nil if it was not.
func (h *host) uplink(name string) *vnet.Uplink {
	host, _ := h.store.Observed("h1").(*vnet.Host)
	if host == nil {
		return nil
	}
	for i := range host.Facts.Uplinks {
		if host.Facts.Uplinks[i].Name == name {
			return &host.Facts.Uplinks[i]
		}
	}
	return nil
}

// events are the kinds of what was told.
func (h *host) events() []string {
	var out []string
	for _, e := range h.store.Events() {
		out = append(out, e.What)
	}
	return out
}

// reaches waits until a guest reaches the provider from an address in a prefix.
func reaches(t *testing.T, guest *netnstest.NS, prefix string) {
	t.Helper()
	has(t, guest, prefix, true)
	netnstest.Eventually(t, 10*time.Second, "the outside is reached from "+prefix, func() error {
		out := guest.Run("ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "global")
		for _, f := range strings.Fields(out) {
			if a, _, ok := strings.Cut(f, "/"); ok && strings.HasPrefix(a, prefix) {
				_, err := guest.Try("ping", "-6", "-c1", "-W1", "-I", a, "2001:db8:ffff::1")
				return err
			}
		}
		return errors.New("no address: " + out)
	})
}

// online asserts that the host itself reaches the outside.
func (h *host) online() {
	h.t.Helper()
	if out, err := h.ns.Try("ping", "-6", "-c1", "-W2", "2001:db8:ffff::1"); err != nil {
		h.t.Errorf("the host lost its IPv6: %v %s", err, out)
	}
}
