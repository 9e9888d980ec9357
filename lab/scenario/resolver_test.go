package scenario

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/lab/topo"
)

// TestResolversFollow: guests' questions go to the resolvers that the host has
// at the moment, however its resolver file is changed, or to the forwarders
// that their network names; no old answer is told.
func TestResolversFollow(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dnsmasq", "dig")
	w := newWorld(t, time.Minute, topo.HostConfig{})
	for _, n := range []int{11, 12, 13} {
		_, err := w.host.Start(fmt.Sprint("resolver", n), "dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null",
			"--pid-file=", "--user=root", "--bind-interfaces", "--except-interface=lo", fmt.Sprintf("--listen-address=127.0.0.%d", n),
			fmt.Sprintf("--address=/which.example/203.0.113.%d", n), "--local-ttl=3600", fmt.Sprintf("--address=/corp.example/203.0.113.1%d", n))
		if err != nil {
			t.Fatal(err)
		}
	}
	w.serve()
	g := w.guest("alpha", "default")
	asks := func(what, name, want string) {
		t.Helper()
		w.eventually(15*time.Second, what, func() error {
			out, err := g.Sh(w.ctx, "dig +short +time=2 +tries=1 @$(ip -4 route show default | cut -d' ' -f3) "+name)
			if err == nil && strings.TrimSpace(out) != want {
				err = fmt.Errorf("%s is %q, want %s", name, out, want)
			}
			return err
		})
	}
	w.sh("echo nameserver 127.0.0.11 >/etc/resolv.conf")
	asks("the file is written", "which.example", "203.0.113.11")
	w.sh("echo nameserver 127.0.0.12 >/etc/new; mv /etc/new /etc/resolv.conf")
	asks("the file is replaced", "which.example", "203.0.113.12")
	w.sh("ln -sf ../run/resolve/stub.conf /etc/resolv.conf; mkdir -p /run/resolve; echo nameserver 127.0.0.13 >/run/resolve/stub.conf")
	asks("the file is a link to one that comes later", "which.example", "203.0.113.13")
	w.sh("sextant network set default dns.forwarders=corp.example=127.0.0.11")
	asks("a forwarder for a domain", "www.corp.example", "203.0.113.111")
	asks("and the host's resolver for the rest", "which.example", "203.0.113.13")
	w.sh("sextant network set default dns.forwarders=127.0.0.12,corp.example=")
	asks("a forwarder for all", "which.example", "203.0.113.12")
	asks("and nobody for a domain", "www.corp.example", "")
}
