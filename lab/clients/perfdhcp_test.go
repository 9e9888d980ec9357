package clients

import (
	"regexp"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// TestPerfdhcp: Kea's load generator plays a hundred clients behind one card,
// and none of them is left without an answer to each of its messages: four in
// both families, two with rapid commit. The clients are one guest's, whose port
// has its address, and a stranger's, who is given as many as it asks for.
func TestPerfdhcp(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "perfdhcp")
	n := newNetwork(t, "dhcp.limit=65536 dhcp.probe=no")
	for _, tc := range []struct{ name, args string }{
		{"sarr", "-6"},
		{"rapid", "-6 -c -i"},
		{"dora", "-4"},
	} {
		for _, who := range []string{"port", "stranger"} {
			t.Run(tc.name+"/"+who, func(t *testing.T) {
				t.Parallel()
				n := n.of(t)
				g := (*guest)(nil)
				if who == "port" {
					g = n.port("perf"+tc.name, "")
				} else {
					g = n.stranger("perf" + tc.name)
				}
				g.up()
				if tc.args == "-4" {
					a := g.fix4
					if !a.IsValid() {
						a = n.gate4.Next()
					}
					g.sh("ip addr add " + a.String() + "/24 dev eth0")
				}
				out := g.sh("perfdhcp " + tc.args + " -l eth0 -r 100 -n 100 -R 100 -W 3000000 || true")
				exchanges := strings.Count(out, "sent packets: 100\n")
				want := 2
				if strings.Contains(tc.args, "-i") {
					want = 1
				}
				if exchanges != want {
					t.Errorf("%d exchanges were made a hundred times, want %d", exchanges, want)
				}
				for _, m := range regexp.MustCompile(`(drops|orphans|rejected leases|collected.*): ([0-9]+)\n`).FindAllStringSubmatch(out, -1) {
					if m[1] != "collected" && m[2] != "0" {
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
