package scenario

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/lab/topo"
)

// settings prints every kernel setting of the host that decides who forwards
// and who hears routers, without the links that come and go with guests.
func (w *world) settings() string {
	w.t.Helper()
	return w.sh(`cd /proc/sys/net
for f in ipv4/ip_forward ipv4/conf/*/forwarding ipv6/conf/*/forwarding ipv6/conf/*/force_forwarding ipv6/conf/*/accept_ra ipv6/conf/*/disable_ipv6; do
	case $f in */sx-* | */sxp* | */sxr* | */sxg* | */late0/*) continue ;; esac
	if [ -e $f ]; then echo "$f $(cat $f)"; fi
done`)
}

// forceForwarding reports whether the kernel forwards IPv6 link by link, as
// Linux does from 6.17 on.
func (w *world) forceForwarding() bool {
	w.t.Helper()
	return w.sh("test -e /proc/sys/net/ipv6/conf/all/force_forwarding && echo yes || echo no") == "yes"
}

// online tests that the host still gets its own IPv6 from its router: what it
// has is thrown away first, so that only a new advertisement brings it back.
// Whoever manages the uplink may need a while for it.
func (w *world) online(link, when string) {
	w.t.Helper()
	w.sh("ip -6 route flush default dev " + link + "; ip -6 addr flush dev " + link + " scope global")
	w.has6(link, when)
}

// has6 waits until the host has an address and a default route over the link
// and reaches the upstream's server by IPv6.
func (w *world) has6(link, when string) {
	w.t.Helper()
	w.eventually(20*time.Second, when+": the host's own IPv6 over "+link, func() error {
		out, err := w.host.Sh(w.ctx, "ip -6 route show default; ip -6 -o addr show dev "+link+" scope global -tentative")
		if err == nil && (!strings.Contains(out, "dev "+link) || !strings.Contains(out, "inet6 2001:db8:")) {
			err = fmt.Errorf("it has\n%s", out)
		}
		if err == nil {
			_, err = w.host.Sh(w.ctx, "nc -6 -w 3 "+topo.Server6.String()+" 80 </dev/null")
		}
		return err
	})
}

// keepsRoute follows the host's routes; what it returns fails the test if a
// default route over the link went meanwhile, if only for a moment.
func (w *world) keepsRoute(link string) func(what string) {
	w.t.Helper()
	routes := w.follow("routes"+itoa(len(w.sh("ls "+w.host.Dir()))), "ip", "-6", "monitor", "route")
	return func(what string) {
		w.t.Helper()
		if lost := grep(routes(), "Deleted", "default", "dev "+link); len(lost) > 0 {
			w.t.Errorf("%s: the host lost its route:\n%s", what, strings.Join(lost, "\n"))
		}
	}
}

// stopAll ends the networks; everything that they needed of the host is given
// back.
func (w *world) stopAll(before string) {
	w.t.Helper()
	w.sh("sextant network stop default; sextant network stop apart")
	w.eventually(5*time.Second, "settings as before", func() error {
		if after := w.settings(); after != before {
			return &differs{before, after}
		}
		return nil
	})
}

// TestUplinkByKernel: a host whose kernel listens to its router keeps its
// address and default route while it forwards, whatever the uplink is called;
// and everything is as before when the last network stops, also when the
// daemon was killed in between.
func TestUplinkByKernel(t *testing.T) {
	t.Parallel()
	for _, uplink := range []string{"eth", "enp0s31f6.100", "enx0123456789ab"} {
		t.Run(uplink, func(t *testing.T) {
			t.Parallel()
			uplinkByKernel(t, uplink)
		})
	}
}

// TestUplinkStock is the same once more where every link forwards or none.
func TestUplinkStock(t *testing.T) {
	netnstest.NeedVM(t)
	t.Parallel()
	uplinkByKernel(t, "enp0s3")
}

func uplinkByKernel(t *testing.T, uplink string) {
	w := newWorld(t, 2*time.Minute, topo.HostConfig{Uplink: uplink})
	w.has6(uplink, "before")
	before := w.settings()
	kept := w.keepsRoute(uplink)
	w.serve()
	w.sh("sextant network create apart ipv4=isolated ipv6=isolated")
	kept("networks started")
	w.has6(uplink, "networks started")
	w.answers(w.guest("alpha", "default"))
	w.online(uplink, "networks started")
	forwarding := w.sh("cat /proc/sys/net/ipv6/conf/all/forwarding /proc/sys/net/ipv6/conf/" + uplink + "/accept_ra")
	if w.forceForwarding() {
		if forwarding != "0\n2" {
			t.Errorf("conf.all.forwarding and accept_ra are %q: this kernel needs no forwarding of all links", forwarding)
		}
	} else if forwarding != "1\n2" {
		t.Errorf("conf.all.forwarding and accept_ra are %q", forwarding)
	}
	if err := w.newLink().Stop(); err != nil {
		t.Fatal(err)
	}
	kept = w.keepsRoute(uplink)
	w.kill("serve")
	w.kill("agent")
	w.kill("control")
	_ = w.daemon.Wait(w.ctx)
	w.serve()
	w.stopAll(before)
	if got := w.sh("cat /proc/sys/net/ipv6/conf/late0/accept_ra"); got != "1" {
		t.Errorf("the link that came later keeps accept_ra=%s", got)
	}
	w.sh("ip link delete late0")
	w.sh("sextant network start default; sextant network start apart")
	kept("crash, stop, start")
	w.has6(uplink, "network started again")
	w.sh("sextant cleanup")
	w.eventually(5*time.Second, "settings as before", func() error {
		if after := w.settings(); after != before {
			return &differs{before, after}
		}
		return nil
	})
	w.has6(uplink, "cleaned up")
}

// managers are programs that handle router advertisements themselves, in place
// of the kernel. Without an udev in the lab they take links as they come where
// /sys is read-only, as in a container.
var managers = []struct{ name, needs, config, run string }{
	{"networkd", "/lib/systemd/systemd-networkd", `mkdir -p /run/systemd/network /run/systemd/netif
chown systemd-network:systemd-network /run/systemd/netif
cat >/run/systemd/network/10-uplink.network <<END
[Match]
Name=eth0
[Network]
KeepConfiguration=yes
IPv6AcceptRA=yes
END`, `exec /lib/systemd/systemd-networkd`},
	{"NetworkManager", "/usr/sbin/NetworkManager", `mkdir -p /run/dbus /run/NetworkManager/keys
cat >/run/NetworkManager/lab.conf <<END
[main]
plugins=keyfile
dhcp=internal
dns=none
auth-polkit=false
no-auto-default=*
[keyfile]
path=/run/NetworkManager/keys
END
cat >/run/NetworkManager/keys/uplink.nmconnection <<END
[connection]
id=uplink
type=ethernet
interface-name=eth0
[ipv4]
method=manual
address1=@address,@gateway
[ipv6]
method=auto
addr-gen-mode=eui64
END
chmod 600 /run/NetworkManager/keys/*`, `mount -t tmpfs tmpfs /var/lib/NetworkManager
dbus-daemon --system --nofork --nopidfile &
until [ -S /run/dbus/system_bus_socket ]; do sleep 0.1; done
exec NetworkManager --no-daemon --config=/run/NetworkManager/lab.conf --config-dir=/nonexistent --system-config-dir=/nonexistent \
	--intern-config=/run/NetworkManager/intern.conf --state-file=/run/NetworkManager/lab.state`},
}

// TestUplinkManaged: the same for hosts on which systemd-networkd or
// NetworkManager looks after the uplink.
func TestUplinkManaged(t *testing.T) {
	t.Parallel()
	netnstest.AlsoVM(t)
	for _, m := range managers {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			if _, err := os.Stat(m.needs); err != nil {
				netnstest.Skip(t, "needs %s", m.needs)
			}
			w := newWorld(t, 2*time.Minute, topo.HostConfig{})
			w.sh(strings.NewReplacer("@address", topo.HostLink4.String(), "@gateway", topo.UpstreamLink4.Addr().String()).Replace(m.config))
			// What the kernel heard before goes, as on a host that boots.
			w.sh("sysctl -qw net.ipv6.conf.eth0.accept_ra=0; ip -6 route flush default; ip -6 addr flush dev eth0 scope global")
			script := "mount -o remount,bind,ro /sys 2>/dev/null || mount -t sysfs -o ro sysfs /sys\n" + m.run
			if _, err := w.host.Start(m.name, "unshare", "-m", "sh", "-ec", script); err != nil {
				t.Fatal(err)
			}
			w.eventually(20*time.Second, m.name+" handles advertisements", func() error {
				_, err := w.host.Sh(w.ctx, "ip -6 -o addr show dev eth0 scope global | grep -q noprefixroute")
				return err
			})
			w.has6("eth0", "before")
			before := w.settings()
			kept := w.keepsRoute("eth0")
			w.serve()
			w.has6("eth0", "network started")
			w.answers(w.guest("alpha", "default"))
			w.sh("sextant network stop default; sextant network start default")
			w.has6("eth0", "network started again")
			kept("networks started")
			w.online("eth0", "network started again")
			w.sh("sextant cleanup")
			w.eventually(5*time.Second, "settings as before", func() error {
				if after := w.settings(); after != before {
					return &differs{before, after}
				}
				return nil
			})
		})
	}
}

// newLink makes a link that comes while networks run: it hears its router, too.
// It returns that router's daemon.
func (w *world) newLink() *topo.Proc {
	w.t.Helper()
	if err := w.lab.Link(w.up.Node, "wan1", w.host.Node, "late0"); err != nil {
		w.t.Fatal(err)
	}
	w.on(w.up.Node, `ip addr add 2001:db8:0:2::1/64 dev wan1 nodad
cat >/etc/radvd1.conf <<-END
	interface wan1 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; prefix 2001:db8:0:2::/64 { }; };
END`)
	p, err := w.up.Start("radvd1", "radvd", "--nodaemon", "--logmethod=stderr", "--config=/etc/radvd1.conf", "--pidfile=/run/radvd1.pid")
	if err != nil {
		w.t.Fatal(err)
	}
	w.eventually(15*time.Second, "a new link gets its address", func() error {
		_, err := w.host.Sh(w.ctx, "ip -6 -o addr show dev late0 scope global | grep -q 2001:db8:0:2: && ip -6 route show default | grep -q late0")
		return err
	})
	return p
}

// TestUplinkMoves: the host's way out changes from one link to another, both
// families, and guests follow with their next connection; without any way out
// they still reach each other.
func TestUplinkMoves(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Minute, topo.HostConfig{})
	w.serve()
	alpha, beta := w.guest("alpha", "default"), w.guest("beta", "default")
	w.answers(alpha)
	w.sh("ip link set eth0 down")
	w.eventually(5*time.Second, "status says that there is no IPv6", func() error {
		if out := w.sh("sextant network show default"); !strings.Contains(out, "ula") {
			return fmt.Errorf("it says\n%s", out)
		}
		return nil
	})
	// Also when they have heard that their gateway is no router any more.
	w.eventually(5*time.Second, "alpha has no way out", func() error {
		if out := w.on(alpha, "ip -6 route show default"); out != "" {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	for _, a := range w.own(beta) {
		w.reaches(alpha, a.String(), true)
	}
	w.reaches(alpha, "beta.default.internal", true)
	w.newLink()
	w.on(w.up.Node, "ip addr add 198.51.100.1/24 dev wan1")
	w.sh("ip addr add 198.51.100.2/24 dev late0; ip route add default via 198.51.100.1")
	w.answers(alpha)
	if got := w.seenAs(alpha, topo.Server4); !strings.Contains(got, "198.51.100.2") {
		t.Errorf("seen as %s", got)
	}
	if got := w.seenAs(alpha, topo.Server6); !strings.Contains(got, "2001:db8:0:2:") {
		t.Errorf("seen as %s", got)
	}
	old := topo.UpstreamLink6.Masked().String()
	w.eventually(5*time.Second, old+" is not on alpha's link any more", func() error {
		if out := w.on(alpha, "ip -6 route show "+old); out != "" {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	for _, a := range w.own(beta) {
		w.reaches(alpha, a.String(), true)
	}
}

// grep keeps the lines that contain all of the words.
func grep(lines []string, words ...string) []string {
	var out []string
next:
	for _, line := range lines {
		for _, word := range words {
			if !strings.Contains(line, word) {
				continue next
			}
		}
		out = append(out, line)
	}
	return out
}
