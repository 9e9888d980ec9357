package uplink

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sextant-net/sextant/lab/topo"
)

// shared makes an uplink shareable, under watch, and confirms.
func (w *world) shared(a *access) {
	w.t.Helper()
	w.sh("sextant uplink set " + a.link + " shared=true --confirm 60s")
	w.eventually(patience, a.link+" is a port of a bridge", func() error {
		_, err := w.host.Sh(w.ctx, "ip -o link show dev "+a.link+" | grep -q ' master '")
		return err
	})
	w.online(w.bridgeOf(a.link), true)
	w.sh("sextant confirm")
}

// bridgeOf is the bridge that a link is a port of.
func (w *world) bridgeOf(link string) string {
	w.t.Helper()
	return w.sh("basename $(readlink /sys/class/net/" + link + "/master)")
}

// TestBridgedTwoUplinks: IPv6 bridged beside NATed IPv4, on two uplinks that
// are shared. Guests autoconfigure from the provider's router, which learns no
// IPv4 of theirs, and follow the uplink in use under traffic.
func TestBridgedTwoUplinks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3*time.Minute, "enp5s0")
	one := w.access(first, "enp5s0", &topo.Advert{Prefixes: []string{onLink(first)}, More: "AdvDefaultPreference high;"})
	two := w.access(other, "eno49np0", &topo.Advert{Prefixes: []string{onLink(other)}, More: "AdvDefaultPreference low;"})
	w.serve()
	// The host itself is never cut off for longer than addresses take to move.
	ping := w.ping(topo.Server4.String())
	w.shared(one)
	w.shared(two)
	if lost := ping(); strings.Contains(lost, "100%") || lost != "" && !mostly(lost) {
		t.Errorf("while the addresses moved: %s", lost)
	}
	one.link, two.link = w.bridgeOf("enp5s0"), w.bridgeOf("eno49np0")
	kept := w.watched(one)
	w.sh("sextant network create wire ipv4=nat ipv6=bridged")
	w.stands("wire", "bridged", "enp5s0")
	alpha, beta := w.guest("alpha", "wire"), w.guest("beta", "wire")
	a := w.usable(alpha, first.Link6.Masked())
	w.address4(alpha)
	w.seenIn(alpha, first.Link4.Masked())
	router, err := one.LinkLocal(w.ctx)
	w.ok(err)
	if out := w.on(alpha, "ip -6 route show default"); !strings.Contains(out, router.String()) {
		t.Errorf("the guest's router is not the provider's, %v:\n%s", router, out)
	}
	t.Run("the other way round", func(t *testing.T) {
		w.reaches(one.Node, a.String())
		if out := w.on(one.Node, "ip -4 neigh show dev wan0"); strings.Count(out, "\n") > 0 {
			t.Errorf("more than the host speaks IPv4 on the link:\n%s", out)
		}
	})
	t.Run("no guest is a router there", func(t *testing.T) {
		w.ok(beta.WriteFile(w.ctx, "/etc/radvd.conf", "interface eth0 { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; prefix 2001:db8:bad::/64 { }; };\n"))
		w.on(beta, "sysctl -qw net.ipv6.conf.all.forwarding=1")
		rogue, err := beta.Start("radvd", "radvd", "--nodaemon", "--logmethod=stderr", "--config=/etc/radvd.conf", "--pidfile=/run/radvd.pid")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rogue.Signal(syscall.SIGTERM) }() // within the network it is heard
		nb := w.neighbour(one, "neighbour")
		w.usableOn(nb, first.Link6.Masked())
		if out, _ := nb.Sh(w.ctx, "rdisc6 -w 4000 -m eth0"); strings.Contains(out, "2001:db8:bad::") {
			t.Errorf("a guest's advertisement gets out:\n%s", out)
		}
	})
	kept("bridged")

	conn4 := w.hold4(alpha)
	w.ok(one.Carrier(w.ctx, one.port, false))
	w.sh("ip -6 route flush default dev " + one.link + "; ip route delete default dev " + one.link)
	w.stands("wire", "bridged", "eno49np0")
	w.usable(alpha, other.Link6.Masked())
	w.seenIn(alpha, other.Link4.Masked())
	_ = conn4.Signal(syscall.SIGKILL) // its translated address was the other uplink's
	w.told("wire eno49np0")
	kept = w.watched(two)
	w.sh("sextant port delete alpha; sextant port delete beta; sextant network delete wire")
	kept("the network went")

	w.sh("sextant uplink set eno49np0 shared=false --confirm 60s")
	w.eventually(patience, "the addresses are back", func() error {
		out, err := w.host.Sh(w.ctx, "ip -o addr show dev eno49np0; ip -o link show dev eno49np0")
		if err == nil && (!strings.Contains(out, "198.51.100.2/24") || strings.Contains(out, " master ")) {
			err = fmt.Errorf("%s", out)
		}
		return err
	})
	w.sh("sextant confirm")
	w.online("eno49np0", true)
}

// mostly reports whether a line of ping's says that at most two seconds of
// packets were lost.
func mostly(line string) bool {
	var sent, got int
	n, _ := fmt.Sscanf(line, "%d packets transmitted, %d received", &sent, &got)
	return n == 2 && sent-got <= 10
}

// hold4 has the guest hold a connection to the internet's IPv4 echo.
func (w *world) hold4(n *topo.Node) held {
	w.t.Helper()
	p, err := n.Start("hold4", peerBinary, "hold", topo.Server4.String()+":7")
	w.ok(err)
	return held{w, p, n.Name + "'s IPv4 connection"}
}

// TestSharedNotConfirmed: what nobody confirms is undone, also when all
// processes are killed in between.
func TestSharedNotConfirmed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, link, event string }{
		{"alone", "eth2", "confirm"},
		// A move that was cut short is undone at once.
		{"killed", "ens256", "back"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, time.Minute, c.link)
			isp := w.access(first, c.link, &topo.Advert{Prefixes: []string{onLink(first)}})
			w.serve()
			// The default network's own routes come in their time.
			listing := "ip -o -4 addr show dev " + c.link + "; ip route | grep -v ' dev sx-'; ip -6 route show default"
			before := w.sh(listing)
			w.sh("sextant uplink set " + c.link + " shared=true --confirm 6s")
			w.eventually(patience, "the link is shared", func() error {
				_, err := w.host.Sh(w.ctx, "ip -o link show dev "+c.link+" | grep -q ' master '")
				return err
			})
			if c.name == "killed" {
				w.kill()
				w.serve(w.flags...)
			}
			w.eventually(patience, "all is as before", func() error {
				out, err := w.host.Sh(w.ctx, "ip -o link show dev "+c.link)
				if err == nil && strings.Contains(out, " master ") {
					err = fmt.Errorf("%s", out)
				}
				return err
			})
			w.online(isp.link, true)
			w.eventually(patience, "all addresses and routes are as before", func() error {
				after := w.sh(listing)
				if plain(after) != plain(before) {
					return fmt.Errorf("before:\n%s\nafter:\n%s", before, after)
				}
				return nil
			})
			w.told(c.link + " " + c.event)
		})
	}
}

// plain is a listing without what changes by itself.
func plain(out string) string {
	var words []string
	// A route of an advertisement that was moved is the kernel's by its flags.
	for f := range strings.FieldsSeq(strings.ReplaceAll(out, " proto ra ", " ")) {
		if !strings.HasSuffix(f, "sec") {
			words = append(words, f)
		}
	}
	return strings.Join(words, " ")
}
