package plan_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// egressRow is a row of the egress table: what a new TCP connection between two
// places does under a mode. "masq" and "plain" are let through, seen with the
// host's address and with the guest's own.
type egressRow struct {
	family  vnet.Family
	mode    vnet.Egress
	inbound vnet.Inbound

	out       string // guest -> outside: masq, plain, no
	in        bool   // outside -> guest
	toPeer    bool   // guest -> another network of the project
	fromPeer  bool
	toAlien   bool // guest -> a network of another project
	fromAlien bool
	host      bool // guest -> some service of the host
	echo      bool // guest -> gateway, echo
	among     bool // guest -> guest

	stock bool // also tried on a stock kernel, where time is short
}

// egressTable is the contract of product and manual, as packets feel it.
var egressTable = []egressRow{
	{family: 4, mode: vnet.EgressNAT, out: "masq", toPeer: true, fromPeer: true, echo: true, among: true, stock: true},
	{family: 4, mode: vnet.EgressNAT, inbound: vnet.InboundClosed, out: "masq", toPeer: true, echo: true, among: true},
	{family: 4, mode: vnet.EgressRouted, out: "plain", toPeer: true, fromPeer: true, echo: true, among: true, stock: true},
	{family: 4, mode: vnet.EgressRouted, inbound: vnet.InboundOpen, out: "plain", in: true, toPeer: true, fromPeer: true, fromAlien: true, echo: true, among: true},
	{family: 4, mode: vnet.EgressRouted, inbound: vnet.InboundClosed, out: "plain", toPeer: true, echo: true, among: true},
	{family: 4, mode: vnet.EgressIsolated, out: "no", echo: true, among: true},
	{family: 4, mode: vnet.EgressOpen, out: "plain", in: true, toPeer: true, fromPeer: true, fromAlien: true, host: true, echo: true, among: true},
	{family: 4, mode: vnet.EgressNone, out: "no"},
	{family: 6, mode: vnet.EgressNAT66, out: "masq", toPeer: true, fromPeer: true, echo: true, among: true, stock: true},
	{family: 6, mode: vnet.EgressULA, out: "no", toPeer: true, fromPeer: true, echo: true, among: true, stock: true},
	{family: 6, mode: vnet.EgressRouted, out: "plain", toPeer: true, fromPeer: true, echo: true, among: true, stock: true},
	{family: 6, mode: vnet.EgressRouted, inbound: vnet.InboundOpen, out: "plain", in: true, toPeer: true, fromPeer: true, fromAlien: true, echo: true, among: true},
	{family: 6, mode: vnet.EgressRouted, inbound: vnet.InboundClosed, out: "plain", toPeer: true, echo: true, among: true},
	{family: 6, mode: vnet.EgressIsolated, out: "no", echo: true, among: true},
	{family: 6, mode: vnet.EgressOpen, out: "plain", in: true, toPeer: true, fromPeer: true, fromAlien: true, host: true, echo: true, among: true},
	{family: 6, mode: vnet.EgressNone, out: "no", stock: true},
}

// TestEgressTable makes each row's network as an operator would, by running
// the printed plan in a host of its own, and lets packets judge.
func TestEgressTable(t *testing.T) {
	netnstest.AlsoVM(t)
	netnstest.NeedCommands(t, "ip", "nft", "bash", "sysctl", "ping")
	for _, row := range egressTable {
		if netnstest.InVM() && !row.stock {
			continue
		}
		name := fmt.Sprintf("%v-%s-%s", row.family, row.mode, row.inbound)
		t.Run(strings.TrimSuffix(name, "-"), func(t *testing.T) {
			t.Parallel()
			if row.family == vnet.IPv6 && row.mode == vnet.EgressNAT66 {
				t.Logf("ULA sources, masqueraded")
			}
			newEgressLab(t, row).judge(row)
		})
	}
}

// egressLab is a host with an uplink, a network under test (a) with two
// guests, a network of the same project (b) and one of another (c).
type egressLab struct {
	t                     *testing.T
	host, up, a, a2, b, c *netnstest.NS
	addr                  map[*netnstest.NS]netip.Addr
	gw                    netip.Addr
	hostOut               netip.Addr
}

// nets gives the prefixes of a, b, c, the uplink in a family.
func egressNets(f vnet.Family, mode vnet.Egress) [4]string {
	if f == vnet.IPv4 {
		return [4]string{"10.10.1", "10.10.2", "10.10.3", "203.0.113"}
	}
	if mode == vnet.EgressNAT66 || mode == vnet.EgressULA {
		return [4]string{"fd12:3456:789a:1:", "fd12:3456:789a:2:", "fd12:3456:789a:3:", "2001:db8:ffff:"}
	}
	return [4]string{"2001:db8:1:", "2001:db8:2:", "2001:db8:3:", "2001:db8:ffff:"}
}

func egressAddr(f vnet.Family, net string, host int) netip.Addr {
	if f == vnet.IPv4 {
		return netip.MustParseAddr(fmt.Sprintf("%s.%d", net, host))
	}
	return netip.MustParseAddr(fmt.Sprintf("%s:%x", net, host))
}

func newEgressLab(t *testing.T, row egressRow) *egressLab {
	l := &egressLab{t: t, addr: map[*netnstest.NS]netip.Addr{}}
	l.host, l.up = netnstest.New(t, "host"), netnstest.New(t, "up")
	l.a, l.a2, l.b, l.c = netnstest.New(t, "a"), netnstest.New(t, "a2"), netnstest.New(t, "b"), netnstest.New(t, "c")
	netnstest.Veth(l.host, "eth0", l.up, "eth0")
	nets := egressNets(row.family, row.mode)
	bits := 24
	if row.family == vnet.IPv6 {
		bits = 64
	}
	address := func(ns *netnstest.NS, dev, net string, host int) netip.Addr {
		a := egressAddr(row.family, net, host)
		args := []string{"addr", "add", fmt.Sprintf("%v/%d", a, bits), "dev", dev}
		if a.Is6() {
			args = append(args, "nodad")
		}
		ns.Run("ip", args...)
		l.addr[ns] = a
		return a
	}
	route := func(ns *netnstest.NS, dst string, via netip.Addr) {
		ns.Run("ip", fmt.Sprintf("-%d", row.family), "route", "add", dst, "via", via.String())
	}
	l.hostOut = address(l.host, "eth0", nets[3], 2)
	upAddr := address(l.up, "eth0", nets[3], 1)
	route(l.host, "default", upAddr)
	l.gw = egressAddr(row.family, nets[0], 1)

	w := newWorld()
	w.f.Links["eth0"] = plan.Link{Name: "eth0", MTU: 1500, Up: true}
	_, err := l.host.Try("test", "-e", "/proc/sys/net/ipv6/conf/eth0/force_forwarding")
	w.f.Features[vnet.FeatureForceForwarding] = err == nil
	delete(w.f.Links, "eth1")
	delete(w.f.Links, "br0")
	w.s.Put(&vnet.Project{Meta: vnet.Meta{ID: "p2", Name: "other"}})
	guest := func(ns *netnstest.NS, id string, project vnet.ID, net string, mode vnet.Egress, inbound vnet.Inbound, host int) {
		if w.s.Networks[vnet.ID(id)] == nil {
			n := w.network(id, vnet.EgressNone, vnet.EgressNone, func(n *vnet.Network) {
				n.Project = project
				n.Policy(row.family).Mode, n.Policy(row.family).Inbound = mode, inbound
			})
			w.subnet(n, fmt.Sprintf("%v/%d", netip.PrefixFrom(egressAddr(row.family, net, 1), bits).Masked().Addr(), bits), vnet.GuestsManual)
		}
		p := w.port(ns.Name, w.s.Networks[vnet.ID(id)], vnet.Binding{Plug: vnet.PlugVeth, Netns: ns.Name, Device: "eth0"})
		p.ID, p.MAC[5] = vnet.ID(fmt.Sprintf("%08x", len(w.s.Ports))), byte(len(w.s.Ports))
		w.s.Delete(vnet.Ref{Kind: vnet.KindPort, ID: vnet.ID(ns.Name)})
		w.s.Put(p)
	}
	middle := vnet.EgressNAT
	if row.family == vnet.IPv6 {
		middle = vnet.EgressNAT66
	}
	guest(l.a, "a", "p1", nets[0], row.mode, row.inbound, 10)
	guest(l.a2, "a", "p1", nets[0], row.mode, row.inbound, 11)
	guest(l.b, "b", "p1", nets[1], middle, "", 10)
	guest(l.c, "c", "p2", nets[2], middle, "", 10)

	script := plan.Make(w.s, w.f).String()
	cmd := l.host.Command("bash", "-e", "-c", script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the printed plan does not run: %v\n%s\n%s", err, out, script)
	}
	for i, ns := range []*netnstest.NS{l.a, l.a2, l.b, l.c} {
		net, host := nets[max(0, i-1)], 10
		if ns == l.a2 {
			host = 11
		}
		address(ns, "eth0", net, host)
		route(ns, "default", egressAddr(row.family, net, 1))
		if i != 1 {
			route(l.up, fmt.Sprintf("%v/%d", netip.PrefixFrom(egressAddr(row.family, net, 1), bits).Masked().Addr(), bits), l.hostOut)
		}
	}
	for _, ns := range []*netnstest.NS{l.host, l.up, l.a, l.a2, l.b, l.c} {
		l.listen(ns)
	}
	return l
}

const egressPort = 8080

// listen answers every connection with the address it came from.
func (l *egressLab) listen(ns *netnstest.NS) {
	err := ns.Do(func() error {
		ln, err := net.Listen("tcp", fmt.Sprintf(":%d", egressPort))
		if err != nil {
			return err
		}
		l.t.Cleanup(func() { ln.Close() })
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				ap := netip.MustParseAddrPort(c.RemoteAddr().String())
				io.WriteString(c, ap.Addr().Unmap().String())
				c.Close()
			}
		}()
		return nil
	})
	if err != nil {
		l.t.Fatal(err)
	}
}

// connect opens a connection and returns the address that the far side saw;
// invalid if there was no connection.
func connect(from *netnstest.NS, to netip.Addr, limit time.Duration) (netip.Addr, error) {
	var seen netip.Addr
	err := from.Do(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(to, egressPort).String())
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(limit))
		b, err := io.ReadAll(c)
		if err != nil {
			return err
		}
		seen, err = netip.ParseAddr(string(b))
		return err
	})
	return seen, err
}

// Allowed connections get long, and refused ones short: a slow machine must
// not make an open door look shut.
const (
	openLimit = 10 * time.Second
	shutLimit = 600 * time.Millisecond
)

func (l *egressLab) judge(row egressRow) {
	var all sync.WaitGroup
	check := func(what string, from *netnstest.NS, to netip.Addr, want bool, source string) {
		all.Go(func() {
			limit := shutLimit
			if want {
				limit = openLimit
			}
			seen, err := connect(from, to, limit)
			if (err == nil) != want {
				l.t.Errorf("%s (%v): let through %v, want %v (%v)", what, to, err == nil, want, err)
				return
			}
			var ne net.Error
			if err != nil && !errors.As(err, &ne) {
				l.t.Errorf("%s: %v", what, err)
			}
			if err == nil && source == "masq" && seen == l.addr[from] {
				l.t.Errorf("%s: seen as %v, want the host's address", what, seen)
			}
			if err == nil && source == "plain" && seen != l.addr[from] {
				l.t.Errorf("%s: seen as %v, want the guest's own %v", what, seen, l.addr[from])
			}
		})
	}
	check("guest -> outside", l.a, l.addr[l.up], row.out != "no", row.out)
	check("outside -> guest", l.up, l.addr[l.a], row.in, "")
	check("guest -> peer network", l.a, l.addr[l.b], row.toPeer, "plain")
	check("peer network -> guest", l.b, l.addr[l.a], row.fromPeer, "plain")
	check("guest -> other project", l.a, l.addr[l.c], row.toAlien, "")
	check("other project -> guest", l.c, l.addr[l.a], row.fromAlien, "")
	check("guest -> host's service", l.a, l.gw, row.host, "")
	check("guest -> host's outer address", l.a, l.hostOut, row.host, "")
	check("guest -> guest", l.a, l.addr[l.a2], row.among, "plain")
	all.Go(func() {
		args := []string{"ip", "netns", "exec", l.a.Name, "ping", "-c1", "-W1", l.gw.String()}
		if row.echo {
			args = append(args, "-c4", "-W4", "-i0.2")
		}
		err := exec.Command(args[0], args[1:]...).Run()
		if (err == nil) != row.echo {
			l.t.Errorf("echo to the gateway: %v, want %v", err == nil, row.echo)
		}
	})
	all.Wait()
}
