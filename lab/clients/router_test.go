package clients

import (
	"path/filepath"
	"testing"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// TestRouterAdvertisement: what was set is what guests hear, as rdisc6 reads it
// and as radvdump writes it down as a configuration of radvd.
func TestRouterAdvertisement(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "rdisc6", "radvdump")
	n := newNetwork(t, "mtu=1400 ra.maxInterval=9m ra.lifetime=50m ra.preference=high ra.hopLimit=77 ra.reachable=40s ra.retrans=1500ms "+
		"ra.managed=no ra.other=yes ra.mtu=1380 ra.dnsLifetime=21m advertise.valid=3h advertise.preferred=100m advertise.routerAddress=yes "+
		"dns.search=corp.example,lab.example 'routes=2001:db8:f00::/40 pref low lifetime 33m'")
	n.sh(t, "sextant subnet create long network="+n.name+" prefix=2001:db8:7a:"+hex(n.number())+"::/80 guests=stateful")
	g := n.port("judge", "")
	g.up()
	if _, err := g.Start("radvdump", "radvdump"); err != nil {
		t.Fatal(err)
	}
	out := contains(t, g.Node, "rdisc6 -1 -r 3 -w 3000 eth0", "from fe80::")
	// With the R flag the prefix is the gateway's whole address (RFC 6275 section 7.2).
	check(t, "rdisc6", squeeze(out), "Hop limit : 77", "Stateful address conf. : No", "Stateful other conf. : Yes", "Router preference : high",
		"Router lifetime : 3000", "Reachable time : 40000", "Retransmit time : 1500", "Source link-layer address", "MTU : 1380",
		"Prefix : "+n.gate6.String()+"/64", "Valid time : 10800", "Pref. time : 6000", "Recursive DNS server : "+n.gate6.String(), "DNS servers lifetime : 1260",
		"DNS search list : corp.example lab.example", "Route : 2001:db8:f00::/40", "Route preference : low", "Route lifetime : 1980")
	log := filepath.Join(g.Dir(), "radvdump.log")
	dumped := contains(t, g.Node, "rdisc6 -1 -r 3 -w 3000 eth0 >/dev/null; cat "+log, "End of prefix definition", "}; # End of")
	check(t, "radvdump", dumped, "AdvManagedFlag off;", "AdvOtherConfigFlag on;", "AdvReachableTime 40000;", "AdvRetransTimer 1500;", "AdvCurHopLimit 77;",
		"AdvDefaultLifetime 3000;", "AdvDefaultPreference high;", "AdvSourceLLAddress on;", "AdvLinkMTU 1380;", "AdvValidLifetime 10800;",
		"AdvPreferredLifetime 6000;", "AdvRouterAddr on;", "AdvRoutePreference low;", "AdvRouteLifetime 1980;", "RDNSS "+n.gate6.String(),
		"AdvRDNSSLifetime 1260;", "DNSSL corp.example lab.example", "AdvDNSSLLifetime 1260;")
	check(t, "a prefix that is no /64", section(dumped, "prefix 2001:db8:7a:", "}"), "/80", "AdvAutonomous off;")
	check(t, "the /64", section(dumped, "prefix "+n.gate6.String()+"/64", "}"), "AdvAutonomous on;", "AdvOnLink on;")
}

// TestRouterAdvertisementOff: no advertisement comes where they are off, and
// guests get theirs at once where they are on again.
func TestRouterAdvertisementOff(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "rdisc6")
	n := newNetwork(t, "ra.off=yes")
	g := n.port("judge", "")
	g.up()
	if out, err := try(t, g.Node, "rdisc6 -1 -r 2 -w 1000 eth0"); err == nil {
		t.Errorf("advertised:\n%s", out)
	}
	n.set("ra.off=no")
	contains(t, g.Node, "rdisc6 -1 -r 3 -w 3000 eth0", "from fe80::")
}
