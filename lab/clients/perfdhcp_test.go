package clients

import (
	"regexp"
	"testing"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// TestPerfdhcp: Kea's load generator plays a hundred clients behind one card,
// and none of them is left without an answer to each of its messages, four in
// both families. (With rapid commit it ends at the first Reply, in Kea 2.2; see
// dhcp6crapid for that.) The clients are one guest's, whose port has its
// address, and a stranger's, who is given as many as it asks for.
func TestPerfdhcp(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "perfdhcp")
	n := newNetwork(t, "dhcp.limit=65536 dhcp.probe=no")
	n.set("dhcp.relays=" + n.prefix4.String()) // in DHCPv4 it plays a relay
	for _, tc := range []struct{ name, args string }{
		{"sarr", "-6"},
		{"dora", "-4"},
	} {
		for _, who := range []string{"port", "stranger"} {
			t.Run(tc.name+"/"+who, func(t *testing.T) {
				t.Parallel()
				n := n.of(t)
				g := (*guest)(nil)
				if who == "port" {
					g = n.port("p"+tc.name, "")
				} else {
					g = n.stranger("s" + tc.name)
				}
				// It takes the first address there is, also one whose DAD is not over.
				g.sh("sysctl -qw net.ipv6.conf.eth0.accept_ra=0")
				g.up()
				if tc.args == "-4" {
					a := g.fix4
					if !a.IsValid() {
						a = n.gate4.Next()
					}
					g.sh("ip addr add " + a.String() + "/24 dev eth0")
				}
				out := g.sh("perfdhcp " + tc.args + " -l eth0 -r 100 -n 100 -R 100 -W 2000000 || true")
				// A few more than asked for may be made.
				if exchanges := regexp.MustCompile(`sent packets: 1[0-9][0-9]\n`).FindAllString(out, -1); len(exchanges) != 2 {
					t.Errorf("%d exchanges were made a hundred times, want 2", len(exchanges))
				}
				for _, m := range regexp.MustCompile(`(drops|orphans|rejected leases): ([0-9]+)\n`).FindAllStringSubmatch(out, -1) {
					if m[2] != "0" {
						t.Errorf("%s: %s", m[1], m[2])
					}
				}
				if t.Failed() {
					t.Log(out)
				}
			})
		}
	}
}
