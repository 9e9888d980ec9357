package link_test

import (
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/plan"
)

// TestRouteBeside: a route of ours with a metric can be beside another
// program's to the same prefix, as a DHCPv6 client of the host has one, and
// beside another one of ours; what goes is only what is meant.
func TestRouteBeside(t *testing.T) {
	h := newHost(t)
	h.ns.Run("ip", "link", "set", "lo", "up")
	h.ns.Run("ip", "-6", "route", "add", "unreachable", "2001:db8:100::/56", "proto", "dhcp")
	beside := plan.HostRoute{Prefix: pfx("2001:db8:100::/56"), Unreachable: true, Metric: 8383, Owner: owner}
	plain := plan.HostRoute{Prefix: pfx("2001:db8:200::/56"), Unreachable: true, Owner: owner}
	metric := plain
	metric.Metric = 8383
	four := plan.HostRoute{Prefix: pfx("10.7.0.0/16"), Unreachable: true, Metric: 77, Owner: owner}
	all := []plan.Item{beside, plain, metric, four}
	h.apply(all, nil)
	h.settled(all)
	says := func(want ...string) {
		t.Helper()
		out := h.ns.Run("sh", "-c", "ip -6 route show type unreachable; ip -4 route show type unreachable")
		var got []string
		for line := range strings.Lines(out) {
			f := strings.Fields(line)
			if line = strings.Join(f[1:], " "); strings.HasPrefix(f[1], "2001:db8:") || strings.HasPrefix(f[1], "10.") {
				line, _, _ = strings.Cut(line, " pref")
				got = append(got, strings.Replace(line, "dev lo ", "", 1))
			}
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("routes:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	theirs, ours := "2001:db8:100::/56 proto dhcp metric 1024", "2001:db8:100::/56 proto 83 metric 8383"
	says(theirs, ours, "2001:db8:200::/56 proto 83 metric 1024", "2001:db8:200::/56 proto 83 metric 8383", "10.7.0.0/16 proto 83 metric 77")
	h.apply([]plan.Item{beside, metric, four}, []plan.Item{plain})
	says(theirs, ours, "2001:db8:200::/56 proto 83 metric 8383", "10.7.0.0/16 proto 83 metric 77")
	h.ns.Run("ip", "-6", "route", "del", "unreachable", "2001:db8:100::/56", "proto", "dhcp")
	says(ours, "2001:db8:200::/56 proto 83 metric 8383", "10.7.0.0/16 proto 83 metric 77")
	h.apply(nil, []plan.Item{beside, metric, four})
	says()
}
