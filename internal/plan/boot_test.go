package plan_test

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// TestBootReach runs the printed plan of two networks, of which one has boot
// files, in a host of its own, and lets packets judge who reaches the port of
// TFTP and hears the answer from another port.
func TestBootReach(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "ip", "nft", "bash", "sysctl")
	host, a, b := netnstest.New(t, "host"), netnstest.New(t, "a"), netnstest.New(t, "b")
	w := newWorld()
	clear(w.f.Links)
	w.f.Uplink4, w.f.Uplink6 = "", ""
	w.f.Features[vnet.FeatureForceForwarding] = false
	gates := map[*netnstest.NS][2]string{a: {"10.0.0.1", "2001:db8:a::1"}, b: {"10.0.1.1", "2001:db8:b::1"}}
	for i, ns := range []*netnstest.NS{a, b} {
		n := w.network([]string{"pxe", "web"}[i], vnet.EgressNAT, vnet.EgressRouted, func(n *vnet.Network) {
			if ns == a {
				n.Boot.Root = "/srv/tftp"
			}
		})
		w.subnet(n, fmt.Sprintf("10.0.%d.0/24", i), vnet.GuestsManual)
		w.subnet(n, fmt.Sprintf("2001:db8:%x::/64", 10+i), vnet.GuestsManual)
		p := w.port(ns.Name, n, vnet.Binding{Plug: vnet.PlugVeth, Netns: ns.Name, Device: "eth0"})
		w.s.Delete(vnet.Ref{Kind: vnet.KindPort, ID: p.ID})
		p.ID, p.MAC[5] = vnet.ID(fmt.Sprintf("%08x", i+1)), byte(i+1)
		w.s.Put(p)
	}
	script := plan.Make(w.s, w.f).String()
	if out, err := host.Command("bash", "-e", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("the printed plan does not run: %v\n%s\n%s", err, out, script)
	}
	for i, ns := range []*netnstest.NS{a, b} {
		ns.Run("ip", "addr", "add", fmt.Sprintf("10.0.%d.9/24", i), "dev", "eth0")
		ns.Run("ip", "addr", "add", fmt.Sprintf("2001:db8:%x::9/64", 10+i), "dev", "eth0", "nodad")
		ns.Run("ip", "route", "add", "default", "via", gates[ns][0])
		ns.Run("ip", "-6", "route", "add", "default", "via", gates[ns][1])
	}
	var all sync.WaitGroup
	for i := range 2 {
		for _, gate := range []string{gates[a][i], gates[b][i]} {
			for _, port := range []uint16{69, 70} {
				serveElsewhere(t, host, netip.AddrPortFrom(netip.MustParseAddr(gate), port))
			}
		}
		for _, tc := range []struct {
			what string
			from *netnstest.NS
			gate string
			port uint16
			want bool
		}{
			{"boot files", a, gates[a][i], 69, true},
			{"another port", a, gates[a][i], 70, false},
			{"a network without boot files", b, gates[b][i], 69, false},
			{"another network's boot files", b, gates[a][i], 69, false},
			{"another network's gateway", a, gates[b][i], 69, false},
		} {
			to := netip.AddrPortFrom(netip.MustParseAddr(tc.gate), tc.port)
			all.Go(func() {
				if err := ask(tc.from, to, tc.want); (err == nil) != tc.want {
					t.Errorf("%s at %v: %v, want %v", tc.what, to, err, tc.want)
				}
			})
		}
	}
	all.Wait()
}

// serveElsewhere answers twice from another port, as TFTP does: the second time
// when it has heard from the client there.
func serveElsewhere(t *testing.T, ns *netnstest.NS, at netip.AddrPort) {
	t.Helper()
	var well, other *net.UDPConn
	err := ns.Do(func() (err error) {
		if well, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)); err == nil {
			other, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at.Addr(), 0)))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { well.Close(); other.Close() })
	for _, c := range []*net.UDPConn{well, other} {
		go func() {
			for buf := make([]byte, 16); ; {
				_, from, err := c.ReadFromUDPAddrPort(buf)
				if err != nil {
					return
				}
				_, _ = other.WriteToUDPAddrPort([]byte("hello"), from)
			}
		}()
	}
}

// ask is a client of serveElsewhere: it goes on where it is answered from.
func ask(from *netnstest.NS, to netip.AddrPort, want bool) error {
	limit := shutLimit
	if want {
		limit = openLimit
	}
	return from.Do(func() error {
		c, err := net.ListenUDP("udp", nil)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(limit))
		well, buf := to, make([]byte, 16)
		for range 2 {
			if _, err := c.WriteToUDPAddrPort([]byte("hello"), to); err != nil {
				return err
			}
			if _, to, err = c.ReadFromUDPAddrPort(buf); err != nil {
				return err
			}
		}
		if to == well {
			return fmt.Errorf("answered from %v itself", well)
		}
		return nil
	})
}
