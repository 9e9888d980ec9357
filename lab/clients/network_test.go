package clients

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/lab/topo"
)

// network is a network of a test.
type network struct {
	*world
	t       *testing.T
	name    string
	bridge  string
	prefix4 netip.Prefix
	prefix6 netip.Prefix
	gate4   netip.Addr
	gate6   netip.Addr
}

// newNetwork makes a network with a prefix of both families; keys go on the
// command line.
func newNetwork(t *testing.T, keys string) *network {
	t.Helper()
	w := theWorld(t)
	i := int(w.networks.Add(1))
	n := &network{world: w, t: t, name: fmt.Sprintf("n%d", i)}
	n.prefix4 = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 77, byte(i), 0}), 24)
	n.prefix6 = netip.MustParsePrefix(fmt.Sprintf("2001:db8:77:%x::/64", i))
	n.gate4, n.gate6 = n.prefix4.Addr().Next(), n.prefix6.Addr().Next()
	w.sh(t, fmt.Sprintf("sextant network create %s ipv4=nat ipv4.address=%s/24 ipv6=routed ipv6.address=%s/64 %s", n.name, n.gate4, n.gate6, keys))
	var shown struct{ Bridge string }
	w.decode(t, &shown, "sextant network show "+n.name)
	n.bridge = shown.Bridge
	return n
}

// set changes the network.
func (n *network) set(keys string) { n.t.Helper(); n.sh(n.t, "sextant network set "+n.name+" "+keys) }

// guest is a machine on a network, with its card eth0.
type guest struct {
	*topo.Node
	net  *network
	t    *testing.T
	port string // for a stranger the name of the port that the agent makes when it hears it
	mac  string
	fix4 netip.Addr // the port's own addresses
	fix6 netip.Addr
}

// port makes a machine with a port; keys are the port's.
func (n *network) port(name, keys string) *guest {
	n.t.Helper()
	g := &guest{Node: n.machine(name), net: n, t: n.t, port: name}
	g.plug(g.port, n, "eth0", keys)
	g.know()
	return g
}

// plug gives the machine a card on a network.
func (g *guest) plug(port string, n *network, device, keys string) {
	g.t.Helper()
	n.sh(g.t, fmt.Sprintf("sextant port plug %s network=%s netns=%s device=%s %s", port, n.name, g.Name, device, keys))
}

// portShown is what `sextant port show -o json` says.
type portShown struct {
	MAC   string
	Fixed []struct{ Address netip.Addr }
}

// know reads the addresses that the port of eth0 owns.
func (g *guest) know() {
	g.t.Helper()
	var p portShown
	g.net.decode(g.t, &p, fmt.Sprintf("sextant port show %s network=%s", g.port, g.net.name))
	g.mac = p.MAC
	for _, f := range p.Fixed {
		if f.Address.Is4() {
			g.fix4 = f.Address
		} else {
			g.fix6 = f.Address
		}
	}
	if !g.fix4.IsValid() || !g.fix6.IsValid() {
		g.t.Fatalf("port %s has %+v", g.port, p.Fixed)
	}
}

// stranger makes a machine whose card somebody put on the bridge: no port.
func (n *network) stranger(name string) *guest {
	n.t.Helper()
	g := &guest{Node: n.machine(name), net: n, t: n.t}
	g.port = g.attach("eth0")
	g.mac = run(n.t, g.Node, "cat /sys/class/net/eth0/address")
	return g
}

// attach makes a card that the host's administrator puts on the bridge, and
// returns its name on the host's side.
func (g *guest) attach(device string) string {
	g.t.Helper()
	hostSide := fmt.Sprintf("s%d", g.net.number())
	if err := g.net.lab.Link(g.net.host.Node, hostSide, g.Node, device); err != nil {
		g.t.Fatal(err)
	}
	g.net.sh(g.t, "ip link set "+hostSide+" master "+g.net.bridge)
	run(g.t, g.Node, "ip link set "+device+" down") // clients bring it up
	return hostSide
}

// machine makes a node that the host can name, and a dhclient that does not
// wait for up to five seconds before it begins.
func (n *network) machine(name string) *topo.Node {
	n.t.Helper()
	node, err := n.lab.Node(fmt.Sprintf("%s-%s", n.name, name))
	if err != nil {
		n.t.Fatal(err)
	}
	if err := n.host.Show(n.t.Context(), node); err != nil {
		n.t.Fatal(err)
	}
	// Machines that were installed one by one.
	run(n.t, node, fmt.Sprintf("mkdir -p /etc/dhcp; echo 'initial-delay 0;' >>/etc/dhcp/dhclient.conf; printf '%%032x\\n' %d >/etc/machine-id", 0x5e7a00+n.number()))
	n.t.Cleanup(func() {
		if n.t.Failed() {
			out, _ := node.Run(n.t.Context(), "ip", "addr")
			n.t.Logf("%s:\n%s\n%s", node.Name, out, node.Logs(60))
		}
	})
	return node
}

// sh runs a script in the guest, which must succeed.
func (g *guest) sh(script string) string { g.t.Helper(); return run(g.t, g.Node, script) }

// up brings the card up and waits for the link-local address, from which
// DHCPv6 is spoken (RFC 4862 section 5.4).
func (g *guest) up() {
	g.t.Helper()
	g.sh("ip link set eth0 up")
	g.settled("eth0")
}

func (g *guest) settled(device string) {
	g.t.Helper()
	contains(g.t, g.Node, "ip -6 -o addr show dev "+device+" scope link -tentative", "fe80:")
}

// own lists the global addresses of the guest's card that have passed DAD.
func (g *guest) own(device string) []netip.Addr {
	g.t.Helper()
	var out []netip.Addr
	for f := range strings.FieldsSeq(g.sh("ip -o addr show dev " + device + " scope global -tentative | sed 's/.*inet6* \\([^/ ]*\\).*/\\1/'")) {
		out = append(out, netip.MustParseAddr(f))
	}
	return out
}

// hasAddress waits until the card has the address.
func (g *guest) hasAddress(device string, a netip.Addr) {
	g.t.Helper()
	eventually(g.t, fmt.Sprintf("%s has %v on %s", g.Name, a, device), func() error {
		if got := g.own(device); !slices.Contains(got, a) {
			return fmt.Errorf("it has %v", got)
		}
		return nil
	})
}

// lease is a line of `sextant lease list -o json`.
type lease struct {
	MAC     string       `json:"mac"`
	Address netip.Addr   `json:"address"`
	Prefix  netip.Prefix `json:"prefix"` // delegated
	Via     netip.Addr   `json:"via"`
	How     string       `json:"how"`
	Name    string       `json:"name"`
	Port    string       `json:"port"`
	DUID    string       `json:"duid"`
}

func (n *network) leases() []lease {
	n.t.Helper()
	var out []lease
	n.decode(n.t, &out, "sextant lease list network="+n.name)
	return out
}

// leased waits until there is a lease of the guest got in that way, and returns
// its address.
func (g *guest) leased(how string) netip.Addr {
	g.t.Helper()
	var a netip.Addr
	eventually(g.t, g.Name+" is listed by "+how, func() error {
		all := g.net.leases()
		i := slices.IndexFunc(all, func(l lease) bool { return l.How == how && strings.EqualFold(l.MAC, g.mac) && !l.Prefix.IsValid() })
		if i < 0 {
			return fmt.Errorf("listed: %+v", all)
		}
		if p := all[i].Port; p != g.port && (p != "" || g.fix4.IsValid()) {
			return fmt.Errorf("the port of %v is %q, not %q", all[i].Address, p, g.port)
		}
		a = all[i].Address
		return nil
	})
	return a
}

// write makes a file that every node sees, and returns its path.
func (n *network) write(name, text string) string {
	n.t.Helper()
	path := filepath.Join(n.files, fmt.Sprintf("%d-%s", n.number(), name))
	writeFile(n.t, path, text)
	return path
}
