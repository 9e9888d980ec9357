package topo

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
)

// What the upstream router is, from documentation prefixes (RFC 5737, RFC
// 3849).
var (
	UpstreamLink4 = netip.MustParsePrefix("192.0.2.1/24")       // on the link to the host
	UpstreamLink6 = netip.MustParsePrefix("2001:db8:0:1::1/64") // advertised there by RA
	HostLink4     = netip.MustParsePrefix("192.0.2.2/24")       // the host's own
	Server4       = netip.MustParseAddr("203.0.113.1")          // somebody in the internet
	Server6       = netip.MustParseAddr("2001:db8:80::1")       // the same
)

// ServerName is the name of Server4 and Server6, known to the upstream's name
// server only.
const ServerName = "www.upstream.example"

// UpstreamConfig says what an upstream has.
type UpstreamConfig struct {
	NoIPv4 bool
	NoIPv6 bool
	Peer   []string // command of lab/peer
}

// Upstream is a provider's router with a server behind it.
type Upstream struct {
	*Node
	UpstreamConfig
}

// Upstream makes a router with a name server and a web server that tells its
// callers who they are. Its port to the host is wan0.
func (l *Lab) Upstream(ctx context.Context, c UpstreamConfig) (*Upstream, error) {
	n, err := l.Node("upstream")
	if err != nil {
		return nil, err
	}
	u := &Upstream{Node: n, UpstreamConfig: c}
	var lines []string
	var listen []string
	if !c.NoIPv4 {
		lines = append(lines, "sysctl -qw net.ipv4.ip_forward=1", "ip addr add "+Server4.String()+"/32 dev lo")
		listen = append(listen, netip.AddrPortFrom(Server4, 80).String())
	}
	if !c.NoIPv6 {
		lines = append(lines, "sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.accept_dad=0", "ip addr add "+Server6.String()+"/128 dev lo nodad")
		listen = append(listen, netip.AddrPortFrom(Server6, 80).String())
	}
	if _, err := n.Sh(ctx, strings.Join(lines, "\n")); err != nil {
		return nil, err
	}
	if _, err := n.Start("web", append(append(c.Peer[:len(c.Peer):len(c.Peer)], "serve"), listen...)...); err != nil {
		return nil, err
	}
	return u, nil
}

// Serve starts the services on the link wan0, which must be there.
func (u *Upstream) Serve(ctx context.Context) error {
	dns := []string{
		"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root",
		"--pid-file=", "--log-facility=-", "--interface=wan0", "--bind-dynamic",
	}
	record := "--host-record=" + ServerName
	if !u.NoIPv4 {
		if _, err := u.Run(ctx, "ip", "addr", "add", UpstreamLink4.String(), "dev", "wan0"); err != nil {
			return err
		}
		record += "," + Server4.String()
	}
	if !u.NoIPv6 {
		if _, err := u.Run(ctx, "ip", "addr", "add", UpstreamLink6.String(), "dev", "wan0", "nodad"); err != nil {
			return err
		}
		record += "," + Server6.String()
		if err := u.advertise(ctx); err != nil {
			return err
		}
	}
	_, err := u.Start("dns", append(dns, record)...)
	return err
}

// advertise makes the router tell the host its prefix.
func (u *Upstream) advertise(ctx context.Context) error {
	conf := fmt.Sprintf(`interface wan0 {
	AdvSendAdvert on;
	AdvRASolicitedUnicast on;
	MinRtrAdvInterval 3;
	MaxRtrAdvInterval 10;
	AdvDefaultLifetime 600;
	prefix %s { AdvOnLink on; AdvAutonomous on; };
};
`, UpstreamLink6.Masked())
	if err := u.WriteFile(ctx, "/etc/radvd.conf", conf); err != nil {
		return err
	}
	_, err := u.Start("radvd", "radvd", "--nodaemon", "--logmethod=stderr", "--config=/etc/radvd.conf", "--pidfile=/run/radvd.pid")
	return err
}

// Route sends a prefix to the host.
func (u *Upstream) Route(ctx context.Context, prefix netip.Prefix, h *Host) error {
	via := HostLink4.Addr().String()
	if prefix.Addr().Is6() {
		out, err := h.Run(ctx, "sh", "-c", "ip -6 -o addr show dev "+h.Uplink+" scope link | sed 's/.*inet6 \\([^/]*\\).*/\\1/'")
		if err != nil {
			return err
		}
		via, _, _ = strings.Cut(out, "\n")
	}
	_, err := u.Run(ctx, "ip", "route", "replace", prefix.Masked().String(), "via", via, "dev", "wan0")
	return err
}
