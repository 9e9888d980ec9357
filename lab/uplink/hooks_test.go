package uplink

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/lab/topo"
)

// hook is the path of one that is installed with the program.
func hook(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs("../../hooks/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestDhcpcdHook: the host's dhcpcd is delegated a prefix and its hook tells us
// of it, of another one when the provider renumbers, and of its end.
func TestDhcpcdHook(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dhcpcd")
	w := newWorld(t, 2*time.Minute, "enp7s0")
	isp := w.access(first, w.host.Uplink, &topo.Advert{Prefixes: []string{onLink(first)}})
	w.delegates(isp, brief("kea", pool1))
	w.sh("echo '. " + hook(t, "dhcpcd-exit-hook") + "' >/etc/dhcpcd.exit-hook")
	w.ok(w.host.WriteFile(w.ctx, "/etc/dhcpcd.conf", fmt.Sprintf(
		"allowinterfaces %s\nnoipv4\nnoipv6rs\nnohook resolv.conf\nnohook hostname\npersistent\ninterface %[1]s\nipv6rs\nia_pd 1 -\n", isp.link)))
	_, err := w.host.Start("dhcpcd", "dhcpcd", "--nobackground", "--debug", isp.link)
	w.ok(err)
	file := "/run/sextant-uplink/" + isp.link
	w.eventually(patience, "the hook writes a file", func() error {
		_, err := w.host.Sh(w.ctx, "cat "+file)
		return err
	})
	if got, want := w.sh("cat "+file), pool1.String()+" 10 300"; got != want {
		t.Errorf("the hook wrote %q, want %q", got, want)
	}
	w.online(isp.link, true)
	kept := w.watched(isp)
	w.settled(isp)
	w.sh("sextant uplink set " + isp.link + " ask=off file=" + file)
	w.sh("sextant network create lab")
	alpha, beta := w.guest("alpha", "default"), w.guest("beta", "lab")
	w.stands("default", "delegated", pool1.String(), file)
	w.stands("lab", "delegated", pool1.String())
	old := w.holds("default", pool1, "active")
	w.usable(alpha, old)
	w.usable(beta, w.holds("lab", pool1, "active"))
	w.ok(isp.Route6(w.ctx, pool2, w.host.Node, isp.link))
	w.ok(isp.Delegate(w.ctx, brief("kea", pool2)))
	w.stands("default", "delegated", pool2.String(), file)
	w.usable(alpha, w.holds("default", pool2, "active"))
	w.usable(beta, w.holds("lab", pool2, "active"))
	w.forgotten(alpha, old)
	w.told(isp.link+" "+pool1.String(), isp.link+" "+pool2.String())
	kept("until dhcpcd is told to give all of it back")
	w.sh("dhcpcd --release " + isp.link)
	w.eventually(patience, "the hook takes the prefix back", func() error {
		out, err := w.host.Sh(w.ctx, "cat "+file)
		if err == nil && out != "" {
			err = fmt.Errorf("%q", out)
		}
		return err
	})
	if out := w.sh("ls /run/sextant-uplink"); out != isp.link {
		t.Errorf("the hook left %q", out)
	}
}

// TestNetworkdCommand: so does the command that prints what systemd-networkd
// was delegated.
func TestNetworkdCommand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2*time.Minute, "enp8s0")
	isp := w.access(first, w.host.Uplink, &topo.Advert{Prefixes: []string{onLink(first)}})
	w.delegates(isp, topo.Delegator{Software: "kea", Pool: pool1, Preferred: 16, Valid: 20})
	w.sh("mkdir -p /run/systemd/network")
	w.ok(w.host.WriteFile(w.ctx, "/run/systemd/network/05-asks.network", fmt.Sprintf(
		"[Match]\nName=%s\n[Network]\nKeepConfiguration=yes\nIPv6AcceptRA=yes\nDHCP=ipv6\n[DHCPv6]\nWithoutRA=solicit\n", isp.link)))
	w.networkd(isp.link)
	w.managed(isp.link)
	command := hook(t, "networkd-prefixes")
	w.eventually(patience, "networkd is delegated a prefix", func() error {
		out, err := w.host.Sh(w.ctx, command)
		if err == nil && !strings.HasPrefix(out, pool1.String()) {
			err = fmt.Errorf("%q", out)
		}
		return err
	})
	kept := w.watched(isp)
	w.settled(isp)
	w.sh("sextant uplink set " + isp.link + " ask=off every=10s command=" + command)
	alpha := w.guest("alpha", "default")
	w.stands("default", "delegated", pool1.String(), "command")
	w.usable(alpha, w.holds("default", pool1, "active"))
	w.ok(isp.Route6(w.ctx, pool2, w.host.Node, isp.link))
	w.ok(isp.Delegate(w.ctx, topo.Delegator{Software: "kea", Pool: pool2, Preferred: 16, Valid: 20}))
	w.stands("default", "delegated", pool2.String(), "command")
	w.usable(alpha, w.holds("default", pool2, "active"))
	kept("all of it")
}

// TestNetworkManagerHook: what NetworkManager's dispatcher passes on becomes a
// file of prefixes; what is no news of them does not touch it.
func TestNetworkManagerHook(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Minute, "enp9s0")
	isp := w.access(first, w.host.Uplink, &topo.Advert{Prefixes: []string{onLink(first)}})
	w.ok(isp.Route6(w.ctx, pool1, w.host.Node, isp.link))
	kept := w.watched(isp)
	w.settled(isp)
	file := "/run/sextant-uplink/" + isp.link
	tells := func(env, action, want string) {
		t.Helper()
		w.sh("env -i PATH=$PATH " + env + " " + hook(t, "networkmanager-dispatcher") + " " + isp.link + " " + action)
		if got := w.sh("cat " + file + " 2>&1 || true"); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s with %q: the file has %q, want %q", action, env, got, want)
		}
	}
	tells("DHCP6_IP6_ADDRESS=2001:db8:1::7", "up", "No such file")
	tells("DHCP6_IP6_PREFIX='"+pool2.String()+" 2001:db8:33::/64'", "dhcp6-change", pool2.String()+"\n2001:db8:33::/64")
	tells("DHCP6_IP6_PREFIX="+pool1.String()+" DHCP6_PREFERRED_LIFE=600 DHCP6_MAX_LIFE=900", "dhcp6-change", pool1.String()+" 600 900")
	tells("", "dhcp4-change", pool1.String()+" 600 900")
	w.sh("sextant uplink set " + isp.link + " ask=off file=" + file)
	w.stands("default", "delegated", pool1.String(), file)
	w.usable(w.guest("alpha", "default"), w.holds("default", pool1, "active"))
	tells("DHCP6_IP6_PREFIX="+pool1.String(), "down", "")
	w.stands("default", "proxied")
	kept("all of it")
}
