package scenario

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/lab/topo"
)

// seenAs asks the upstream's server which address the guest has to it.
func (w *world) seenAs(n *topo.Node, server netip.Addr) string {
	w.t.Helper()
	var out string
	w.eventually(10*time.Second, n.Name+" reaches "+server.String(), func() (err error) {
		out, err = n.Sh(w.ctx, "nc -w 3 "+server.String()+" 80 </dev/null")
		return err
	})
	return out
}

// reaches tests whether echo requests of the guest are answered.
func (w *world) reaches(from *topo.Node, to string, want bool) {
	w.t.Helper()
	patience := "-c1 -W1"
	if want {
		patience = "-c3 -i0.2 -W5"
	}
	out, err := from.Sh(w.ctx, "ping "+patience+" "+to)
	if (err == nil) != want {
		w.t.Errorf("%s reaches %s: %v, want %v\n%s", from.Name, to, err == nil, want, out)
	}
}

// TestRouters: two projects with the same prefixes, each behind a router of its
// own: both reach the outside, neither the other, and each has its own servers.
func TestRouters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2*time.Minute, topo.HostConfig{})
	w.serve("--no-default-network")
	guests := map[string]*topo.Node{}
	for _, p := range []struct{ name, host string }{{"red", "10"}, {"blue", "20"}} {
		w.sh(strings.ReplaceAll(`sextant project create PROJECT
sextant --project PROJECT router create edge
sextant --project PROJECT network create net bridge=br-PROJECT router=edge ipv4=nat ipv4.address=10.9.0.1/24 ipv6=nat66 ipv6.address=fd09:9:9:9::1/64`, "PROJECT", p.name))
		g := w.plug(p.name+"1", "--project "+p.name+" network=net addresses=10.9.0."+p.host+",fd09:9:9:9::"+p.host)
		w.address4(g)
		w.on(g, "sysctl -qw net.ipv6.conf.eth0.accept_dad=0; ip addr add fd09:9:9:9::"+p.host+"/64 dev eth0")
		guests[p.name] = g
	}
	red, blue := guests["red"], guests["blue"]
	for _, g := range guests {
		w.eventually(30*time.Second, g.Name+" has a default route", func() error {
			_, err := g.Sh(w.ctx, "ip -6 route show default | grep -q .")
			return err
		})
		if got := w.seenAs(g, topo.Server4); !strings.Contains(got, topo.HostLink4.Addr().String()) {
			t.Errorf("%s is seen as %q by IPv4", g.Name, got)
		}
		if got := w.seenAs(g, topo.Server6); !strings.Contains(got, "2001:db8:0:1:") {
			t.Errorf("%s is seen as %q by IPv6", g.Name, got)
		}
	}
	w.reaches(red, "10.9.0.1", true)
	w.reaches(red, "fd09:9:9:9::1", true)
	w.reaches(red, "10.9.0.20", false)
	w.reaches(red, "fd09:9:9:9::20", false)
	w.reaches(blue, "10.9.0.10", false)
	w.reaches(blue, "fd09:9:9:9::10", false)
	for g, want := range map[*topo.Node]string{red: "10.9.0.10", blue: "10.9.0.20"} {
		name := g.Name + ".net.internal"
		for _, server := range []string{"10.9.0.1", "fd09:9:9:9::1"} {
			if got := w.on(g, "dig +short +time=2 +tries=2 @"+server+" "+name); got != want {
				t.Errorf("%s asks %s for %s: %q, want %s", g.Name, server, name, got, want)
			}
		}
		if got := w.on(g, "dig +short +time=2 +tries=2 @10.9.0.1 "+topo.ServerName); got != topo.Server4.String() {
			t.Errorf("%s asks for the outside: %q", g.Name, got)
		}
	}
	if got := w.on(red, "dig +short +time=2 +tries=1 @10.9.0.1 blue1.net.internal"); got != "" {
		t.Errorf("red sees blue's names: %s", got)
	}
	w.routedThroughRouter()
	w.routersMended(red, blue)
	w.sh("sextant cleanup")
	w.eventually(10*time.Second, "nothing is left", func() error {
		if out := w.sh("ls /run/netns | grep sextant- || true; ip -o link | grep 'sx[rgp]' || true"); out != "" {
			return &differs{"", out}
		}
		return nil
	})
}

// routedThroughRouter: a network with a global prefix behind red's router.
func (w *world) routedThroughRouter() {
	w.t.Helper()
	prefix := netip.MustParsePrefix("2001:db8:5::/64")
	if err := w.up.Route(w.ctx, prefix, w.host); err != nil {
		w.t.Fatal(err)
	}
	w.sh("sextant --project red network create public router=edge ipv4=none ipv6=routed ipv6.address=2001:db8:5::1/64")
	g := w.plug("red2", "--project red network=public")
	w.on(g, "ip link set eth0 up")
	var own string
	w.eventually(30*time.Second, "red2 has a global address", func() (err error) {
		own, err = g.Sh(w.ctx, "ip -6 route show default | grep -q . && ip -6 -o addr show dev eth0 scope global -tentative | grep -o '2001:db8:5:[^/]*'")
		return err
	})
	if got := w.seenAs(g, topo.Server6); !strings.Contains(own, strings.TrimSpace(got)) {
		w.t.Errorf("red2 is seen as %q, has %s", got, own)
	}
	own, _, _ = strings.Cut(own, "\n")
	w.reaches(w.up.Node, own, true) // echo is let in
	if out, err := w.up.Sh(w.ctx, "nc -z -w 1 "+own+" 22"); err == nil {
		w.t.Errorf("a connection from outside is let in: %s", out)
	}
}

// routersMended: what others remove of a router comes back, and a crash of
// everything changes nothing in the namespaces.
func (w *world) routersMended(guests ...*topo.Node) {
	w.t.Helper()
	ns := strings.Fields(w.sh("ls /run/netns | grep ^sextant-"))
	if len(ns) != 2 {
		w.t.Fatalf("routers' namespaces: %v", ns)
	}
	look := ""
	for _, n := range ns {
		look += "ip -n " + n + " -o addr | sed 's/ valid_lft.*//'; ip -n " + n + " route; ip -n " + n + " -6 route show default; ip netns exec " + n + " nft list ruleset;"
	}
	before := w.sh(look)
	for _, damage := range []string{
		"ip netns exec " + ns[0] + " nft flush ruleset",
		"ip -n " + ns[0] + " route flush default",
		"ip -n " + ns[1] + " link delete uplink",
		"ip -n " + ns[1] + " addr flush dev br-red scope global || ip -n " + ns[1] + " addr flush dev br-blue scope global",
	} {
		w.sh(damage)
		w.eventually(2*repairTime, damage+": repaired", func() error {
			if after := w.sh(look); unnumbered(after) != unnumbered(before) {
				return &differs{unnumbered(before), unnumbered(after)}
			}
			return nil
		})
		for _, g := range guests {
			w.answers(g)
		}
	}
	before = w.sh(look)
	for _, p := range []string{"serve", "control", "agent"} {
		w.kill(p)
	}
	_ = w.daemon.Wait(w.ctx)
	w.serve(w.flags...)
	if after := w.sh(look); normal(after) != normal(before) {
		w.t.Errorf("after a crash: %v", &differs{before, after})
	}
	for _, g := range guests {
		w.answers(g)
	}
}

// unnumbered leaves out the indexes of links, which are new when a link is made
// anew, and the host's link-local addresses.
func unnumbered(s string) string {
	var lines []string
	for line := range strings.Lines(normal(s)) {
		if i := strings.Index(line, ": "); i > 0 && i < 4 {
			line = line[i+2:]
		}
		if !strings.Contains(line, "inet6 fe80:") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
