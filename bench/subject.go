package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/sextant-net/sextant/lab/topo"
)

// subject is a program that makes networks.
type subject interface {
	name() string
	// start starts the program on the node and waits until it answers.
	start(ctx context.Context, n *topo.Node) error
	// networks makes and starts the networks numbered from 0.
	networks(ctx context.Context, n *topo.Node, count int) error
	// bridge is the device of a network.
	bridge(i int) string
}

// gateway6 and gateway4 are the addresses of network i: the same for all
// subjects.
func gateway4(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}), 24)
}

func gateway6(i int) netip.Prefix {
	a := [16]byte{0xfd, 0x5e, 0xc7, 0, 0, 1, byte(i >> 8), byte(i)}
	a[15] = 1
	return netip.PrefixFrom(netip.AddrFrom16(a), 64)
}

// sextant is the program under test.
type sextant struct {
	bin  string
	host *topo.Proc
	node *topo.Node
}

func (s *sextant) name() string { return "sextant" }

func (s *sextant) bridge(i int) string { return fmt.Sprintf("bench%d", i) }

func (s *sextant) start(ctx context.Context, n *topo.Node) error {
	n.Env = append(n.Env, "PATH="+s.bin+":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	s.node = n
	var err error
	s.host, err = n.Start("sextant", "sextant", "serve", "--host=bench", "--state-dir="+n.Dir()+"/state", "--no-default-network")
	if err != nil {
		return err
	}
	return topo.Until(ctx, 60*time.Second, "sextant status", func(ctx context.Context) error {
		_, err := n.Run(ctx, "sextant", "status")
		return err
	})
}

// networks uses the command line as an operator's script would, but does not
// wait for each: what is measured is when all of them answer.
func (s *sextant) networks(ctx context.Context, n *topo.Node, count int) error {
	var script strings.Builder
	for i := range count {
		fmt.Fprintf(&script, "sextant network create n%d bridge=%s ipv4=nat ipv4.address=%s ipv6=nat66 ipv6.address=%s --no-wait >/dev/null\n",
			i, s.bridge(i), gateway4(i), gateway6(i))
	}
	return runScript(ctx, n, script.String())
}

// libvirt is libvirtd with its network driver, as Debian ships it, but without
// the seconds that its default of STP makes a new port wait.
type libvirt struct{}

func (l *libvirt) name() string { return "libvirtd" }

func (l *libvirt) bridge(i int) string { return fmt.Sprintf("virbr%d", i) }

func (l *libvirt) start(ctx context.Context, n *topo.Node) error {
	// Its state is in /var/lib, its sockets in /run, which is the node's own.
	_, err := n.Sh(ctx, `mkdir -p /run/libvirt "$0/lib" 2>/dev/null || true
mount -t tmpfs tmpfs /var/lib/libvirt
mkdir -p /var/lib/libvirt/dnsmasq /var/lib/libvirt/network
rm -rf /etc/libvirt/qemu/networks
mkdir -p /etc/libvirt/qemu/networks/autostart`)
	if err != nil {
		return err
	}
	if _, err := n.Start("libvirtd", "libvirtd"); err != nil {
		return err
	}
	return topo.Until(ctx, 60*time.Second, "virsh", func(ctx context.Context) error {
		_, err := n.Run(ctx, "virsh", "-q", "-c", "network:///system", "net-list")
		return err
	})
}

func (l *libvirt) networks(ctx context.Context, n *topo.Node, count int) error {
	var script strings.Builder
	for i := range count {
		fmt.Fprintf(&script, `cat >/run/net.xml <<'X'
<network><name>n%d</name><forward mode='nat'><nat ipv6='yes'/></forward><bridge name='%s' stp='off' delay='0'/><domain name='n%d.internal'/>
<ip address='%s' prefix='24'><dhcp><range start='%s' end='%s'/></dhcp></ip>
<ip family='ipv6' address='%s' prefix='64'/></network>
X
virsh -q -c network:///system net-define /run/net.xml
virsh -q -c network:///system net-start n%d
`, i, l.bridge(i), i, gateway4(i).Addr(), offset(i, 10), offset(i, 200), gateway6(i).Addr(), i)
	}
	return runScript(ctx, n, script.String())
}

// offset is the host number k of network i's IPv4 prefix.
func offset(i int, k byte) netip.Addr {
	a := gateway4(i).Addr().As4()
	a[3] = k
	return netip.AddrFrom4(a)
}

// runScript runs a script that is too long for a command line.
func runScript(ctx context.Context, n *topo.Node, script string) error {
	if err := n.WriteFile(ctx, "/run/bench.sh", script); err != nil {
		return err
	}
	_, err := n.Run(ctx, "sh", "-e", "/run/bench.sh")
	return err
}
