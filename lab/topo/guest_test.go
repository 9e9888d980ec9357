package topo

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/lab/vm"
)

// TestGuest boots a virtual machine behind somebody else's servers: what fails
// in a scenario with Sextant is then not the guest's fault.
func TestGuest(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a virtual machine")
	}
	if netnstest.InVM() {
		t.Skip("no machine within a machine")
	}
	netnstest.NeedCommands(t, "dnsmasq", "qemu-system-x86_64")
	l := newLab(t)
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	n, err := l.Node("switch")
	if err != nil {
		t.Fatal(err)
	}
	_, err = n.Sh(ctx, `ip link add br0 type bridge
ip addr add 192.0.2.1/24 dev br0
ip addr add 2001:db8:7::1/64 dev br0 nodad
ip link set br0 up
ip tuntap add dev tap0 mode tap
ip link set tap0 master br0 up`)
	if err != nil {
		t.Fatal(err)
	}
	_, err = n.Start("dnsmasq", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=",
		"--no-resolv", "--no-hosts", "--log-facility=-", "--interface=br0", "--bind-dynamic", "--dhcp-leasefile=/run/leases",
		"--dhcp-range=192.0.2.10,192.0.2.20,5m", "--dhcp-range=::,constructor:br0,ra-only", "--enable-ra")
	if err != nil {
		t.Fatal(err)
	}
	g, err := vm.StartGuest(ctx, vm.GuestConfig{Name: "gamma", Tap: "tap0", MAC: "52:54:00:aa:00:07", Dir: n.Dir(), Enter: n.Enter()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			t.Log(g.Log())
		}
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
	}()
	err = Until(ctx, 40*time.Second, "addresses", func(ctx context.Context) error {
		out, code, err := g.Run(ctx, "ip addr show dev eth0")
		if err != nil || code != 0 {
			return fmt.Errorf("%d %w", code, err)
		}
		for _, want := range []string{"192.0.2.", "2001:db8:7:0:5054:ff:feaa:7", "52:54:00:aa:00:07"} {
			if !strings.Contains(out, want) {
				return fmt.Errorf("no %s in %s", want, out)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if out, code, err := g.Run(ctx, "hostname; false"); out != "gamma" || code != 1 || err != nil {
		t.Errorf("%q %d %v", out, code, err)
	}
	if out, err := n.Sh(ctx, "ping -c 1 -W 5 2001:db8:7:0:5054:ff:feaa:7"); err != nil {
		t.Errorf("%v %s", err, out)
	}
}
