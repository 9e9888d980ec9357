package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/sextant-net/sextant/lab/topo"
	"github.com/sextant-net/sextant/lab/vm"
)

// routed is the prefix that the upstream sends to the host, for the second
// network.
var routed = netip.MustParsePrefix("2001:db8:5::/64")

// demo is one run.
type demo struct {
	options
	lab    *topo.Lab
	up     *topo.Upstream
	host   *topo.Host
	guests []*guest
	checks []check
	begun  time.Time
}

// step is a part of a demo.
type step struct {
	title string
	do    func(context.Context) error
}

// run makes the world step by step and judges it.
func (d *demo) run(ctx context.Context) error {
	steps := d.guestSteps()
	if d.uplink {
		steps = d.uplinkSteps()
	}
	for _, step := range steps {
		fmt.Fprintf(d.out, "\n--- %s\n", step.title)
		if err := step.do(ctx); err != nil {
			return err
		}
	}
	return d.report()
}

// guestSteps show what guests have.
func (d *demo) guestSteps() []step {
	return []step{
		{"An upstream router and a host behind it", d.world},
		{"The daemon", d.daemon},
		{"Guests on the network \"default\", which the daemon has made", d.plugDefault},
		{"A second network, with a prefix that is routed here", d.plugRouted},
		{"The guests get their addresses, each in its own way", d.addresses},
		{"What the guests really use", d.leases},
		{"Guest to guest, by name", d.checkGuests},
		{"Guest to upstream", d.checkUpstream},
		{"Names", d.checkNames},
		{"From upstream to guests", d.checkInbound},
	}
}

// sh prints the command as its user would see it, runs it on the node and
// prints what it printed.
func (d *demo) sh(ctx context.Context, n *topo.Node, command string) (string, error) {
	fmt.Fprintf(d.out, "%s# %s\n", n.Name, command)
	out, err := n.Sh(ctx, command)
	if out != "" {
		fmt.Fprintln(d.out, out)
	}
	return out, err
}

// quiet runs a command that is the lab's own business.
func (d *demo) quiet(ctx context.Context, n *topo.Node, command string) error {
	_, err := n.Sh(ctx, command)
	return err
}

// buildPeer builds the lab's peer unless it is there.
func (d *demo) buildPeer(ctx context.Context) error {
	if d.peer != "" {
		return nil
	}
	d.peer = filepath.Join(d.lab.Dir, "peer")
	build := exec.CommandContext(ctx, "go", "build", "-o", d.peer, "github.com/sextant-net/sextant/lab/peer")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the lab's peer: %w: %s", err, out)
	}
	return nil
}

func (d *demo) world(ctx context.Context) error {
	if err := d.buildPeer(ctx); err != nil {
		return err
	}
	var err error
	d.up, err = d.lab.Upstream(ctx, topo.UpstreamConfig{NoIPv4: d.noIPv4, Peer: []string{d.peer}})
	if err != nil {
		return err
	}
	d.host, err = d.lab.Host(ctx, topo.HostConfig{NoIPv4: d.noIPv4, Bin: d.bin}, d.up)
	if err != nil {
		return err
	}
	if err := d.up.Route(ctx, routed, d.host); err != nil {
		return err
	}
	_, err = d.sh(ctx, d.host.Node, "ip -brief address; ip route; ip -6 route show default; cat /etc/resolv.conf")
	return err
}

func (d *demo) daemon(ctx context.Context) error {
	flags := ""
	if d.store == "etcd" {
		if err := d.etcd(ctx); err != nil {
			return err
		}
		flags = "--store=http://[::1]:2379"
	}
	fmt.Fprintf(d.out, "host# sextant serve %s &\n", flags)
	p, err := d.host.Serve(strings.Fields(flags)...)
	if err != nil {
		return err
	}
	if err := d.host.Ready(ctx, p); err != nil {
		return err
	}
	_, err = d.sh(ctx, d.host.Node, "sextant status; sextant network list")
	return err
}

// etcd starts the distribution's etcd in the host's namespace.
func (d *demo) etcd(ctx context.Context) error {
	fmt.Fprintln(d.out, "host# etcd --listen-client-urls=http://[::1]:2379 … &")
	_, err := d.host.Start("etcd", "etcd", "--data-dir="+filepath.Join(d.host.Dir(), "etcd"), "--log-level=warn",
		"--listen-client-urls=http://[::1]:2379", "--advertise-client-urls=http://[::1]:2379",
		"--listen-peer-urls=http://[::1]:2380", "--initial-advertise-peer-urls=http://[::1]:2380",
		"--initial-cluster=default=http://[::1]:2380")
	if err != nil {
		return err
	}
	return topo.Until(ctx, 30*time.Second, "etcd", func(ctx context.Context) error {
		return d.quiet(ctx, d.host.Node, "ETCDCTL_API=3 etcdctl --endpoints='http://[::1]:2379' endpoint health >/dev/null 2>&1")
	})
}

func (d *demo) plugDefault(ctx context.Context) error {
	for _, g := range []*guest{
		{name: "alpha", about: "ISC dhclient", want: []string{"dhcpv4", "dhcpv6"},
			prepare: "sysctl -qw net.ipv6.conf.default.autoconf=0", get: (*guest).dhclient},
		{name: "beta", about: "kernel SLAAC and dhcpcd", want: []string{"dhcpv4", "slaac"}, get: (*guest).dhcpcd},
	} {
		if err := d.plug(ctx, g, "default"); err != nil {
			return err
		}
	}
	if d.noVM {
		return nil
	}
	g := &guest{name: "gamma", about: "QEMU, udhcpc and kernel SLAAC", network: "default", want: []string{"dhcpv4", "slaac"}}
	if _, err := d.sh(ctx, d.host.Node, "sextant port plug gamma network=default tap=tap0"); err != nil {
		return err
	}
	mac, err := d.mac(ctx, g.name)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "host# qemu-system-x86_64 -netdev tap,id=net,ifname=tap0,script=no,downscript=no -device virtio-net-pci,netdev=net,mac=%s … &\n", mac)
	dir := filepath.Join(d.lab.Dir, g.name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	boot, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	g.vm, err = vm.StartGuest(boot, vm.GuestConfig{Name: g.name, Tap: "tap0", MAC: mac, Dir: dir, Enter: d.host.Enter()})
	if err != nil {
		return err
	}
	d.lab.Defer(g.vm.Stop)
	d.guests = append(d.guests, g)
	return nil
}

// mac asks for the address that the port was given.
func (d *demo) mac(ctx context.Context, port string) (string, error) {
	out, err := d.host.Run(ctx, "sextant", "port", "show", port, "-o", "json")
	if err != nil {
		return "", err
	}
	var p struct{ MAC string }
	if err := json.Unmarshal([]byte(out), &p); err != nil || p.MAC == "" {
		return "", fmt.Errorf("port %s has no MAC (%w): %s", port, err, out)
	}
	return p.MAC, nil
}

// plug makes a guest in a namespace and plugs it in.
func (d *demo) plug(ctx context.Context, g *guest, network string) error {
	n, err := d.lab.Node(g.name)
	if err != nil {
		return err
	}
	if err := d.host.Show(ctx, n); err != nil {
		return err
	}
	g.node, g.network = n, network
	d.guests = append(d.guests, g)
	// Every guest runs a server that tells callers which address it sees.
	if _, err := n.Start("web", d.peer, "serve", ":80"); err != nil {
		return err
	}
	if g.prepare != "" {
		if _, err := d.sh(ctx, n, g.prepare); err != nil {
			return err
		}
	}
	_, err = d.sh(ctx, d.host.Node, fmt.Sprintf("sextant port plug %s network=%s netns=%s device=eth0", g.name, network, g.name))
	return err
}

func (d *demo) plugRouted(ctx context.Context) error {
	_, err := d.sh(ctx, d.host.Node, "sextant network create public ipv4=none ipv6=routed ipv6.address=2001:db8:5::1/64")
	if err != nil {
		return err
	}
	return d.plug(ctx, &guest{name: "delta", about: "kernel SLAAC and stateless DHCPv6, global", want: []string{"slaac"}, get: (*guest).stateless}, "public")
}

func (d *demo) addresses(ctx context.Context) error {
	for _, g := range d.guests {
		if g.get == nil {
			continue
		}
		if err := g.get(g, ctx, d); err != nil {
			return err
		}
	}
	return nil
}
