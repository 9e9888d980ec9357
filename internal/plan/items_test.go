package plan_test

import (
	"testing"

	"github.com/sextant-net/sextant/internal/plan"
)

// TestSysctlCommand: a link's name may have dots (a VLAN's usually does), which
// sysctl(8) would take for slashes.
func TestSysctlCommand(t *testing.T) {
	for path, want := range map[string]string{
		"net/ipv6/conf/eth0/accept_ra":     "sysctl -w net.ipv6.conf.eth0.accept_ra=2",
		"net/ipv6/conf/eth0.100/accept_ra": "sysctl -w net/ipv6/conf/eth0.100/accept_ra=2",
	} {
		if got := (plan.Sysctl{Path: path, Value: "2"}).Commands(); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}
