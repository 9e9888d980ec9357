package clients

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// client is a program that gets addresses, as its users run it.
type client struct {
	name     string
	needs    []string
	families string // which it gets by DHCP: "4", "6" or "46"
	get      func(*guest)
}

// clients are those that guests come with.
var clients = []client{
	{"dhclient4", []string{"dhclient"}, "4", func(g *guest) { g.up(); g.sh("dhclient -4 -1 -v eth0") }},
	{"dhclient6ll", []string{"dhclient"}, "6", func(g *guest) { g.up(); g.sh("dhclient -6 -1 -v -D LL eth0") }},
	{"dhclient6llt", []string{"dhclient"}, "6", func(g *guest) { g.up(); g.sh("dhclient -6 -1 -v -D LLT eth0") }},
	{"dhcpcd", []string{"dhcpcd"}, "46", func(g *guest) { g.sh("dhcpcd --waitip=46 eth0") }},
	{"networkd", nil, "46", func(g *guest) { g.networkd("[Match]\nName=eth0\n[Network]\nDHCP=yes\nIPv6AcceptRA=yes\n") }},
	{"networkduuid", nil, "46", func(g *guest) {
		g.networkd("[Match]\nName=eth0\n[Network]\nDHCP=yes\nIPv6AcceptRA=yes\n[DHCPv4]\nClientIdentifier=mac\n[DHCPv6]\nDUIDType=uuid\nDUIDRawData=5e:7a:00:00:00:00:40:00:80:00:00:00:00:00:00:01\n")
	}},
	{"udhcpc", []string{"udhcpc"}, "4", func(g *guest) { g.up(); g.sh("udhcpc -i eth0 -n -q -f -t 20 -T 2") }},
	{"udhcpc6", nil, "6", func(g *guest) {
		g.up()
		g.sh(udhcpc6(g) + " -i eth0 -n -q -f -t 20 -T 2 -s " + g.net.write("udhcpc6.script", udhcpc6Script))
	}},
	{"dhcp6c", []string{"dhcp6c"}, "6", func(g *guest) { g.up(); g.dhcp6c("send ia-na 0; request domain-name-servers;", "id-assoc na 0 { };") }},
	{"dhcp6crapid", []string{"dhcp6c"}, "6", func(g *guest) {
		g.up()
		g.dhcp6c("send ia-na 0, rapid-commit; request domain-name-servers;", "id-assoc na 0 { };")
		contains(g.t, g.Node, "cat "+filepath.Join(g.Dir(), "dhcp6c.log"), "get DHCP option rapid commit", "!send request")
	}},
	{"cloudinit", []string{"cloud-init"}, "46", func(g *guest) { g.cloudInit() }},
}

// TestClients: every client gets an address, name servers and what its family
// needs, as a port with the port's own address, as a stranger with one that it
// keeps, and the lease is listed.
func TestClients(t *testing.T) {
	t.Parallel()
	known, open := newNetwork(t, "ntp=2001:db8:80::7,203.0.113.7"), newNetwork(t, "")
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			netnstest.NeedCommands(t, c.needs...)
			t.Run("port", func(t *testing.T) { t.Parallel(); c.judge(t, known.of(t).port(c.name, "")) })
			t.Run("stranger", func(t *testing.T) { t.Parallel(); c.judge(t, open.of(t).stranger(c.name)) })
		})
	}
}

// of is the network in another test's hands.
func (n *network) of(t *testing.T) *network {
	m := *n
	m.t = t
	return &m
}

// judge runs the client and looks at what came of it, in the guest and here.
func (c client) judge(t *testing.T, g *guest) {
	t.Helper()
	c.get(g)
	for _, f := range c.families {
		want, how, prefix := g.fix4, "dhcpv4", g.net.prefix4
		if f == '6' {
			want, how, prefix = g.fix6, "dhcpv6", g.net.prefix6
		}
		got := g.leased(how)
		if want.IsValid() && got != want || !prefix.Contains(got) {
			t.Errorf("%s got %v by %s, want %v in %v", c.name, got, how, want, prefix)
		}
		g.hasAddress("eth0", got)
		gate := g.net.gate4
		if f == '6' {
			gate = g.net.gate6
		}
		if out, err := try(t, g.Node, "ping -c 1 -W 10 -I "+got.String()+" "+gate.String()); err != nil {
			t.Errorf("%s cannot reach its gateway: %v %s", c.name, err, out)
		}
		eventually(t, g.Name+" knows the name server "+gate.String(), func() error { return g.told(gate) })
	}
}

// told says whether the guest's client wrote the address down where it keeps
// what it was told. udhcpc6 writes addresses in full.
func (g *guest) told(a netip.Addr) error {
	out, err := try(g.t, g.Node, "cat /etc/resolv.conf /run/systemd/netif/leases/* /run/systemd/netif/links/* /run/told 2>/dev/null || true")
	if err != nil {
		return err
	}
	for w := range strings.FieldsFuncSeq(out, func(r rune) bool { return !strings.ContainsRune("0123456789abcdef:.", r) }) {
		if got, err := netip.ParseAddr(w); err == nil && got == a {
			return nil
		}
	}
	return fmt.Errorf("it was told\n%s", out)
}

// networkd runs systemd-networkd on eth0. Without an udev it takes links as
// they come where /sys is read-only, as in a container.
func (g *guest) networkd(conf string) {
	g.t.Helper()
	daemon := ""
	for _, d := range []string{"/lib/systemd/systemd-networkd", "/usr/lib/systemd/systemd-networkd"} {
		if _, err := os.Stat(d); err == nil {
			daemon = d
		}
	}
	if daemon == "" {
		netnstest.Skip(g.t, "needs systemd-networkd: run `make deps`")
	}
	g.sh("mkdir -p /run/systemd/network /run/systemd/netif; chown systemd-network:systemd-network /run/systemd/netif")
	if conf != "" {
		if err := g.WriteFile(g.t.Context(), "/run/systemd/network/10-eth0.network", conf); err != nil {
			g.t.Fatal(err)
		}
	}
	script := "mount -o remount,bind,ro /sys 2>/dev/null || mount -t sysfs -o ro sysfs /sys\nexec " + daemon
	if _, err := g.Start("networkd", "unshare", "-m", "sh", "-ec", script); err != nil {
		g.t.Fatal(err)
	}
}

// udhcpc6 is busybox's DHCPv6 client that `make deps-test` built.
func udhcpc6(g *guest) string {
	g.t.Helper()
	path, err := filepath.Abs("../../bin/udhcpc6")
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		netnstest.Skip(g.t, "needs bin/udhcpc6: run `make deps-test`")
	}
	return path
}

// udhcpc6Script does with what udhcpc6 got what an image with busybox does.
const udhcpc6Script = `#!/bin/sh
env >>/run/udhcpc6.env
case $1 in
bound | renew)
	ip link set "$interface" up
	[ -z "$ipv6" ] || ip -6 addr replace "$ipv6/128" dev "$interface"
	for s in $dns; do echo "nameserver $s"; done >>/etc/resolv.conf
	;;
esac
exit 0
`

// dhcp6c runs wide-dhcpv6-client on eth0; its script writes down what it was
// told.
func (g *guest) dhcp6c(iface, assoc string) {
	g.t.Helper()
	script := g.net.write("dhcp6c.script", "#!/bin/sh\nenv >>/run/told\nexit 0\n")
	conf := fmt.Sprintf("interface eth0 { %s script \"%s\"; };\n%s\n", iface, script, assoc)
	if err := g.WriteFile(g.t.Context(), "/etc/dhcp6c.conf", conf); err != nil {
		g.t.Fatal(err)
	}
	if _, err := g.Start("dhcp6c", "dhcp6c", "-f", "-D", "-c", "/etc/dhcp6c.conf", "-p", "/run/dhcp6c.pid", "eth0"); err != nil {
		g.t.Fatal(err)
	}
}

// cloudInit runs cloud-init's stage before the network with a seed that asks
// for DHCP in both families, and what it left for systemd-networkd.
func (g *guest) cloudInit() {
	g.t.Helper()
	g.sh(`mount -t tmpfs tmpfs /var/log
mount -t tmpfs tmpfs /var/lib
mkdir -p /var/lib/cloud/seed/nocloud /etc/cloud/cloud.cfg.d
rm -f /etc/cloud/cloud-init.disabled
cat >/etc/cloud/cloud.cfg.d/99_lab.cfg <<END
datasource_list: [NoCloud]
system_info: {network: {renderers: [networkd]}}
END
echo 'instance-id: i-1' >/var/lib/cloud/seed/nocloud/meta-data
echo '#cloud-config' >/var/lib/cloud/seed/nocloud/user-data
cat >/var/lib/cloud/seed/nocloud/network-config <<END
version: 2
ethernets:
  eth0: {dhcp4: true, dhcp6: true}
END
cloud-init init --local
cp /etc/systemd/network/*eth0.network /run/`)
	check(g.t, "cloud-init's configuration", g.sh("cat /run/*eth0.network"), "DHCP=yes", "Name=eth0")
	g.networkd("")
}

// TestCloudInitEphemeral: the DHCP client that cloud-init itself runs before it
// looks for metadata gets the port's address.
func TestCloudInitEphemeral(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "cloud-init", "dhclient")
	n := newNetwork(t, "")
	g := n.port("ephemeral", "")
	script := n.write("ephemeral.py", `
import inspect, json
from cloudinit.net import dhcp
discover = dhcp.maybe_perform_dhcp_discovery
if "distro" in inspect.signature(discover).parameters:
    from cloudinit import distros
    leases = discover(distros.fetch("debian")("debian", {}, None), "eth0")
else:
    leases = discover("eth0")
print(json.dumps(leases))
`)
	out := g.sh("mount -t tmpfs tmpfs /var/lib; mkdir -p /var/lib/dhcp; /usr/bin/python3 " + script)
	check(t, "cloud-init's lease", out, g.fix4.String(), n.gate4.String())
	if got := g.leased("dhcpv4"); got != g.fix4 {
		t.Errorf("leased %v, want %v", got, g.fix4)
	}
	if strings.Contains(g.sh("ip -4 addr show dev eth0"), g.fix4.String()) {
		t.Error("discovery alone configured the address")
	}
}
