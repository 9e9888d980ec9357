package scenario

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/lab/topo"
)

// lease is a line of `sextant lease list -o json`.
type lease struct {
	MAC       string     `json:"mac"`
	Address   netip.Addr `json:"address"`
	How       string     `json:"how"`
	Port      string     `json:"port"`
	Temporary bool       `json:"temporary"`
}

func (w *world) leases(network string) []lease {
	w.t.Helper()
	var out []lease
	w.json(&out, "sextant lease list network="+network)
	return out
}

// learnTime is what the product promises after an address has passed duplicate
// address detection, and what it takes to ask.
const learnTime = 2 * time.Second

// leased waits until the address is listed as got in that way; "" means that
// it must not be listed any more.
func (w *world) leased(network string, a netip.Addr, how string, limit time.Duration) {
	w.t.Helper()
	begun := time.Now()
	w.eventually(limit, fmt.Sprintf("%v is listed as %q", a, how), func() error {
		all := w.leases(network)
		i := slices.IndexFunc(all, func(l lease) bool { return l.Address == a })
		if i < 0 && how == "" || i >= 0 && all[i].How == how {
			return nil
		}
		return fmt.Errorf("listed: %+v", all)
	})
	w.t.Logf("%v is %q after %v", a, how, time.Since(begun).Round(time.Millisecond))
}

// own returns the guest's global IPv6 addresses that have passed DAD.
func (w *world) own(n *topo.Node) []netip.Addr {
	w.t.Helper()
	var out []netip.Addr
	for f := range strings.FieldsSeq(w.on(n, "ip -6 -o addr show dev eth0 scope global -tentative | sed 's/.*inet6 \\([^/]*\\).*/\\1/'")) {
		out = append(out, netip.MustParseAddr(f))
	}
	return out
}

// TestLeasesOfTheWire: addresses that nobody asked us for, and over which the
// host never exchanged a packet with the guest, are listed once the guest has
// them, are in DNS, and go with the guest.
func TestLeasesOfTheWire(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2*time.Minute, topo.HostConfig{})
	w.serve()
	quiet := w.plug("quiet", "network=default")
	asker := w.guest("asker", "default")

	// SLAAC with privacy addresses, in the network's own prefix and in that which
	// it shares with the uplink; the guest itself says nothing. A kernel makes a
	// temporary address beside each stable one only when it makes that.
	w.on(quiet, "ip link set eth0 down; sysctl -qw net.ipv6.conf.eth0.use_tempaddr=1; ip link set eth0 up")
	shared, ula := topo.UpstreamLink6.Masked(), netip.MustParsePrefix("fd00::/8")
	var slaac []netip.Addr
	w.eventually(60*time.Second, "two addresses of each prefix", func() error {
		slaac = w.own(quiet)
		if within(slaac, shared) != 2 || within(slaac, ula) != 2 || len(slaac) != 4 {
			return fmt.Errorf("%v", slaac)
		}
		return nil
	})
	for _, a := range slaac {
		w.leased("default", a, "slaac", learnTime)
	}
	var stable, temporary, fixed []netip.Addr
	for _, l := range w.leases("default") {
		switch {
		case !slices.Contains(slaac, l.Address):
		case l.Temporary:
			temporary = append(temporary, l.Address)
		default:
			stable = append(stable, l.Address)
		}
	}
	for _, p := range []netip.Prefix{shared, ula} {
		if within(stable, p) != 1 || within(temporary, p) != 1 {
			t.Fatalf("one of two addresses in %v is temporary: %+v", p, w.leases("default"))
		}
	}

	// Fixed ones that the guest's owner typed in.
	for _, a := range stable {
		b := a.As16()
		copy(b[8:], []byte{6: 0xab, 7: 0xcd})
		typed := netip.AddrFrom16(b)
		w.on(quiet, "ip addr add "+typed.String()+"/64 dev eth0")
		fixed = append(fixed, typed)
	}
	w.eventually(5*time.Second, fmt.Sprintf("DAD of %v", fixed), func() error {
		own := w.own(quiet)
		if slices.ContainsFunc(fixed, func(a netip.Addr) bool { return !slices.Contains(own, a) }) {
			return fmt.Errorf("%v", own)
		}
		return nil
	})
	for _, a := range fixed {
		w.leased("default", a, "fixed", learnTime)
	}

	w.eventually(3*time.Second, "the addresses are in DNS", func() error {
		out := strings.Fields(w.on(asker, "dig +short +time=2 +tries=1 quiet.default.internal AAAA"))
		for _, want := range slices.Concat(stable, fixed) {
			if !slices.Contains(out, want.String()) {
				return fmt.Errorf("no %v in %v", want, out)
			}
		}
		for _, a := range temporary {
			if slices.Contains(out, a.String()) {
				t.Errorf("the temporary address is in DNS: %v", out)
			}
		}
		return nil
	})
	for _, a := range fixed {
		if got := w.on(asker, "dig +short +time=2 -x "+a.String()); got != "quiet.default.internal." {
			t.Errorf("the reverse of %v is %q", a, got)
		}
	}
	w.reaches(asker, "quiet.default.internal", true)

	w.on(quiet, "ip link set eth0 down")
	for _, a := range slices.Concat(slaac, fixed) {
		w.leased("default", a, "", 5*time.Second)
	}
	got := w.on(asker, "dig +short +time=2 "+"quiet.default.internal AAAA")
	for _, a := range fixed {
		if strings.Contains(got, a.String()) {
			t.Errorf("the guest is off, DNS says\n%s", got)
		}
	}
	w.on(quiet, "ip link set eth0 up")
	for _, a := range stable {
		w.leased("default", a, "slaac", 10*time.Second)
	}
	w.sh("sextant port delete quiet")
	for _, a := range stable {
		w.leased("default", a, "", 5*time.Second)
	}
}

// within counts the addresses that are in a prefix.
func within(list []netip.Addr, p netip.Prefix) int {
	n := 0
	for _, a := range list {
		if p.Contains(a) {
			n++
		}
	}
	return n
}
