package cli

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// wayOut gives the host an uplink with both families.
const wayOut = `
ip link add ext0 type veth peer name ext1
ip link set ext0 addrgenmode none up; ip link set ext1 addrgenmode none up
ip addr add 10.55.0.2/16 dev ext0
ip addr add 2001:db8:77::2/64 dev ext0 nodad
ip route add default via 10.55.0.1
ip -6 route add default via 2001:db8:77::1 dev ext0`

// TestUplinkWishes: a prefix that somebody says is routed to the host is the
// networks', is shown with where it comes from, is in a backup, and goes when
// nothing is wished of the uplink any more. Wishes wait for their host.
func TestUplinkWishes(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.serve()
	h.sh(wayOut)
	h.sh("sextant network create web")
	eventually := func(what, script string, want ...string) {
		t.Helper()
		netnstest.Eventually(t, 45*time.Second, what, func() error {
			out, err := h.Sh(h.ctx, script)
			if err != nil {
				return err
			}
			for _, w := range want {
				if !strings.Contains(strings.Join(strings.Fields(out), " "), w) {
					return fmt.Errorf("%q is not in\n%s", w, out)
				}
			}
			return nil
		})
	}
	eventually("the uplink is found", "sextant uplink list", "host ext0", "up yes yes")
	h.sh("sextant uplink set ext0 prefixes=2001:db8:100::/56 settle=1s ask=off")
	eventually("a network has a part of it", "sextant prefix list", "web delegated ext0 delegated active", "2001:db8:100::/56 - delegated ext0 - active")
	eventually("the status says so", "sextant status", "network web: IPv6 delegated: ", "2001:db8:100::/56")
	eventually("so does the network", "sextant network show web", "mode6: delegated", "rung: delegated", "uplink: ext0")
	if out := h.sh("sextant uplink show ext0"); !strings.Contains(out, "  settle: 1s\n") || !strings.Contains(out, "- 2001:db8:100::/56\n") {
		t.Errorf("shown as\n%s", out)
	}
	if out := h.sh("sextant backup " + h.Dir() + "/b >/dev/null; grep -c '\"kind\":\"uplink\"' " + h.Dir() + "/b"); strings.TrimSpace(out) != "1" {
		t.Errorf("%s policies in the backup", out)
	}
	h.sh("sextant uplink delete ext0")
	eventually("the prefix is only what guests may still use", "sextant prefix list", "web delegated ext0 delegated deprecated")
	eventually("and the network is where it was", "sextant status", "network web: IPv6 nat66: ", "RFC 6724", "a delegated prefix")
	// What cannot be done is an error with its reason, and leaves nothing behind;
	// what may come later is a problem.
	h.sh("ip address change 10.55.0.2/16 dev ext0 valid_lft 1000 preferred_lft 1000")
	out, err := h.Sh(h.ctx, "sextant uplink set ext0 shared=true 2>&1")
	if err == nil || !strings.Contains(out+err.Error(), "a DHCP client keeps it") || !strings.Contains(out+err.Error(), "exit status 1") {
		t.Errorf("shared: %v\n%s", err, out)
	}
	if out := h.sh("sextant uplink show ext0; ip -o link show type bridge"); strings.Contains(out, "policy:") || strings.Contains(out, "br-ext0") {
		t.Errorf("it is half shared:\n%s", out)
	}
	h.sh("ip address change 10.55.0.2/16 dev ext0 valid_lft forever preferred_lft forever")
	if out := h.sh("sextant uplink set ext0 shared=true"); !strings.Contains(out, "its addresses are on the bridge br-ext0") {
		t.Errorf("shared: %s", out)
	}
	if out := h.sh("ip -o -4 address show dev br-ext0"); !strings.Contains(out, "10.55.0.2/16") { // at once: it was waited for
		t.Errorf("br-ext0 has %q", out)
	}
	h.sh("sextant uplink delete ext0; ip -o -4 address show dev ext0 | grep -q 10.55.0.2/16; sextant uplink set ext0 --wait 0 ask=off")
	if out := h.sh("sextant uplink set ext0 command=/nonexistent/prefixes"); !strings.Contains(out, "problem: the command /nonexistent/prefixes: ") {
		t.Errorf("a command that is not there: %s", out)
	}
	if out := h.sh("sextant uplink set ext7 pinned=ipv6"); !strings.Contains(out, "problem: name: there is no link ext7") {
		t.Errorf("a link that is not there: %s", out)
	}
	if out := h.sh("sextant events | cat"); !strings.Contains(out, "uplink ext0 created") || !strings.Contains(out, "uplink ext0 deleted") {
		t.Errorf("events:\n%s", out)
	}
}
