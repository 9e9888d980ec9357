package topo

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// TestProvider: what a provider advertises and delegates is heard and taken by
// other people's clients, and what it does not route it does not carry.
func TestProvider(t *testing.T) {
	if testing.Short() {
		t.Skip("the lab is not for short runs")
	}
	netnstest.NeedCommands(t, "rdisc6", "dhclient", "kea-dhcp6", "dhcpd", "ss")
	l := newLab(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p, err := l.Provider(ctx, ProviderConfig{Link4: netip.MustParsePrefix("192.0.2.1/24"), Link6: netip.MustParsePrefix("2001:db8:1::1/64"), Peer: peer(t)})
	if err != nil {
		t.Fatal(err)
	}
	h, err := l.Machine(HostConfig{Uplink: "enp1s0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Plug(ctx, "to-host", h.Node, h.Uplink); err != nil {
		t.Fatal(err)
	}
	if err := p.Advertise(ctx, Advert{Prefixes: []string{"2001:db8:1::/64 AdvOnLink off;"}, More: "AdvManagedFlag on;"}); err != nil {
		t.Fatal(err)
	}
	sees := func(command, want string) {
		t.Helper()
		err := Until(ctx, 15*time.Second, command, func(ctx context.Context) error {
			out, err := h.Sh(ctx, command)
			if err == nil && !strings.Contains(out, want) {
				t.Logf("%s: no %q in\n%s", command, want, out)
				_, err = h.Sh(ctx, "false")
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	sees("rdisc6 -1 enp1s0", "2001:db8:1::/64")
	sees("nc -6 -w 3 "+Server6.String()+" 80 </dev/null", "2001:db8:1:")
	for _, d := range []Delegator{
		{Software: "kea", Pool: netip.MustParsePrefix("2001:db8:1100::/48"), Length: 56},
		{Software: "dhcpd", Pool: netip.MustParsePrefix("2001:db8:2200::/48"), Length: 60},
	} {
		if err := p.Delegate(ctx, d); err != nil {
			t.Fatal(err)
		}
		sees("rm -f /var/lib/dhcp/*; dhclient -6 -P -1 -v -D LL enp1s0 2>&1; grep iaprefix /var/lib/dhcp/*; dhclient -6 -P -x enp1s0 >/dev/null 2>&1", d.Pool.Addr().String()[:13])
		a := d.Pool.Addr().Next()
		from := "nc -6 -s " + a.String() + " -w 1 " + Server6.String() + " 80 </dev/null || echo nobody"
		if _, err := h.Run(ctx, "ip", "addr", "add", a.String()+"/128", "dev", "lo"); err != nil {
			t.Fatal(err)
		}
		sees(from, "nobody")
		if err := p.Route6(ctx, d.Pool, h.Node, h.Uplink); err != nil {
			t.Fatal(err)
		}
		sees(from, a.String())
	}
}
