package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sextant-net/sextant/lab/topo"
)

// check is one thing that held or did not.
type check struct {
	what   string
	detail string
	ok     bool
}

// judge records a check.
func (d *demo) judge(what string, err error, detail string) {
	c := check{what: what, detail: strings.ReplaceAll(detail, "\n", " "), ok: err == nil}
	mark := "ok  "
	if err != nil {
		mark = "FAIL"
		c.detail = strings.ReplaceAll(err.Error(), "\n", " ")
	}
	d.checks = append(d.checks, c)
	fmt.Fprintf(d.out, "%s %s: %s\n", mark, c.what, c.detail)
}

// patient tries a command until its output is as wanted: names appear in DNS a
// moment after the lease.
func (d *demo) patient(ctx context.Context, g *guest, command string, want func(string) error) (string, error) {
	var out string
	err := topo.Until(ctx, 15*time.Second, g.name+"# "+command, func(ctx context.Context) error {
		try, cancel := context.WithTimeout(ctx, 8*time.Second)
		defer cancel()
		var err error
		if out, err = g.sh(try, command); err != nil {
			return err
		}
		return want(out)
	})
	return out, err
}

func anything(string) error { return nil }

func contains(text string) func(string) error {
	return func(out string) error {
		if !strings.Contains(out, text) {
			return fmt.Errorf("%q lacks %q", out, text)
		}
		return nil
	}
}

// leases reads what Sextant knows until every guest has what it must have.
func (d *demo) leases(ctx context.Context) error {
	for _, g := range d.guests {
		mac, err := d.mac(ctx, g.name)
		if err != nil {
			return err
		}
		g.mac = mac
	}
	for _, network := range []string{"default", "public"} {
		err := topo.Until(ctx, 60*time.Second, "leases of "+network, func(ctx context.Context) error {
			return d.readLeases(ctx, network)
		})
		d.judge("every guest of "+network+" has its leases", err, "sextant lease list network="+network)
		if _, err := d.sh(ctx, d.host.Node, "sextant lease list network="+network); err != nil {
			return err
		}
	}
	fmt.Fprintln(d.out)
	w := tabwriter.NewWriter(d.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "GUEST\tMAC\tIPV4\tIPV6\tHOW\tWHAT")
	for _, g := range d.guests {
		var v4, v6, how []string
		for _, l := range g.leases {
			if l.Family == "ipv4" {
				v4 = append(v4, l.Address.String())
			} else if !l.Address.IsLinkLocalUnicast() {
				v6 = append(v6, l.Address.String())
			}
			if !slices.Contains(how, l.How) {
				how = append(how, l.How)
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", g.name, g.mac, strings.Join(v4, " "), strings.Join(v6, " "), strings.Join(how, " "), g.about)
	}
	return w.Flush()
}

func (d *demo) readLeases(ctx context.Context, network string) error {
	out, err := d.host.Run(ctx, "sextant", "lease", "list", "network="+network, "-o", "json")
	if err != nil {
		return err
	}
	var all []lease
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return fmt.Errorf("%w in %s", err, out)
	}
	for _, g := range d.guests {
		if g.network != network {
			continue
		}
		g.leases = nil
		for _, l := range all {
			if strings.EqualFold(l.MAC, g.mac) {
				g.leases = append(g.leases, l)
			}
		}
		for _, how := range g.want {
			if !slices.ContainsFunc(g.leases, func(l lease) bool { return l.How == how }) {
				return fmt.Errorf("%s has no address by %s", g.name, how)
			}
		}
	}
	return nil
}

// on lists the guests of a network.
func (d *demo) on(network string) []*guest {
	var gs []*guest
	for _, g := range d.guests {
		if g.network == network {
			gs = append(gs, g)
		}
	}
	return gs
}

func (d *demo) checkGuests(ctx context.Context) error {
	for _, from := range d.on("default") {
		for _, to := range d.on("default") {
			if from == to {
				continue
			}
			for _, family := range []string{"4", "6"} {
				command := fmt.Sprintf("ping -%s -c 1 -W 3 %s", family, to.fqdn())
				out, err := d.patient(ctx, from, command, anything)
				d.judge(from.name+"# "+command, err, firstLine(out))
			}
		}
	}
	return ctx.Err()
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// ask is the command by which a guest asks a server which address it sees.
// busybox in the virtual machine knows no -4 and -6.
func (g *guest) ask(family string, to netip.Addr, name string) string {
	if g.vm != nil {
		return fmt.Sprintf("nc -w 5 %s 80 </dev/null", to)
	}
	return fmt.Sprintf("nc -%s -w 5 %s 80 </dev/null", family, name)
}

func (d *demo) checkUpstream(ctx context.Context) error {
	for _, g := range d.on("default") {
		if !d.noIPv4 {
			d.checkSource(ctx, g, "NAT44", g.ask("4", topo.Server4, topo.ServerName), topo.HostLink4.Addr().String())
		}
		d.checkSource(ctx, g, "NAT66", g.ask("6", topo.Server6, topo.ServerName), "2001:db8:0:1:")
	}
	for _, g := range d.on("public") {
		d.checkSource(ctx, g, "routed", g.ask("6", topo.Server6, topo.ServerName), g.address("ipv6").String())
	}
	return ctx.Err()
}

func (d *demo) checkSource(ctx context.Context, g *guest, how, command, want string) {
	out, err := d.patient(ctx, g, command, contains(want))
	d.judge(how+": "+g.name+"# "+command, err, "seen from "+out)
}

func (d *demo) checkNames(ctx context.Context) error {
	asker := d.guests[0] // has dig and the network's name server
	for _, g := range d.on("default") {
		for _, q := range []struct{ kind, family string }{{"A", "ipv4"}, {"AAAA", "ipv6"}} {
			addr := g.address(q.family)
			if !addr.IsValid() {
				d.judge(g.name+" has an address in "+q.family, fmt.Errorf("none"), "")
				continue
			}
			command := fmt.Sprintf("dig +short %s %s", g.fqdn(), q.kind)
			out, err := d.patient(ctx, asker, command, contains(addr.String()))
			d.judge(asker.name+"# "+command, err, out)
			command = fmt.Sprintf("dig +short -x %s", addr)
			out, err = d.patient(ctx, asker, command, contains(g.fqdn()+"."))
			d.judge(asker.name+"# "+command, err, out)
		}
	}
	command := "dig +short " + topo.ServerName + " AAAA"
	out, err := d.patient(ctx, asker, command, contains(topo.Server6.String()))
	d.judge("forwarded: "+asker.name+"# "+command, err, out)
	return ctx.Err()
}

// checkInbound plays a stranger who knows the guests' addresses and the way to
// the host.
func (d *demo) checkInbound(ctx context.Context) error {
	g := d.guests[0]
	for _, family := range []string{"ipv4", "ipv6"} {
		addr := g.address(family)
		if !addr.IsValid() || addr.Is4() && d.noIPv4 {
			continue
		}
		if err := d.up.Route(ctx, netip.PrefixFrom(addr, addr.BitLen()), d.host); err != nil {
			return err
		}
		d.refused(ctx, "behind NAT, refused", addr)
	}
	target := d.on("public")[0].address("ipv6")
	d.refused(ctx, "routed and closed, refused", target)
	if _, err := d.sh(ctx, d.host.Node, "sextant network set public ipv6.inbound=open"); err != nil {
		return err
	}
	command := connect(target)
	var out string
	err := topo.Until(ctx, 10*time.Second, "upstream# "+command, func(ctx context.Context) (err error) {
		out, err = d.up.Sh(ctx, command)
		if err == nil && out == "" {
			err = fmt.Errorf("no answer")
		}
		return err
	})
	d.judge("routed and open, let through: upstream# "+command, err, "the guest sees "+out)
	return ctx.Err()
}

func connect(to netip.Addr) string { return fmt.Sprintf("nc -w 3 %s 80 </dev/null", to) }

func (d *demo) refused(ctx context.Context, what string, to netip.Addr) {
	command := connect(to)
	out, err := d.up.Sh(ctx, command)
	if err == nil {
		err = fmt.Errorf("it was let through: %q", out)
	} else {
		err = nil
	}
	d.judge(what+": upstream# "+command, err, "no connection")
}

// report counts.
func (d *demo) report() error {
	failed := 0
	for _, c := range d.checks {
		if !c.ok {
			failed++
		}
	}
	fmt.Fprintf(d.out, "\n--- %d checks, %d failed, %.0f s\n", len(d.checks), failed, time.Since(d.begun).Seconds())
	for _, c := range d.checks {
		if !c.ok {
			fmt.Fprintf(d.out, "FAIL %s: %s\n", c.what, c.detail)
		}
	}
	if failed > 0 {
		return errFailed
	}
	return nil
}
