package radv

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/listen"
	"github.com/sextant-net/sextant/internal/vnet"
)

// lab is a router's namespace with one guest behind a veth pair.
type lab struct {
	router, guest *netnstest.NS
}

func newLab(t *testing.T) *lab {
	l := &lab{netnstest.New(t, "radv-r"), netnstest.New(t, "radv-g")}
	l.router.Run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
	l.guest.Run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.default.router_solicitation_interval=1")
	return l
}

// link makes br0 in the router's namespace and eth0 in the guest's.
func (l *lab) link() { netnstest.Veth(l.router, "br0", l.guest, "eth0") }

func (l *lab) server(t *testing.T) *Server {
	s := New(Config{InNS: func(_ string, f func() error) error { return l.router.Do(f) }, Links: listen.NewLinks()})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func has(ns *netnstest.NS, want, name string, args ...string) func() error {
	return func() error {
		out, err := ns.Try(name, args...)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		if !strings.Contains(out, want) {
			return fmt.Errorf("no %q in:\n%s", want, out)
		}
		return nil
	}
}

func TestKernelSLAACAndRdisc6(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "rdisc6")
	l := newLab(t)
	s := l.server(t)
	svc := service(subnet("2001:db8:1::/64", vnet.GuestsSLAAC))
	svc.MAC = vnet.MAC{}
	s.SetNetwork(svc) // the link comes later
	l.link()
	netnstest.Eventually(t, 15*time.Second, "kernel SLAAC", has(l.guest, "2001:db8:1:", "ip", "-6", "addr", "show", "dev", "eth0"))
	netnstest.Eventually(t, 5*time.Second, "default route", has(l.guest, "default via fe80::", "ip", "-6", "route"))
	netnstest.Eventually(t, 5*time.Second, "rdisc6", func() error {
		out, err := l.guest.Try("rdisc6", "-1", "eth0")
		for _, want := range []string{
			"Prefix                   : 2001:db8:1::/64", "Valid time              :         5400",
			"Pref. time              :         2700", "Router lifetime           :         1800",
			"Recursive DNS server     : 2001:db8:1::1", "DNS search list          : default.internal",
			"MTU                      :         1500", "Stateful address conf.    :           No",
		} {
			if !strings.Contains(out, want) {
				return errors.Join(err, fmt.Errorf("no %q in:\n%s", want, out))
			}
		}
		return err
	})
	if p := s.Problems(); len(p) != 0 {
		t.Errorf("problems: %v", p)
	}

	t.Run("a link that comes back is served", func(t *testing.T) {
		l.router.Run("ip", "link", "del", "br0")
		l.link()
		netnstest.Eventually(t, 15*time.Second, "kernel SLAAC", has(l.guest, "2001:db8:1:", "ip", "-6", "addr", "show", "dev", "eth0"))
	})
	t.Run("renumbering deprecates", func(t *testing.T) {
		next := svc
		next.Subnets = []plan.Subnet{subnet("2001:db8:2::/64", vnet.GuestsSLAAC), svc.Subnets[0]}
		next.Subnets[1].Deprecated = true
		s.SetNetwork(next)
		netnstest.Eventually(t, 10*time.Second, "new prefix", has(l.guest, "2001:db8:2:", "ip", "-6", "addr", "show", "dev", "eth0"))
		netnstest.Eventually(t, 10*time.Second, "old prefix deprecated", has(l.guest, "deprecated", "ip", "-6", "addr", "show", "dev", "eth0", "to", "2001:db8:1::/64"))
	})
	t.Run("close says nothing", func(t *testing.T) {
		other := l.server(t)
		other.SetNetwork(svc)
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
		if err := has(l.guest, "default via fe80::", "ip", "-6", "route")(); err != nil {
			t.Error(err)
		}
	})
	t.Run("withdraw takes the router away", func(t *testing.T) {
		s.Withdraw(svc.Network)
		s.RemoveNetwork(svc.Network)
		netnstest.Eventually(t, 5*time.Second, "no default route", func() error {
			if out := l.guest.Run("ip", "-6", "route"); strings.Contains(out, "default via") {
				return errors.New(out)
			}
			return nil
		})
	})
}

func TestKernelManyNetworksOneSocket(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "rdisc6")
	l := newLab(t)
	s := l.server(t)
	for i := range 3 {
		svc := service(subnet(fmt.Sprintf("2001:db8:%d::/64", i+1), vnet.GuestsStateful))
		svc.Network, svc.Link = vnet.ID(fmt.Sprint(i)), fmt.Sprintf("br%d", i)
		netnstest.Veth(l.router, svc.Link, l.guest, fmt.Sprintf("eth%d", i))
		s.SetNetwork(svc)
	}
	for i := range 3 {
		dev := fmt.Sprintf("eth%d", i)
		netnstest.Eventually(t, 10*time.Second, dev, has(l.guest, fmt.Sprintf("2001:db8:%d::/64", i+1), "rdisc6", "-1", dev))
	}
	s.nets.Lock()
	defer s.nets.Unlock()
	if n := s.nets.Namespaces(); n != 1 {
		t.Errorf("sockets in %d namespaces", n)
	}
	if out := l.router.Run("ss", "-Hwln"); strings.Count(out, ":58 ") != 1 {
		t.Errorf("not one socket for all links:\n%s", out)
	}
}
