package clients

import (
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/lab/topo"
)

// dig asks a server and returns the whole answer.
func (g *guest) dig(args string) string {
	g.t.Helper()
	out, err := try(g.t, g.Node, "dig +time=3 +tries=3 "+args)
	if err != nil {
		g.t.Errorf("dig %s: %v", args, err)
	}
	return out
}

// TestNames: dig is told the guests' names and addresses, the records that
// somebody wrote, what the outside knows, and nothing of another network.
func TestNames(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dig", "dhclient")
	n := newNetwork(t, "domain=corp.test dns.dns64=64:ff9b::/96 'dns.records=www CNAME alpha,_ldap._tcp SRV 0 5 389 alpha,@ MX 10 alpha,note TXT hello world,"+
		"*.apps AAAA 2001:db8::77,fixed 77 A 192.0.2.77' dns.forwarders+=dead.example=")
	other := newNetwork(t, "")
	g := n.port("alpha", "")
	g.up()
	g.sh("dhclient -4 -1 eth0; dhclient -6 -1 -D LL eth0")
	g.leased("dhcpv4")
	g.leased("dhcpv6")
	// Names that guests choose never override others.
	for _, name := range []string{"alpha", "fixed", "www"} {
		liar := n.stranger("as" + name)
		liar.up()
		liar.fresh4(`send host-name "` + name + `";`)
	}
	for _, server := range []string{"@" + n.gate4.String(), "@" + n.gate6.String()} {
		contains(t, g.Node, "dig +time=3 "+server+" alpha.corp.test A +short", g.fix4.String())
		for _, tc := range []struct {
			query string
			words []string
		}{
			{"alpha.corp.test AAAA", []string{"NOERROR", g.fix6.String()}},
			{"alpha.corp.test A", []string{g.fix4.String(), "ANSWER: 1,"}}, // whoever else calls itself so
			{"ALPHA.corp.TEST A +tcp", []string{g.fix4.String()}},
			{"-x " + g.fix6.String(), []string{"alpha.corp.test."}},
			{"-x " + g.fix4.String(), []string{"alpha.corp.test."}},
			{"www.corp.test AAAA", []string{"CNAME\talpha.corp.test.", g.fix6.String()}},
			{"_ldap._tcp.corp.test SRV", []string{"0 5 389 alpha.corp.test."}},
			{"corp.test MX", []string{"10 alpha.corp.test."}},
			{"note.corp.test TXT", []string{"hello"}},
			{"any.apps.corp.test AAAA", []string{"2001:db8::77"}},
			{"fixed.corp.test A", []string{"77\tIN\tA\t192.0.2.77", "ANSWER: 1,"}},
			{"fixed.corp.test AAAA", []string{"64:ff9b::c000:24d"}},
			{"nobody.corp.test A", []string{"NXDOMAIN"}},
			{"host.dead.example A", []string{"NXDOMAIN"}},
			{topo.ServerName + " AAAA", []string{topo.Server6.String()}},
			{topo.ServerName + " A +tcp +bufsize=1232", []string{topo.Server4.String(), "EDNS: version: 0"}},
		} {
			out := g.dig(server + " " + tc.query)
			check(t, tc.query, out, tc.words...)
		}
	}
	// Another network's server is not for this one's guests.
	out, err := try(t, g.Node, "dig +time=1 +tries=1 @"+other.gate6.String()+" "+topo.ServerName+" AAAA")
	if err == nil && strings.Contains(out, topo.Server6.String()) {
		t.Errorf("another network's server answers:\n%s", out)
	}
}
