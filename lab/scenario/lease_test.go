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

	// SLAAC with privacy addresses; the guest itself says nothing.
	w.on(quiet, "sysctl -qw net.ipv6.conf.eth0.use_tempaddr=1; ip link set eth0 up")
	w.eventually(60*time.Second, "two addresses", func() error {
		if got := w.own(quiet); len(got) < 2 {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	slaac := w.own(quiet)
	for _, a := range slaac {
		w.leased("default", a, "slaac", learnTime)
	}
	stable, temporary := netip.Addr{}, netip.Addr{}
	for _, l := range w.leases("default") {
		if !slices.Contains(slaac, l.Address) {
			continue
		}
		if l.Temporary {
			temporary = l.Address
		} else {
			stable = l.Address
		}
	}
	if !stable.IsValid() || !temporary.IsValid() {
		t.Errorf("one of %v is temporary: %+v", slaac, w.leases("default"))
	}

	// A fixed one that the guest's owner typed in.
	fixed := netip.MustParseAddr(strings.Join(strings.Split(stable.String(), ":")[:4], ":") + "::abcd")
	w.on(quiet, "ip addr add "+fixed.String()+"/64 dev eth0")
	w.eventually(5*time.Second, "DAD of "+fixed.String(), func() error {
		if !slices.Contains(w.own(quiet), fixed) {
			return fmt.Errorf("not done")
		}
		return nil
	})
	w.leased("default", fixed, "fixed", learnTime)

	w.eventually(3*time.Second, "the addresses are in DNS", func() error {
		out := w.on(asker, "dig +short +time=2 +tries=1 quiet.default.internal AAAA")
		for _, want := range []netip.Addr{stable, fixed} {
			if !slices.Contains(strings.Fields(out), want.String()) {
				return fmt.Errorf("no %v in\n%s", want, out)
			}
		}
		if strings.Contains(out, temporary.String()) {
			t.Errorf("the temporary address is in DNS:\n%s", out)
		}
		return nil
	})
	if got := w.on(asker, "dig +short +time=2 -x "+fixed.String()); got != "quiet.default.internal." {
		t.Errorf("the reverse of %v is %q", fixed, got)
	}
	w.reaches(asker, "quiet.default.internal", true)

	w.on(quiet, "ip link set eth0 down")
	for _, a := range append(slaac, fixed) {
		w.leased("default", a, "", 5*time.Second)
	}
	if got := w.on(asker, "dig +short +time=2 "+"quiet.default.internal AAAA"); strings.Contains(got, fixed.String()) {
		t.Errorf("the guest is off, DNS says\n%s", got)
	}
	w.on(quiet, "ip link set eth0 up")
	w.leased("default", stable, "slaac", 10*time.Second)
	w.sh("sextant port delete quiet")
	w.leased("default", stable, "", 5*time.Second)
}
