package topo

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// Advert is what the provider's router says of itself and of the link
// (radvd.conf).
type Advert struct {
	Lifetime int      // seconds as default router; 0: an hour; negative: none
	Prefixes []string // each as in "2001:db8:1::/64", and what radvd may know of it: "2001:db8:1::/64 AdvOnLink off;"
	More     string   // options of the interface
}

// Advertise has the router say that from now on. What it said before is not
// taken back.
func (p *Provider) Advertise(ctx context.Context, a Advert) error {
	switch {
	case a.Lifetime == 0:
		a.Lifetime = 3600
	case a.Lifetime < 0:
		a.Lifetime = 0
	}
	var b strings.Builder
	fmt.Fprintf(&b, "interface wan0 {\n\tAdvSendAdvert on;\n\tAdvRASolicitedUnicast on;\n\tMinRtrAdvInterval 3;\n\tMaxRtrAdvInterval 4;\n\tAdvDefaultLifetime %d;\n\t%s\n", a.Lifetime, a.More)
	for _, text := range a.Prefixes {
		prefix, options, _ := strings.Cut(text, " ")
		fmt.Fprintf(&b, "\tprefix %s { %s };\n", prefix, options)
	}
	b.WriteString("};\n")
	if err := p.WriteFile(ctx, "/etc/radvd.conf", b.String()); err != nil {
		return err
	}
	if p.radvd != nil {
		return p.radvd.Signal(syscall.SIGHUP)
	}
	var err error
	p.radvd, err = p.Start("radvd", "radvd", "--nodaemon", "--logmethod=stderr", "--config=/etc/radvd.conf", "--pidfile=/run/radvd.pid")
	return err
}

// Silence ends the router's advertisements without a word, as a crash would.
func (p *Provider) Silence(ctx context.Context) error {
	if p.radvd == nil {
		return nil
	}
	err := p.radvd.Signal(syscall.SIGKILL)
	_ = p.radvd.Wait(ctx)
	p.radvd = nil
	return err
}

// Delegator is a server that delegates prefixes (RFC 8415 section 6.3).
type Delegator struct {
	Software string       // "kea", "dhcpd"
	Pool     netip.Prefix // what it delegates from
	Length   int          // of what it delegates; 0: that of the pool
	// Lifetimes in seconds; default an hour and two. T1 is half of Preferred.
	Preferred, Valid int
	More             string // of the configuration: Kea's subnet6, dhcpd's global options
}

// Delegate starts such a server, in place of the one that ran: its leases are
// forgotten.
func (p *Provider) Delegate(ctx context.Context, d Delegator) error {
	if err := p.Undelegate(ctx); err != nil {
		return err
	}
	if d.Length == 0 {
		d.Length = d.Pool.Bits()
	}
	if d.Valid == 0 {
		d.Preferred, d.Valid = 3600, 7200
	}
	if !p.Config.Link6.IsValid() {
		return fmt.Errorf("%s: a server needs an address on the link", p.Name)
	}
	var err error
	if d.Software == "dhcpd" {
		p.pd, err = p.dhcpd(ctx, d)
	} else {
		p.pd, err = p.kea(ctx, d)
	}
	if err != nil {
		return err
	}
	return Until(ctx, 20*time.Second, "DHCPv6 server of "+p.Name, func(ctx context.Context) error {
		out, err := p.Run(ctx, "ss", "-Hlun6", "sport", "=", ":547")
		if err == nil && out == "" {
			err = fmt.Errorf("nobody listens\n%s", p.Logs(10))
		}
		return err
	})
}

// Undelegate ends the server without a word.
func (p *Provider) Undelegate(ctx context.Context) error {
	if p.pd == nil {
		return nil
	}
	err := p.pd.Signal(syscall.SIGKILL)
	_ = p.pd.Wait(ctx)
	p.pd = nil
	return err
}

// Delegating is the server that runs.
func (p *Provider) Delegating() *Proc { return p.pd }

// kea runs Kea.
func (p *Provider) kea(ctx context.Context, d Delegator) (*Proc, error) {
	conf := fmt.Sprintf(`{"Dhcp6": {
	"interfaces-config": {"interfaces": ["wan0"]},
	"lease-database": {"type": "memfile", "persist": false},
	"server-id": {"type": "EN", "enterprise-id": 32473, "identifier": "%x", "persist": false},
	"preferred-lifetime": %d, "valid-lifetime": %d, "renew-timer": %d, "rebind-timer": %d,
	"loggers": [{"name": "kea-dhcp6", "severity": "INFO", "output_options": [{"output": "stdout"}]}],
	"subnet6": [{"id": 1, "subnet": "%s", "interface": "wan0", %s
		"pd-pools": [{"prefix": "%s", "prefix-len": %d, "delegated-len": %d}]}]}}
`, p.Name, d.Preferred, d.Valid, d.Preferred/2, d.Preferred*4/5, p.Config.Link6.Masked(), d.More, d.Pool.Masked().Addr(), d.Pool.Bits(), d.Length)
	if err := p.WriteFile(ctx, "/etc/kea-pd.json", conf); err != nil {
		return nil, err
	}
	return p.Start("kea", "env", "KEA_PIDFILE_DIR=/run", "KEA_LOCKFILE_DIR=/run", "kea-dhcp6", "-c", "/etc/kea-pd.json")
}

// dhcpd runs ISC dhcpd.
func (p *Provider) dhcpd(ctx context.Context, d Delegator) (*Proc, error) {
	last := d.Pool.Masked().Addr().As16()
	for i := d.Pool.Bits(); i < d.Length; i++ {
		last[i/8] |= 0x80 >> (i % 8)
	}
	conf := fmt.Sprintf(`authoritative;
default-lease-time %d;
preferred-lifetime %d;
option dhcp-renewal-time %d;
option dhcp-rebinding-time %d;
%s
subnet6 %s { prefix6 %s %s /%d; }
`, d.Valid, d.Preferred, d.Preferred/2, d.Preferred*4/5, d.More, p.Config.Link6.Masked(), d.Pool.Masked().Addr(), netip.AddrFrom16(last), d.Length)
	if err := p.WriteFile(ctx, "/etc/pd.conf", conf); err != nil {
		return nil, err
	}
	if err := p.WriteFile(ctx, "/run/pd.leases", ""); err != nil {
		return nil, err
	}
	return p.Start("dhcpd", "dhcpd", "-6", "-f", "-d", "--no-pid", "-user", "root", "-group", "root", "-cf", "/etc/pd.conf", "-lf", "/run/pd.leases", wan)
}
