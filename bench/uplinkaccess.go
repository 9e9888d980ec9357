package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/sextant-net/sextant/internal/dialect/native/client"
	"github.com/sextant-net/sextant/internal/vnet"
	"github.com/sextant-net/sextant/lab/topo"
)

// provided is a host that real providers' software gives its addresses:
// radvd and Kea on the other end of each uplink.
type provided struct {
	lab  *topo.Lab
	host *topo.Host
	api  *client.Client
	proc *topo.Proc
	b    *bench
	at   []*access
}

// access is a provider, and the host's link to it.
type access struct {
	*topo.Provider
	link    string
	router  netip.Addr // its link-local address
	pool    netip.Prefix
	gateway netip.Addr // the router's IPv4 address
	metric  int        // of the host's IPv4 route
}

const (
	// accessPort is the port of the provider's switch that leads to the host.
	accessPort = "to-host"
	// accessLink is the router's link to that switch, a bridge. What comes in
	// by one of its ports is heard there, and not at the port.
	accessLink = "wan0"
)

// The providers, from documentation prefixes (RFC 5737, RFC 3849), and what
// they delegate.
var (
	providers = []topo.ProviderConfig{
		{Name: "isp1", Link4: netip.MustParsePrefix("192.0.2.1/24"), Link6: netip.MustParsePrefix("2001:db8:1::1/64")},
		{Name: "isp2", Link4: netip.MustParsePrefix("198.51.100.1/24"), Link6: netip.MustParsePrefix("2001:db8:2::1/64")},
	}
	pools    = []netip.Prefix{netip.MustParsePrefix("2001:db8:1100::/56"), netip.MustParsePrefix("2001:db8:2200::/56")}
	uplinks  = []string{"enp1s0", "enp2s0"}
	metrics  = []int{100, 200}
	priority = []string{"high", "low"} // RFC 4191 section 2.1
)

// provide makes a host with the first n providers and starts the program.
func (b *bench) provide(ctx context.Context, n int) (_ *provided, err error) {
	b.lab.count++
	l, err := topo.New(namePrefix + strconv.Itoa(os.Getpid()) + "-" + strconv.Itoa(b.lab.count) + "-")
	if err != nil {
		return nil, err
	}
	p := &provided{lab: l, b: b}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if p.host, err = l.Machine(topo.HostConfig{Uplink: uplinks[0], Bin: filepath.Dir(b.binary)}); err != nil {
		return nil, err
	}
	for i := range n {
		if err := p.access(ctx, i); err != nil {
			return nil, err
		}
	}
	return p, p.serve(ctx)
}

// access plugs the host into a provider, as an installer configures it: static
// IPv4, IPv6 by the kernel.
func (p *provided) access(ctx context.Context, i int) error {
	c := providers[i]
	c.Peer = []string{"true"} // the kernel answers echo, and nobody asks for more
	isp, err := p.lab.Provider(ctx, c)
	if err != nil {
		return err
	}
	a := &access{Provider: isp, link: uplinks[i], pool: pools[i], gateway: c.Link4.Addr(), metric: metrics[i]}
	p.at = append(p.at, a)
	err = isp.Advertise(ctx, topo.Advert{Prefixes: []string{c.Link6.Masked().String()}, More: "AdvDefaultPreference " + priority[i] + ";"})
	if err != nil {
		return err
	}
	if err := isp.Plug(ctx, accessPort, p.host.Node, a.link); err != nil {
		return err
	}
	if a.router, err = isp.LinkLocal(ctx); err != nil {
		return err
	}
	_, err = p.host.Sh(ctx, fmt.Sprintf("ip addr add %s dev %s; ip route add default via %s dev %s metric %d",
		netip.PrefixFrom(c.Link4.Addr().Next(), c.Link4.Bits()), a.link, a.gateway, a.link, a.metric))
	if err != nil {
		return err
	}
	if err := p.online(ctx, a.link); err != nil {
		return err
	}
	if err := isp.Delegate(ctx, topo.Delegator{Software: "kea", Pool: a.pool}); err != nil {
		return err
	}
	return isp.Route6(ctx, a.pool, p.host.Node, a.link)
}

// online waits until the host has an address and a route by advertisement.
func (p *provided) online(ctx context.Context, link string) error {
	return topo.Until(ctx, time.Minute, "the host's IPv6 over "+link, func(ctx context.Context) error {
		_, err := p.host.Sh(ctx, fmt.Sprintf("ip -6 route show default dev %[1]s | grep -q . && ip -6 -o addr show dev %[1]s scope global -tentative | grep -q inet6", link))
		return err
	})
}

// serve starts the program and waits until it takes orders.
func (p *provided) serve(ctx context.Context) (err error) {
	run := filepath.Join(p.host.Dir(), "serve")
	p.proc, err = p.host.Start("sextant", p.b.binary, "serve", "--host=bench", "--no-default-network",
		"--state-dir="+p.host.StateDir(), "--run-dir="+run)
	if err != nil {
		return err
	}
	if p.api, err = client.New("unix://" + filepath.Join(run, "api.sock")); err != nil {
		return err
	}
	return topo.Until(ctx, time.Minute, "the program is ready", p.api.Ready)
}

// close removes everything; what the program printed is kept if that was
// asked for.
func (p *provided) close() error {
	var err error
	if p.b.logs != "" && p.host != nil {
		err = os.WriteFile(filepath.Join(p.b.logs, filepath.Base(p.lab.Dir)+".log"), []byte(p.lab.Logs(1<<20)), 0o644)
	}
	return errors.Join(err, p.lab.Close())
}

// define makes networks of a mode, one after the other, and waits until they
// are running. Guests are plugged into their bridges.
func (p *provided) define(ctx context.Context, mode vnet.Egress, names ...string) error {
	for _, name := range names {
		wish := &vnet.Network{Meta: vnet.Meta{Name: name}, Bridge: "br-" + name, IPv6: vnet.FamilyPolicy{Mode: mode}}
		if _, err := client.Create(ctx, p.api, client.Write{Wait: 30 * time.Second}, wish); err != nil {
			return fmt.Errorf("network %s: %w", name, err)
		}
	}
	return nil
}
