package clients

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// predecessor is a DHCP server that the network had before.
type predecessor struct {
	name  string
	files func(g *guest, a4, a6 netip.Addr) []string // its lease files
}

var predecessors = []predecessor{
	{"dnsmasq", nil}, // which serves the guest itself
	{"isc", func(g *guest, a4, a6 netip.Addr) []string {
		ends := time.Now().Add(6 * time.Hour).UTC().Format("2006/01/02 15:04:05")
		return []string{g.net.write("dhcpd.leases", fmt.Sprintf("authoring-byte-order little-endian;\n\nlease %v {\n  starts 5 2026/01/02 11:14:29;\n  ends 5 %s;\n"+
			"  binding state active;\n  hardware ethernet %s;\n  client-hostname \"old\";\n}\n", a4, ends, g.mac)),
			g.net.write("dhcpd6.leases", fmt.Sprintf("authoring-byte-order little-endian;\n\nia-na \"%s%s\" {\n  iaaddr %v {\n    binding state active;\n"+
				"    preferred-life 3000;\n    max-life 43200;\n    ends 5 %s;\n  }\n}\n", octal(g.iaidHex()), octal("00:03:00:01:"+g.mac), a6, ends))}
	}},
	{"kea", func(g *guest, a4, a6 netip.Addr) []string {
		ends := time.Now().Add(6 * time.Hour).Unix()
		return []string{g.net.write("kea-leases4.csv", fmt.Sprintf("address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context\n"+
			"%v,%s,,43200,%d,1,0,0,old,0,\n", a4, g.mac, ends)),
			g.net.write("kea-leases6.csv", fmt.Sprintf("address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,fqdn_fwd,fqdn_rev,hostname,"+
				"hwaddr,state,user_context,hwtype,hwaddr_source\n%v,00:03:00:01:%s,43200,%d,1,30000,0,%s,128,0,0,old,%s,0,,1,2\n", a6, g.mac, ends, g.iaid(), g.mac))}
	}},
}

// octal writes octets as ISC dhcpd may.
func octal(colons string) string {
	var b strings.Builder
	for _, h := range strings.Split(colons, ":") {
		var n int
		_, _ = fmt.Sscanf(h, "%x", &n)
		fmt.Fprintf(&b, "\\%03o", n)
	}
	return b.String()
}

// TestTakeOver: guests of dnsmasq, ISC dhcpd and Kea keep their addresses, in
// both families, when their server's leases were imported.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dhclient", "dnsmasq")
	for _, p := range predecessors {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t, "")
			g := n.stranger("moved")
			a4, a6 := host4(n, 77), host6(n, "7:7")
			var files []string
			if p.files != nil {
				files = p.files(g, a4, a6)
			} else {
				a4, a6, files = g.servedByDnsmasq()
			}
			for _, f := range files {
				out := n.sh(t, "sextant lease import "+f+" network="+n.name)
				check(t, "what the import says", out, "imported")
			}
			g.up()
			if got := g.fresh4(""); got != a4 {
				t.Errorf("got %v, had %v", got, a4)
			}
			if got := g.fresh6("-D LL", ""); got != a6 {
				t.Errorf("got %v, had %v", got, a6)
			}
		})
	}
}

// servedByDnsmasq has the guest's card served by dnsmasq elsewhere, and returns
// what it gave and its lease file. The card is as before afterwards.
func (g *guest) servedByDnsmasq() (a4, a6 netip.Addr, files []string) {
	g.t.Helper()
	n := g.net
	old := n.machine("dnsmasq")
	g.sh("ip link delete eth0")
	if err := n.lab.Link(old, "eth0", g.Node, "eth0"); err != nil {
		g.t.Fatal(err)
	}
	g.sh("ip link set eth0 down; ip link set eth0 address " + g.mac)
	run(g.t, old, fmt.Sprintf("ip addr add %v/24 dev eth0; ip -6 addr add %v/64 dev eth0 nodad", n.gate4, n.gate6))
	server, err := old.Start("dnsmasq", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=", "--no-resolv", "--no-hosts",
		"--log-facility=-", "--interface=eth0", "--bind-dynamic", "--port=0", "--dhcp-leasefile=/run/leases", "--dhcp-authoritative",
		fmt.Sprintf("--dhcp-range=%v,%v,6h", host4(n, 50), host4(n, 60)), fmt.Sprintf("--dhcp-range=%v,%v,64,6h", host6(n, "5000"), host6(n, "6000")))
	if err != nil {
		g.t.Fatal(err)
	}
	g.up()
	a4, a6 = g.fresh4(""), g.fresh6("-D LL", "")
	file := n.write("dnsmasq.leases", run(g.t, old, "cat /run/leases")+"\n")
	if err := server.Stop(); err != nil {
		g.t.Fatal(err)
	}
	g.sh("ip link delete eth0")
	g.port = g.attach("eth0")
	g.sh("ip link set eth0 address " + g.mac)
	if !n.prefix4.Contains(a4) || !n.prefix6.Contains(a6) {
		g.t.Fatalf("dnsmasq gave %v and %v", a4, a6)
	}
	return a4, a6, []string{file}
}

// TestRelease: a lease that a client took is followed as it comes and goes, is
// free once it is released, is kept for the one who had it, and is in the
// history of its port.
func TestRelease(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dhclient")
	n := newNetwork(t, "")
	if _, err := n.host.Start("watch-"+n.name, "sextant", "lease", "list", "--watch", "network="+n.name, "-o", "json"); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(n.host.Dir(), "watch-"+n.name+".log")
	g := n.stranger("taker")
	g.up()
	// Once what is new is seen, the stream has begun.
	follows := func(a netip.Addr, what string) {
		t.Helper()
		eventually(t, "the stream says that "+a.String()+" is "+what, func() error {
			text, err := os.ReadFile(log)
			if err != nil {
				return err
			}
			for line := range strings.Lines(string(text)) {
				if has(line, `"`+a.String()+`"`, `"what":"`+what+`"`) == nil {
					return nil
				}
			}
			return fmt.Errorf("it says\n%s", text)
		})
	}
	for _, family := range []string{"4", "6"} {
		get := func() netip.Addr {
			if family == "4" {
				return g.fresh4("")
			}
			return g.fresh6("-D LL", "")
		}
		a := get()
		follows(a, "new")
		n.sh(t, "sextant lease release "+a.String()+" network="+n.name)
		follows(a, "ended")
		for _, l := range n.leases() {
			if l.Address == a && strings.HasPrefix(l.How, "dhcp") {
				t.Errorf("released, and listed: %+v", l)
			}
		}
		contains(t, n.host.Node, "sextant lease history "+a.String()+" network="+n.name, a.String(), g.mac)
		if again := get(); again != a {
			t.Errorf("got %v, had %v before it was released", again, a)
		}
	}
}
