package cli

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// kernel is what cleanup must leave as it was before the daemon came: links,
// rules, namespaces, routes, and the settings that decide about forwarding and
// router advertisements.
func (h *host) kernel() string {
	h.t.Helper()
	return h.sh(`ip -o link; ip -o addr | sed 's/\(valid\|preferred\)_lft.*//'; ip rule; ip -6 rule
ip route show table all; ip -6 route show table all
nft list ruleset; ip netns list
sysctl -a 2>/dev/null | grep -E '^net\.(ipv[46]\.(conf|neigh)|ipv4\.ip_forward|bridge)\.?' | grep -v -e mtu -e stable_secret -e hop_limit`)
}

// busy is networks, a router and ports.
const busy = `
sextant network create w ipv4=nat ipv4.address=192.168.150.1/24 ipv6=routed ipv6.address=2001:db8:5::1/64
sextant network create l2 ipv4=none ipv6=link-local
sextant router create r
sextant network create n2 router=r ipv4=nat ipv4.address=10.7.0.1/24 ipv6=routed ipv6.address=2001:db8:7::1/64
ip netns add guest
sextant port plug p1 network=w netns=guest device=eth0
sextant port plug p2 network=w tap=tap7
`

// uplink gives the host addresses, routes and a link that hears routers.
const uplink = `
ip link add up0 type veth peer name up1
sysctl -qw net.ipv6.conf.up0.accept_ra=1
ip link set up0 addrgenmode none up; ip link set up1 addrgenmode none up
timeout 5 sh -c 'until ip -o link show up1 | grep -q "state UP"; do :; done'
ip addr add 192.0.2.2/24 dev up0; ip route add default via 192.0.2.1
ip addr add 2001:db8:0:1::2/64 dev up0 nodad; ip route add default via 2001:db8:0:1::1
timeout 5 sh -c 'until ip -6 route show table local | grep -q 2001:db8:0:1::2; do :; done'
`

// TestCleanup: nothing of ours is left after cleanup, whether the daemon runs,
// was stopped, or was killed.
func TestCleanup(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"running", "stopped", "killed"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			h.sh(uplink)
			before := h.kernel()
			daemon := h.serve()
			h.sh(busy)
			if now := h.sh("ip -o link; nft list tables; ip netns"); !strings.Contains(now, "sx-w") || !strings.Contains(now, "table inet sextant") || !strings.Contains(now, "sextant-") {
				t.Fatalf("nothing to clean up:\n%s", now)
			}
			switch end {
			case "stopped":
				if err := daemon.Stop(); err != nil {
					t.Fatal(err)
				}
			case "killed":
				h.kill("serve", "control", "agent")
				_ = daemon.Wait(h.ctx)
			}
			r := h.run("sextant", "cleanup", "--state-dir", h.stateDir())
			if r.code != 0 || r.stderr != "" || !strings.HasPrefix(r.stdout, "everything of Sextant's is removed") {
				t.Errorf("cleanup: %+v", r)
			}
			h.sh("ip netns delete guest")
			if after := h.kernel(); after != before {
				t.Errorf("cleanup left the host changed:\n%s", difference(before, after))
			}
			if end == "running" {
				h.resting()
				return
			}
			r = h.run("sextant", "cleanup", "--state-dir", h.stateDir(), "-o", "json")
			if r.code != 0 || !strings.Contains(r.stdout, `"removed": 0`) {
				t.Errorf("a second cleanup: %+v", r)
			}
		})
	}
}

// resting checks that a daemon whose host was cleaned up says so, to everybody
// who asks or wishes, and works again when it is restarted.
func (h *host) resting() {
	h.t.Helper()
	if out := h.sh("sextant status"); !strings.Contains(out, "problem: network w: this host was cleaned up") || strings.Contains(out, "running") {
		h.t.Errorf("status after cleanup:\n%s", out)
	}
	h.run("sextant", "network", "create", "x", "--wait=10s").refused(h.t, 1, `network create: this host was cleaned up.*; restart the daemon`)
	h.sh("sextant network delete l2")
	h.kill("agent")
	netnstest.Eventually(h.t, 20*time.Second, "everything is back", func() error {
		_, err := h.Sh(h.ctx, "sextant network list | grep 'w  *running'; ip -o link | grep -q sx-w; ! ip -o link | grep sx-l2")
		return err
	})
}

// TestCleanupBesideAgent: while an agent lives that would put everything back,
// cleanup without control says so and touches nothing; so it does for somebody
// who is not root.
func TestCleanupBesideAgent(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	daemon := h.serve()
	h.sh("sextant network create w")
	h.kill("serve", "control")
	_ = daemon.Wait(h.ctx)
	before := h.sh("ip -o link; nft list ruleset")
	cleanup := []string{"sextant", "cleanup", "--state-dir", h.stateDir()}
	h.run(cleanup...).refused(t, 1, `the daemon's process "agent" runs and does not answer; stop it first: .*/run/sextant/agent\.pid`)
	// Its socket has no listener any more, so that everybody is refused alike.
	h.sh("chmod 0666 /run/sextant/api.sock; rm /run/sextant/api.sock")
	nobody := []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}
	h.run(append(nobody, cleanup...)...).refused(t, 1, `only root can remove links and rules; run it with sudo`)
	if now := h.sh("ip -o link; nft list ruleset"); now != before {
		t.Errorf("something changed:\n%s", difference(before, now))
	}
	h.kill("agent")
	h.sh(strings.Join(cleanup, " "))
	if now := h.sh("ip -o link; nft list ruleset"); strings.Contains(now, "sextant") {
		t.Errorf("left behind:\n%s", now)
	}
}

// kill ends processes of the daemon as a crash would, the first first.
func (h *host) kill(names ...string) {
	h.t.Helper()
	for _, name := range names {
		if err := syscall.Kill(h.pid(name), syscall.SIGKILL); err != nil {
			h.t.Fatalf("kill %s: %v", name, err)
		}
	}
}
