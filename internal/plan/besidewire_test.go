package plan_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// probe is a frame with a word in it by which it is known again.
type probe struct {
	name  string
	frame func(name string) []byte
	out   bool // guests may send it to the outside
	in    bool // the outside may send it to guests
}

// probes are frames of all kinds that may come to an IPv6 path beside a NATed
// IPv4: only what a host may say leaves, and no IPv4 at all.
var probes = []probe{
	{"probe-arp", func(n string) []byte { return ether("ff:ff:ff:ff:ff:ff", unix.ETH_P_ARP, n) }, false, false},
	{"probe-ipv4", func(n string) []byte { return ether("ff:ff:ff:ff:ff:ff", unix.ETH_P_IP, n) }, false, false},
	{"probe-vlan", func(n string) []byte {
		return ether("ff:ff:ff:ff:ff:ff", unix.ETH_P_8021Q, "\x00\x07\x08\x06"+n)
	}, false, false},
	{"probe-bpdu", func(n string) []byte { return ether("01:80:c2:00:00:00", 40, "\x42\x42\x03"+n) }, false, false},
	{"probe-lldp", func(n string) []byte { return ether("01:80:c2:00:00:0e", 0x88cc, n) }, false, false},
	{"probe-advertisement", func(n string) []byte { return icmp(134, "ff02::1", n) }, false, true},
	{"probe-hidden-advertisement", func(n string) []byte {
		return ipv6(0, "ff02::1", "\x3a\x00\x01\x04\x00\x00\x00\x00"+"\x86\x00\x00\x00"+strings.Repeat("\x00", 12)+n) // RFC 7113
	}, false, true},
	{"probe-redirect", func(n string) []byte { return icmp(137, "ff02::1", n) }, false, true},
	{"probe-dhcpv6-server", func(n string) []byte { return udp(547, 546, "ff02::1", n) }, false, true},
	{"probe-solicitation", func(n string) []byte { return icmp(133, "ff02::2", n) }, true, true},
	{"probe-neighbour", func(n string) []byte { return icmp(135, "ff02::1:ff00:1", n) }, true, true},
	{"probe-neighbour-advertisement", func(n string) []byte { return icmp(136, "ff02::1", n) }, true, true},
	{"probe-dhcpv6-client", func(n string) []byte { return udp(546, 547, "ff02::1:2", n) }, true, true},
	{"probe-last", func(n string) []byte { return udp(5000, 5001, "ff02::1", n) }, true, true},
}

// ether is a frame to a MAC; its own is put in when it is sent.
func ether(to string, kind uint16, body string) []byte {
	mac, _ := net.ParseMAC(to)
	b := binary.BigEndian.AppendUint16(append(mac, make([]byte, 6)...), kind)
	return append(append(b, body...), make([]byte, 46)...)
}

// ipv6 is a packet to a group.
func ipv6(next byte, to, body string) []byte {
	head := binary.BigEndian.AppendUint16([]byte{0x60, 0, 0, 0}, uint16(len(body)))
	head = append(head, next, 255)
	src, dst := netip.MustParseAddr("fe80::7").As16(), netip.MustParseAddr(to).As16()
	head = append(append(append(head, src[:]...), dst[:]...), body...)
	return ether(fmt.Sprintf("33:33:%02x:%02x:%02x:%02x", dst[12], dst[13], dst[14], dst[15]), unix.ETH_P_IPV6, string(head))
}

func icmp(kind byte, to, name string) []byte {
	return ipv6(58, to, string([]byte{kind, 0, 0, 0})+strings.Repeat("\x00", 36)+name)
}

func udp(from, port uint16, to, name string) []byte {
	b := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, from), port)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(name)))
	return ipv6(17, to, string(append(b, 0, 0))+name)
}

// ear hears every frame that comes to a namespace's eth0.
type ear struct {
	mu     sync.Mutex
	frames [][]byte
}

func listenFrames(t *testing.T, ns *netnstest.NS) *ear {
	t.Helper()
	fd := packetSocket(t, ns, unix.ETH_P_ALL)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}); err != nil {
		t.Fatal(err)
	}
	e, stop, done := &ear{}, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 4096)
		for {
			select {
			case <-stop:
				return
			default:
			}
			n, from, err := unix.Recvfrom(fd, b, 0)
			if at, ok := from.(*unix.SockaddrLinklayer); err != nil || ok && at.Pkttype == unix.PACKET_OUTGOING {
				continue
			}
			e.mu.Lock()
			e.frames = append(e.frames, bytes.Clone(b[:n]))
			e.mu.Unlock()
		}
	}()
	t.Cleanup(func() { close(stop); <-done; unix.Close(fd) })
	return e
}

// heard reports whether a frame with the text came.
func (e *ear) heard(text string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, f := range e.frames {
		if bytes.Contains(f, []byte(text)) {
			return true
		}
	}
	return false
}

// strange describes the frames that are no IPv6, or from a MAC.
func (e *ear) strange(mac vnet.MAC) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for _, f := range e.frames {
		if len(f) > 14 && (binary.BigEndian.Uint16(f[12:]) != unix.ETH_P_IPV6 || bytes.Equal(f[6:12], mac[:])) {
			out = append(out, fmt.Sprintf("% x", f[:min(len(f), 60)]))
		}
	}
	return out
}

func packetSocket(t *testing.T, ns *netnstest.NS, protocol uint16) (fd int) {
	t.Helper()
	err := ns.Do(func() error {
		link, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		order := binary.BigEndian.AppendUint16(nil, protocol)
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(binary.NativeEndian.Uint16(order))); err != nil {
			return os.NewSyscallError("socket", err)
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16(order), Ifindex: link.Index})
	})
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// speak sends all probes from a namespace, in order, with a prefix to their
// words.
func speak(t *testing.T, ns *netnstest.NS, prefix string) {
	t.Helper()
	fd := packetSocket(t, ns, 0)
	defer unix.Close(fd)
	mac, err := net.ParseMAC(strings.TrimSpace(ns.Run("cat", "/sys/class/net/eth0/address")))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range probes {
		f := p.frame(prefix + p.name)
		copy(f[6:], mac)
		if _, err := unix.Write(fd, f); err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
	}
}

// judge waits for the last probe and tests which of the others came before it.
func (e *ear) judge(t *testing.T, prefix string, may func(probe) bool) {
	t.Helper()
	netnstest.Eventually(t, 10*time.Second, prefix+"the last probe", func() error {
		if !e.heard(prefix + "probe-last") {
			return errors.New("not heard")
		}
		return nil
	})
	for _, p := range probes {
		if got := e.heard(prefix + p.name); got != may(p) {
			t.Errorf("%s%s came: %v, want %v", prefix, p.name, got, may(p))
		}
	}
}

// TestBesideWire runs the printed plan of two networks with bridged IPv6 beside
// NATed IPv4, and listens on the outside: guests are hosts there and nothing
// more, their IPv4 stays inside, and no frame gets from one network to the
// other.
func TestBesideWire(t *testing.T) {
	netnstest.AlsoVM(t)
	netnstest.NeedCommands(t, "ip", "nft", "bash", "sysctl", "ping")
	host, up := netnstest.New(t, "host"), netnstest.New(t, "up")
	netnstest.Veth(host, "eth0", up, "eth0")
	host.Run("bash", "-ec", `ip link add br-eth0 type bridge forward_delay 0 mcast_snooping 0
ip link set br-eth0 up; ip link set eth0 master br-eth0; ip address add 198.51.100.7/24 dev br-eth0`)
	up.Run("ip", "address", "add", "2001:db8:1::1/64", "dev", "eth0", "nodad")
	w, web := besideWorld()
	for _, name := range []string{"wlan0", "eth1", "br0"} { // which this host has not
		delete(w.f.Links, name)
	}
	app := w.network("app", vnet.EgressNAT, vnet.EgressBridged)
	w.subnet(app, "10.0.1.0/24", vnet.GuestsDHCP)
	sub := w.subnet(app, "2001:db8:1::/64", vnet.GuestsSLAACStateful)
	sub.Source, sub.Prefix = vnet.SourceProxied, netip.Prefix{}
	_, err := host.Try("test", "-e", "/proc/sys/net/ipv6/conf/eth0/force_forwarding")
	w.f.Features[vnet.FeatureForceForwarding] = err == nil
	guests := map[*vnet.Network]*netnstest.NS{web: netnstest.New(t, "web"), app: netnstest.New(t, "app")}
	for n, ns := range guests {
		w.port(string(n.ID)+"-g", n, vnet.Binding{Plug: vnet.PlugVeth, Netns: ns.Name, Device: "eth0"}).MAC[5] = n.MAC[5]
	}
	script := plan.Make(w.s, w.f).String()
	if out, err := host.Command("bash", "-e", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("the printed plan does not run: %v\n%s\n%s", err, out, script)
	}
	guest, other := guests[web], guests[app]
	for i, ns := range []*netnstest.NS{guest, other} {
		ns.Run("ip", "address", "add", fmt.Sprintf("10.0.%d.10/24", i), "dev", "eth0")
		ns.Run("ip", "address", "add", fmt.Sprintf("2001:db8:1::1%d/64", i), "dev", "eth0", "nodad")
	}
	outside, inside, beside := listenFrames(t, up), listenFrames(t, guest), listenFrames(t, other)

	// IPv4 is with the host, which asks for the guest on the whole bridge.
	guest.Run("ping", "-c1", "-W5", "10.0.0.1")
	host.Run("ip", "neigh", "flush", "dev", "sx-web")
	host.Run("ping", "-c1", "-W5", "10.0.0.10")
	host.Run("ping", "-6", "-c1", "-W5", "ff02::1%sx-web") // which the guest hears, and the outside does not
	speak(t, guest, "out:")
	outside.judge(t, "out:", func(p probe) bool { return p.out })
	if got := outside.strange(web.MAC); len(got) > 0 {
		t.Errorf("outside came more than guests' IPv6:\n%s", strings.Join(got, "\n"))
	}
	speak(t, up, "in:")
	inside.judge(t, "in:", func(p probe) bool { return p.in })
	beside.judge(t, "in:", func(p probe) bool { return p.in })
	for _, p := range probes {
		if beside.heard("out:" + p.name) {
			t.Errorf("%s came from one network to the other", p.name)
		}
	}

	l := &egressLab{t: t}
	for _, ns := range []*netnstest.NS{up, guest} {
		l.listen(ns)
	}
	far, near := netip.MustParseAddr("2001:db8:1::1"), netip.MustParseAddr("2001:db8:1::10")
	if seen, err := connect(guest, far, openLimit); err != nil || seen != near {
		t.Errorf("TCP to the outside: seen as %v, %v", seen, err)
	}
	if seen, err := connect(up, near, openLimit); err != nil || seen != far {
		t.Errorf("TCP from the outside: seen as %v, %v", seen, err)
	}
	if got := outside.strange(web.MAC); len(got) > 0 {
		t.Errorf("then came outside:\n%s", strings.Join(got, "\n"))
	}
}
