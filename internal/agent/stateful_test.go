package agent_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/server/dhcp/dhcptest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// TestRenumberingStateful: guests that have addresses from DHCPv6 alone have
// one in a new prefix, with the same interface identifier: those that accept
// to be reconfigured at once, also by an agent that was away meanwhile, others
// when they renew.
func TestRenumberingStateful(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dhclient", "dhcpcd", "timeout")
	for name, tc := range map[string]struct {
		renew  time.Duration // 0: the default, much later than the test ends
		client func(t *testing.T, g *netnstest.NS, dev string)
		away   bool // the agent, while the prefix changes
	}{
		"told at once":    {0, reconfigured, false},
		"told at a start": {0, reconfigured, true},
		"at T1":           {3 * time.Second, renewing, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.provider("wan")
			h.store.Put(given("2001:db8:100::/56"))
			h.start()
			n, ref := h.network("web")
			n.DHCP.Renew = vnet.Duration(tc.renew)
			h.store.Put(n, &vnet.Subnet{Meta: vnet.Meta{ID: "web-6"}, Network: n.ID, Family: vnet.IPv6, Source: vnet.SourceULA,
				Prefix: netip.MustParsePrefix("fd12:3456:789a:1::/64"), Guests: vnet.GuestsStateful, Primary: true})
			h.await(ref, vnet.StateRunning)
			h.active("web", vnet.EgressDelegated)
			// dhcpcd has a file under /run by the name of the device.
			g, dev := netnstest.New(t, "g1"), fmt.Sprintf("s%d", os.Getpid())
			if tc.away {
				dev = fmt.Sprintf("a%d", os.Getpid())
			}
			port := &vnet.Port{Meta: vnet.Meta{ID: "g1", Name: "g1", Project: "p1"}, Network: n.ID, MAC: vnet.MAC{2, 0, 0, 0, 1, 1},
				Binding: &vnet.Binding{Host: "h1", Plug: vnet.PlugVeth, Netns: g.Path(), Device: dev}}
			h.store.Put(port)
			h.await(vnet.RefOf(port), vnet.StateRunning)
			in := func(prefix string) (found netip.Addr) {
				netnstest.Eventually(t, 20*time.Second, "an address in "+prefix, func() error {
					out := g.Run("ip", "-6", "-o", "addr", "show", "dev", dev, "scope", "global")
					for _, f := range strings.Fields(out) {
						if p, err := netip.ParsePrefix(f); err == nil && netip.MustParsePrefix(prefix).Contains(p.Addr()) {
							found = p.Addr()
							return nil
						}
					}
					return errors.New(out)
				})
				return found
			}
			netnstest.Eventually(t, 10*time.Second, "a link-local address", func() error {
				if out := g.Run("ip", "-6", "address", "show", "dev", dev, "scope", "link", "-tentative"); !strings.Contains(out, "fe80:") {
					return errors.New(out)
				}
				return nil
			})
			tc.client(t, g, dev)
			old := in("2001:db8:100:1::/64")
			if tc.away {
				h.stop()
			}
			h.store.Put(given("2001:db8:180::/56"))
			if tc.away {
				h.start()
			}
			if now := in("2001:db8:180:1::/64"); vnet.InterfaceID(now) != vnet.InterfaceID(old) {
				t.Errorf("%v took the place of %v, want the same interface identifier", now, old)
			}
			h.online()
		})
	}
}

// reconfigured runs a client that accepts to be reconfigured.
func reconfigured(t *testing.T, g *netnstest.NS, dev string) {
	dir := t.TempDir()
	conf, script := filepath.Join(dir, "conf"), filepath.Join(dir, "script")
	for name, text := range map[string]string{
		conf:   "ipv6only\nnoipv6rs\nia_na 1\nduid ll\noption rapid_commit\noption dhcp6_reconfigure_accept\n",
		script: "#!/bin/sh\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	client := g.Start("sh", "-c", `exec timeout 60 "$@" >`+dir+`/log 2>&1`, "sh", "dhcpcd", "-6", "-B", "-d", "-f", conf, "-c", script, dev)
	t.Cleanup(func() {
		_ = client.Process.Signal(syscall.SIGTERM)
		_ = client.Wait()
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Logf("dhcpcd: %s", log)
		}
	})
}

// renewing runs a client that knows nothing of being reconfigured.
func renewing(t *testing.T, g *netnstest.NS, dev string) {
	d := &dhcptest.Dhclient{T: t, Guest: g, Dir: t.TempDir(), Args: []string{"-6"},
		OnEvent: `[ -z "$new_ip6_address" ] || ip -6 addr replace "$new_ip6_address/128" dev "$interface"`}
	if out, err := d.Run(dev); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { d.Stop(dev) })
}
