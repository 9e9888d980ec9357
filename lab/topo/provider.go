package topo

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// ProviderConfig says what a provider's link has.
type ProviderConfig struct {
	Name   string       // default "provider"
	Link4  netip.Prefix // its router's address there; not valid: no IPv4
	Link6  netip.Prefix // the same; not valid: the router has a link-local address only
	NoIPv6 bool         // not even that
	Peer   []string     // command of lab/peer
}

// Provider is somebody's access to the internet: a switch to which hosts and
// their neighbours are plugged, and a router on it. Every provider has the
// internet's Server4 and Server6 behind it, which tell their callers who they
// are, and echo on port 7. It carries no packet whose source it does not route
// to the link (RFC 2827), as providers do.
type Provider struct {
	*Node
	Config    ProviderConfig
	radvd, pd *Proc
}

// wan is the provider's link: a bridge, so that there may be many on it.
const wan = "wan0"

// Provider makes an access to which nobody is plugged yet. It answers echo and
// carries what it routes, but advertises and delegates nothing.
func (l *Lab) Provider(ctx context.Context, c ProviderConfig) (*Provider, error) {
	if c.Name == "" {
		c.Name = "provider"
	}
	n, err := l.Node(c.Name)
	if err != nil {
		return nil, err
	}
	p := &Provider{Node: n, Config: c}
	script := `ip link add wan0 type bridge
sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.wan0.accept_dad=0
`
	if c.NoIPv6 {
		script += "sysctl -qw net.ipv6.conf.wan0.disable_ipv6=1\n"
	}
	script += "ip link set wan0 up\n"
	var serve, echo []string
	if c.Link4.IsValid() {
		script += fmt.Sprintf("sysctl -qw net.ipv4.ip_forward=1\nip addr add %s dev wan0\nip addr add %s/32 dev lo\n", c.Link4, Server4)
		serve, echo = append(serve, netip.AddrPortFrom(Server4, 80).String()), append(echo, netip.AddrPortFrom(Server4, 7).String())
	}
	if !c.NoIPv6 {
		script += fmt.Sprintf("sysctl -qw net.ipv6.conf.all.forwarding=1\nip addr add %s/128 dev lo nodad\n", Server6)
		serve, echo = append(serve, netip.AddrPortFrom(Server6, 80).String()), append(echo, netip.AddrPortFrom(Server6, 7).String())
		if c.Link6.IsValid() {
			script += fmt.Sprintf("ip addr add %s dev wan0 nodad\n", c.Link6)
		}
	}
	script += fmt.Sprintf(`nft -f - <<END
table inet provider {
	chain in {
		type filter hook input priority 0
		iifname wan0 ip daddr %s fib saddr . iif oif missing counter drop
		iifname wan0 ip6 daddr %s fib saddr . iif oif missing counter drop
	}
}
END
cat /sys/class/net/wan0/address`, Server4, Server6)
	mac, err := n.Sh(ctx, script)
	if err != nil {
		return nil, err
	}
	// The link's MAC is the lowest of its ports' unless it is set.
	if _, err := n.Run(ctx, "ip", "link", "set", wan, "address", mac); err != nil {
		return nil, err
	}
	for role, at := range map[string][]string{"serve": serve, "echo": echo} {
		if len(at) == 0 {
			continue
		}
		if _, err := n.Start(role, append(append(c.Peer[:len(c.Peer):len(c.Peer)], role), at...)...); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Plug leads a cable from a port of the provider's switch to a node.
func (p *Provider) Plug(ctx context.Context, port string, n *Node, dev string) error {
	if err := p.lab.Link(p.Node, port, n, dev); err != nil {
		return err
	}
	_, err := p.Run(ctx, "ip", "link", "set", port, "master", wan)
	return err
}

// Carrier gives a port's cable its carrier, or takes it.
func (p *Provider) Carrier(ctx context.Context, port string, on bool) error {
	state := "down"
	if on {
		state = "up"
	}
	_, err := p.Run(ctx, "ip", "link", "set", port, state)
	return err
}

// LinkLocal is the router's address by which others know it.
func (p *Provider) LinkLocal(ctx context.Context) (netip.Addr, error) {
	return linkLocal(ctx, p.Node, wan)
}

func linkLocal(ctx context.Context, n *Node, dev string) (netip.Addr, error) {
	var a netip.Addr
	err := Until(ctx, 10*time.Second, "link-local address of "+n.Name, func(ctx context.Context) error {
		out, err := n.Run(ctx, "ip", "-6", "-o", "addr", "show", "dev", dev, "scope", "link", "-tentative")
		if err != nil {
			return err
		}
		for f := range strings.FieldsSeq(out) {
			if q, err := netip.ParsePrefix(f); err == nil {
				a = q.Addr()
				return nil
			}
		}
		return fmt.Errorf("%s has none: %q", dev, out)
	})
	return a, err
}

// Route6 sends a prefix to a node on the link.
func (p *Provider) Route6(ctx context.Context, prefix netip.Prefix, n *Node, dev string) error {
	via, err := linkLocal(ctx, n, dev)
	if err != nil {
		return err
	}
	_, err = p.Run(ctx, "ip", "-6", "route", "replace", prefix.Masked().String(), "via", via.String(), "dev", wan)
	return err
}

// Unroute6 takes a route back: packets of its prefix are carried no more.
func (p *Provider) Unroute6(ctx context.Context, prefix netip.Prefix) error {
	_, err := p.Run(ctx, "ip", "-6", "route", "delete", prefix.Masked().String())
	return err
}

// Pick makes the port's side of the switch as picky as hosting providers are,
// and access points: it takes frames of one source MAC only. Where the router
// forgets, it does so after seconds, and it asks again by unicast.
func (p *Provider) Pick(ctx context.Context, port, mac string, forget bool) error {
	script := fmt.Sprintf(`nft -f - <<END
table bridge picky {
	chain in {
		type filter hook prerouting priority -300
		iifname %q ether saddr != %s counter drop
	}
}
END
`, port, mac)
	if forget {
		script += `cd /proc/sys/net/ipv6/neigh/wan0
echo 1500 >base_reachable_time_ms
echo 1 >delay_first_probe_time
echo 15 >gc_stale_time
echo 300 >retrans_time_ms
`
	}
	_, err := p.Sh(ctx, script)
	return err
}

// Picked is how many frames the switch did not take.
func (p *Provider) Picked(ctx context.Context) (string, error) {
	out, err := p.Run(ctx, "nft", "list", "chain", "bridge", "picky", "in")
	_, count, _ := strings.Cut(out, "counter packets ")
	count, _, _ = strings.Cut(count, " ")
	return count, err
}
