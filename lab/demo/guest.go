package main

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/sextant-net/sextant/lab/topo"
	"github.com/sextant-net/sextant/lab/vm"
)

// guest is one of the demo's guests: a namespace or a virtual machine.
type guest struct {
	name    string
	about   string
	network string
	want    []string // ways in which it must have got addresses
	prepare string   // command in the guest before it is plugged in
	get     func(*guest, context.Context, *demo) error

	node *topo.Node
	vm   *vm.Guest

	mac    string
	leases []lease
}

// lease is what `sextant lease list -o json` says, as far as the demo cares.
type lease struct {
	MAC       string     `json:"mac"`
	Address   netip.Addr `json:"address"`
	Family    string     `json:"family"`
	How       string     `json:"how"`
	Port      string     `json:"port"`
	Temporary bool       `json:"temporary"`
}

// fqdn is the guest's name in DNS.
func (g *guest) fqdn() string { return g.name + "." + g.network + ".internal" }

// address returns the guest's best address of a family; the zero value if
// there is none.
func (g *guest) address(family string) netip.Addr {
	var best netip.Addr
	for _, l := range g.leases {
		if l.Family == family && !l.Temporary && !l.Address.IsLinkLocalUnicast() && !best.IsValid() {
			best = l.Address
		}
	}
	return best
}

// sh runs a command in the guest and returns what it printed.
func (g *guest) sh(ctx context.Context, command string) (string, error) {
	if g.vm == nil {
		return g.node.Sh(ctx, command)
	}
	out, code, err := g.vm.Run(ctx, command)
	if err == nil && code != 0 {
		err = fmt.Errorf("%s: %s: exit status %d: %s", g.name, command, code, out)
	}
	return out, err
}

// dhclient: everything from ISC's client, unmodified; the kernel only takes
// the default route from the router's advertisements, as DHCPv6 has none.
func (g *guest) dhclient(ctx context.Context, d *demo) error {
	if _, err := d.sh(ctx, g.node, "ip link set eth0 up"); err != nil {
		return err
	}
	if err := settled(ctx, g); err != nil {
		return err
	}
	client, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	for _, command := range []string{"dhclient -4 -1 -v eth0", "dhclient -6 -1 -v -D LL eth0"} {
		fmt.Fprintf(d.out, "%s# %s\n", g.name, command)
		out, err := g.node.Sh(client, command)
		if err != nil {
			return err
		}
		for line := range strings.Lines(out) {
			if strings.Contains(line, "bound to") || strings.Contains(line, "RCV: ") && strings.Contains(line, "IAADDR") {
				fmt.Fprintln(d.out, strings.TrimSpace(line))
			}
		}
	}
	return nil
}

// dhcpcd: IPv4 by dhcpcd, IPv6 by the kernel itself.
func (g *guest) dhcpcd(ctx context.Context, d *demo) error {
	if _, err := d.sh(ctx, g.node, "ip link set eth0 up"); err != nil {
		return err
	}
	if err := settled(ctx, g); err != nil {
		return err
	}
	// The kernel's own setting comes first, dhcpcd's would take over SLAAC.
	client, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	command := "dhcpcd -4 --noipv6rs --waitip=4 eth0"
	fmt.Fprintf(d.out, "%s# %s\n", g.name, command)
	_, err := g.node.Sh(client, command)
	return err
}

// stateless: the address by SLAAC, the name server by stateless DHCPv6 (RFC
// 8415 6.1), because the kernel does not read it from advertisements.
func (g *guest) stateless(ctx context.Context, d *demo) error {
	if _, err := d.sh(ctx, g.node, "ip link set eth0 up"); err != nil {
		return err
	}
	if err := settled(ctx, g); err != nil {
		return err
	}
	client, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	command := "dhclient -6 -S -1 -D LL eth0"
	fmt.Fprintf(d.out, "%s# %s\n", g.name, command)
	_, err := g.node.Sh(client, command)
	return err
}

// settled waits until the link-local address may be used (RFC 4862 5.4):
// DHCPv6 is spoken from it.
func settled(ctx context.Context, g *guest) error {
	return topo.Until(ctx, 15*time.Second, g.name+" has a link-local address", func(ctx context.Context) error {
		out, err := g.node.Sh(ctx, "ip -6 -o addr show dev eth0 scope link -tentative")
		if err == nil && !strings.Contains(out, "fe80:") {
			err = fmt.Errorf("%q", out)
		}
		return err
	})
}
