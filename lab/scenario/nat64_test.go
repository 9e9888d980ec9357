package scenario

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/lab/topo"
)

// TestGuestWithoutIPv4: on a host like any other, a guest that has no IPv4 at
// all finds a host that has nothing else by its name and reaches it, also while
// the agent is killed; with the network goes the translator, and with cleanup
// whatever is left. The host's own connectivity stays throughout.
func TestGuestWithoutIPv4(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "tayga", "dig", "ping")
	w := newWorld(t, 2*time.Minute, topo.HostConfig{})
	w.serve()
	w.sh("sextant network create six ipv4=none nat64=auto dns.records='four A " + topo.Server4.String() + "'")
	if out := w.sh("sextant network show six"); !strings.Contains(out, "translator of this host") {
		t.Errorf("show says nothing of the translator:\n%s", out)
	}
	g := w.plug("alpha", "network=six")
	w.on(g, "ip link set eth0 up")
	reaches := func() {
		t.Helper()
		w.eventually(30*time.Second, "an IPv4 host is reached by name", func() error {
			_, err := g.Sh(w.ctx, `set -e
test -z "$(ip -4 addr show dev eth0)"
gw=$(ip -6 -o addr show dev eth0 scope global -tentative | sed -n 's,.*inet6 \(fd[^ ]*\)::[^ :]*/128.*,\1::1,p;s,.*inet6 \(fd[^:]*:[^:]*:[^:]*:[^:]*\):.*/64.*,\1::1,p' | head -n 1)
a=$(dig +short +time=2 +tries=1 @$gw AAAA four.six.internal)
nc -w 3 $a 80 </dev/null
ping -6 -c 1 -W 2 $a`)
			return err
		})
		w.sh("ping -c 1 -W 2 " + topo.Server4.String() + "; ping -c 1 -W 2 " + topo.Server6.String())
	}
	reaches()
	translator := func() string { return strings.TrimSpace(w.sh("cat /run/sextant/nat64/tayga.pid")) }
	was := translator()
	agent := w.pid("agent")
	w.kill("agent")
	reaches()
	w.eventually(40*time.Second, "the agent is back", func() error {
		if w.pid("agent") == agent {
			return errors.New("not yet")
		}
		_, err := w.host.Sh(w.ctx, "sextant status")
		return err
	})
	reaches()
	if now := translator(); now != was {
		t.Errorf("translator %s, was %s", now, was)
	}
	gone := func(what string) {
		t.Helper()
		w.eventually(10*time.Second, what+" leaves no translator", func() error {
			_, err := w.host.Sh(w.ctx, "test ! -e /run/sextant/nat64 && test ! -e /proc/"+strings.Fields(was)[0]+" && ! ip link show sextant64 2>/dev/null")
			return err
		})
	}
	w.sh("sextant network stop six")
	gone("stopping the network")
	w.sh("sextant network start six")
	reaches()
	was = translator()
	w.sh("sextant cleanup")
	gone("cleanup")
}
