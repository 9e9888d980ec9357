package topo

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// HostConfig says what a host is.
type HostConfig struct {
	Name   string // default "host"
	NoIPv4 bool   // not even loopback has IPv4
	NoIPv6 bool
	Uplink string // device's name, default "eth0"
	Bin    string // directory of the program under test
}

// Host is a machine behind the upstream that can run Sextant.
type Host struct {
	*Node
	Uplink string // the device that leads to the upstream
}

// Machine makes a host that is plugged in nowhere yet and runs nothing.
func (l *Lab) Machine(c HostConfig) (*Host, error) {
	if c.Name == "" {
		c.Name = "host"
	}
	if c.Uplink == "" {
		c.Uplink = "eth0"
	}
	n, err := l.Node(c.Name)
	if err != nil {
		return nil, err
	}
	n.Env = append(n.Env, "PATH="+c.Bin+":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	return &Host{Node: n, Uplink: c.Uplink}, nil
}

// Host makes a machine that is linked to the upstream and configured as by a
// distribution's installer: static IPv4, IPv6 by the kernel from the router's
// advertisements.
func (l *Lab) Host(ctx context.Context, c HostConfig, u *Upstream) (*Host, error) {
	h, err := l.Machine(c)
	if err != nil {
		return nil, err
	}
	n := h.Node
	if err := l.Link(u.Node, "wan0", n, h.Uplink); err != nil {
		return nil, err
	}
	resolv, script := "", ""
	if c.NoIPv4 {
		script += "ip -4 addr flush dev lo\n"
	} else {
		script += fmt.Sprintf("ip addr add %s dev %s\nip route add default via %s\n", HostLink4, h.Uplink, UpstreamLink4.Addr())
		resolv += "nameserver " + UpstreamLink4.Addr().String() + "\n"
	}
	if c.NoIPv6 {
		script += "sysctl -qw net.ipv6.conf.all.disable_ipv6=1\n"
	} else {
		resolv += "nameserver " + UpstreamLink6.Addr().String() + "\n"
	}
	if _, err := n.Sh(ctx, script); err != nil {
		return nil, err
	}
	if err := n.WriteFile(ctx, "/etc/resolv.conf", resolv); err != nil {
		return nil, err
	}
	if err := u.Serve(ctx); err != nil {
		return nil, err
	}
	if c.NoIPv6 {
		return h, nil
	}
	return h, Until(ctx, time.Minute, "the host's IPv6 address by RA", func(ctx context.Context) error {
		out, err := n.Sh(ctx, "ip -6 addr show dev "+h.Uplink+" scope global -tentative; ip -6 route show default")
		if err == nil && (!strings.Contains(out, "inet6") || !strings.Contains(out, "default")) {
			err = fmt.Errorf("not yet: %s", out)
		}
		return err
	})
}

// StateDir is where the daemon of the host keeps its state.
func (h *Host) StateDir() string { return h.dir + "/state" }

// Serve starts the daemon; flags come after --state-dir.
func (h *Host) Serve(flags ...string) (*Proc, error) {
	return h.Start("sextant", append([]string{"sextant", "serve", "--host=" + h.Name, "--state-dir=" + h.StateDir()}, flags...)...)
}

// Ready waits until the daemon says it is.
func (h *Host) Ready(ctx context.Context, p *Proc) error {
	return Until(ctx, 2*time.Minute, "sextant status", func(ctx context.Context) error {
		select {
		case <-p.done:
			return fmt.Errorf("the daemon ended: %v", p.err)
		default:
		}
		_, err := h.Run(ctx, "sextant", "status")
		return err
	})
}
