package tftp

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// lab is a router's namespace with one guest on a bridge, and boot files.
type lab struct {
	t             *testing.T
	router, guest *netnstest.NS
	dir           string // what is served
	local         string // the guest's directory
}

const gate4, gate6 = "192.0.2.1", "2001:db8:7::1"

func newLab(t *testing.T) *lab {
	l := &lab{t: t, router: netnstest.New(t, "tftp-r"), guest: netnstest.New(t, "tftp-g"), dir: t.TempDir(), local: t.TempDir()}
	l.router.Run("ip", "link", "add", "br0", "type", "bridge")
	netnstest.Veth(l.router, "p0", l.guest, "eth0")
	l.router.Run("ip", "link", "set", "p0", "master", "br0")
	l.router.Run("ip", "link", "set", "br0", "up")
	l.router.Run("ip", "addr", "add", gate4+"/24", "dev", "br0")
	l.router.Run("ip", "addr", "add", gate6+"/64", "dev", "br0", "nodad")
	l.guest.Run("ip", "addr", "add", "192.0.2.9/24", "dev", "eth0")
	l.guest.Run("ip", "addr", "add", "2001:db8:7::9/64", "dev", "eth0", "nodad")
	// Not in the network's prefixes.
	l.guest.Run("ip", "addr", "add", "198.51.100.9/24", "dev", "eth0")
	l.router.Run("ip", "addr", "add", "198.51.100.1/24", "dev", "br0")
	return l
}

func (l *lab) service() plan.Service {
	sub := func(prefix, gateway string) plan.Subnet {
		p := netip.MustParsePrefix(prefix)
		return plan.Subnet{ID: vnet.ID(prefix), Family: vnet.FamilyOf(p.Addr()), Prefix: p, Gateway: netip.MustParseAddr(gateway)}
	}
	return plan.Service{
		Network: "net", Link: "br0", MTU: 1500, Boot: vnet.BootPolicy{Root: l.dir},
		Subnets: []plan.Subnet{sub("192.0.2.0/24", gate4), sub("2001:db8:7::/64", gate6)},
	}
}

func (l *lab) server() *Server {
	s := New(Config{InNS: func(_ string, f func() error) error { return l.router.Do(f) }})
	l.t.Cleanup(func() {
		if err := s.Close(); err != nil {
			l.t.Error(err)
		}
	})
	return s
}

// write puts a file below the root.
func (l *lab) write(name string, content []byte) {
	l.t.Helper()
	path := filepath.Join(l.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		l.t.Fatal(err)
	}
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

// TestClients gets files with the clients that people have, over both
// families: without options, with blksize and tsize, with windows, in netascii.
func TestClients(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "tftp", "atftp", "busybox", "curl")
	l := newLab(t)
	s := l.server()
	s.SetNetwork(l.service())
	small, whole, big := noise(1000), noise(4096), noise(3<<20+77)
	text := []byte("a\nb\r\rc\n\n" + strings.Repeat("line\n", 400))
	l.write("boot/small", small)
	l.write("whole", whole)
	l.write("big", big)
	l.write("empty", nil)
	l.write("text", text)
	for _, gate := range []string{gate4, gate6} {
		url := "tftp://" + gate
		if strings.Contains(gate, ":") {
			url = "tftp://[" + gate + "]"
		}
		for _, tc := range []struct {
			name string
			args []string
			want []byte
		}{
			{"tftp-hpa, octet", []string{"tftp", "-m", "binary", gate, "-c", "get", "boot/small", "OUT"}, small},
			{"tftp-hpa, netascii", []string{"tftp", "-m", "netascii", gate, "-c", "get", "text", "OUT"}, text},
			{"atftp", []string{"atftp", "--get", "-r", "whole", "-l", "OUT", gate}, whole},
			{"atftp, empty file", []string{"atftp", "--get", "-r", "empty", "-l", "OUT", gate}, nil},
			{"atftp, all options", []string{"atftp", "--get", "--option", "blksize 1024", "--option", "tsize 0", "--option", "timeout 3", "--option", "windowsize 16", "-r", "/big", "-l", "OUT", gate}, big},
			{"busybox", []string{"busybox", "tftp", "-g", "-b", "1468", "-r", "big", "-l", "OUT", gate}, big},
			{"curl", []string{"curl", "-gsS", "--max-time", "20", "--tftp-blksize", "1400", "-o", "OUT", url + "//boot/small"}, small},
			{"curl without options", []string{"curl", "-gsS", "--max-time", "20", "--tftp-no-options", "-o", "OUT", url + "/whole"}, whole},
		} {
			out := filepath.Join(l.local, "got")
			_ = os.Remove(out)
			args := make([]string, len(tc.args))
			for i, a := range tc.args {
				args[i] = strings.ReplaceAll(a, "OUT", out)
			}
			said, err := l.guest.Try("timeout", append([]string{"20"}, args...)...)
			if err != nil {
				t.Errorf("%s from %s: %v\n%s", tc.name, gate, err, said)
				continue
			}
			got, err := os.ReadFile(out)
			if err != nil || !bytes.Equal(got, tc.want) {
				t.Errorf("%s from %s: %v, %d bytes, want %d\n%s", tc.name, gate, err, len(got), len(tc.want), said)
			}
		}
	}
	if frags := l.fragments(); frags != "" {
		t.Errorf("fragments were made:\n%s", frags)
	}
}

// fragments returns the router's counters of fragments that are not 0.
func (l *lab) fragments() string {
	var out []string
	for _, line := range strings.Split(l.router.Run("nstat", "-asz"), "\n") {
		if f := strings.Fields(line); len(f) > 1 && strings.Contains(f[0], "FragCreates") && f[1] != "0" {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

// TestLargeFile gets 20 MB with windows, with blocks as long as the client
// likes: they are cut to what the link carries whole.
func TestLargeFile(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "atftp", "nstat")
	l := newLab(t)
	s := l.server()
	s.SetNetwork(l.service())
	big := noise(20 << 20)
	l.write("initrd", big)
	for _, gate := range []string{gate4, gate6} {
		out := filepath.Join(l.local, "initrd")
		said, err := l.guest.Try("timeout", "60", "atftp", "--get", "--option", "blksize 65464", "--option", "windowsize 64",
			"--trace", "-r", "initrd", "-l", out, gate)
		if err != nil {
			t.Fatalf("%s: %v\n%.2000s", gate, err, said)
		}
		got, err := os.ReadFile(out)
		if err != nil || sha256.Sum256(got) != sha256.Sum256(big) {
			t.Errorf("%s: %v, %d bytes", gate, err, len(got))
		}
		_ = os.Remove(out)
	}
	if frags := l.fragments(); frags != "" {
		t.Errorf("fragments were made:\n%s", frags)
	}
}

// TestRefused asks for what is not to be had, and looks what the client is
// told, and that the host's files stay where they are.
func TestRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.server()
	s.SetNetwork(l.service())
	secret := filepath.Join(filepath.Dir(l.dir), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(secret) })
	l.write("dir/file", []byte("file"))
	l.write("private", []byte("private"))
	for _, err := range []error{
		os.Chmod(filepath.Join(l.dir, "private"), 0o640),
		os.Symlink(secret, filepath.Join(l.dir, "out")),
		os.Symlink("../secret", filepath.Join(l.dir, "up")),
		os.Symlink("..", filepath.Join(l.dir, "dir", "parent")),
		os.Symlink("/dev/zero", filepath.Join(l.dir, "zero")),
		os.Symlink("dir/file", filepath.Join(l.dir, "within")),
		os.Symlink("loop", filepath.Join(l.dir, "loop")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	l.router.Run("mkfifo", "-m", "644", filepath.Join(l.dir, "fifo"))
	l.router.Run("mknod", "-m", "644", filepath.Join(l.dir, "null"), "c", "1", "3")
	for _, tc := range []struct{ name, request, want string }{
		{"in the root", rrq("dir/file", "octet"), "data file"},
		{"with a slash", rrq("/dir/file", "octet"), "data file"},
		{"with two", rrq("//dir//./file", "OCTET"), "data file"},
		{"with backslashes", rrq(`\dir\file`, "octet"), "data file"},
		{"a link within", rrq("within", "octet"), "data file"},
		{"a link within a path", rrq("dir/parent/within", "octet"), "data file"},
		{"the whole path of the host", rrq(l.dir+"/dir/file", "octet"), "error 1"},
		{"upwards", rrq("../secret", "octet"), "error 2"},
		{"upwards from the root", rrq("/../secret", "octet"), "error 2"},
		{"upwards with backslashes", rrq(`..\secret`, "octet"), "error 2"},
		{"upwards, and down again", rrq("dir/../dir/file", "octet"), "error 2"},
		{"up further below", rrq("dir/../../secret", "octet"), "error 2"},
		{"absolute", rrq("/etc/passwd", "octet"), "error 1"},
		{"a link to an absolute path", rrq("out", "octet"), "error 2"},
		{"a link upwards", rrq("up", "octet"), "error 2"},
		{"a link to a device", rrq("zero", "octet"), "error 2"},
		{"a link to itself", rrq("loop", "octet"), "error 2"},
		{"a device", rrq("null", "octet"), "error 2"},
		{"a FIFO", rrq("fifo", "octet"), "error 2"},
		{"a directory", rrq("dir", "octet"), "error 2"},
		{"the root", rrq("/", "octet"), "error 1"},
		{"a file as a directory", rrq("dir/file/x", "octet"), "error 1"},
		{"not for everybody", rrq("private", "octet"), "error 2"},
		{"nothing", rrq("", "octet"), "error 1"},
		{"a zero within", rrq("dir/file\x00.txt", "octet"), "error 4"},
		{"too long", rrq(strings.Repeat("a", 600), "octet"), "error 2"},
		{"mail", rrq("dir/file", "mail"), "error 4"},
		{"a write", "\x00\x02dir/file\x00octet\x00", "error 2"},
		{"without an end", "\x00\x01dir/file\x00octet", "error 4"},
		{"an ACK", "\x00\x04\x00\x01", "nothing"},
		{"an error", "\x00\x05\x00\x01x\x00", "nothing"},
		{"data", "\x00\x03\x00\x01x", "nothing"},
		{"an empty packet", "", "nothing"},
	} {
		for _, gate := range []string{gate4, gate6} {
			if got := l.ask(gate, "", tc.request, tc.want); got != tc.want {
				t.Errorf("%s from %s: %s, want %s", tc.name, gate, got, tc.want)
			}
		}
	}
	if got := l.ask("198.51.100.1", "", rrq("dir/file", "octet"), "nothing"); got != "nothing" {
		t.Errorf("at an address that is not the network's: %s", got)
	}
	if got := l.ask(gate4, "198.51.100.9", rrq("dir/file", "octet"), "nothing"); got != "nothing" {
		t.Errorf("somebody who is no guest: %s", got)
	}
	if got := l.ask("192.0.2.255", "", rrq("dir/file", "octet"), "nothing"); got != "nothing" {
		t.Errorf("a broadcast: %s", got)
	}
}

func rrq(file, mode string, options ...string) string {
	s := "\x00\x01" + file + "\x00" + mode + "\x00"
	for _, o := range options {
		s += o + "\x00"
	}
	return s
}

// ask sends a packet from the guest and returns what the first answer is. That
// there is "nothing" is known when something that was asked later is answered.
func (l *lab) ask(gate, from, request, want string) string {
	l.t.Helper()
	c := l.dial(from)
	defer c.Close()
	if want != "nothing" {
		return l.exchange(c, gate, request)
	}
	send(l.t, c, gate, request)
	later := l.dial("")
	defer later.Close()
	if got := l.exchange(later, gate4, rrq("no/such/file", "octet")); got != "error 1" {
		return "and later " + got
	}
	_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	return receive(c)
}

// dial opens a guest's socket.
func (l *lab) dial(from string) *net.UDPConn {
	l.t.Helper()
	var c *net.UDPConn
	at := &net.UDPAddr{}
	if from != "" {
		at = net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))
	}
	err := l.guest.Do(func() (err error) {
		c, err = net.ListenUDP("udp", at)
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

func send(t *testing.T, c *net.UDPConn, gate, request string) {
	t.Helper()
	if _, err := c.WriteToUDPAddrPort([]byte(request), netip.AddrPortFrom(netip.MustParseAddr(gate), wellKnown)); err != nil {
		t.Fatal(err)
	}
}

func receive(c *net.UDPConn) string {
	buf := make([]byte, 2000)
	n, _, err := c.ReadFromUDPAddrPort(buf)
	if err != nil {
		return "nothing"
	}
	return describe(buf[:n])
}

func (l *lab) exchange(c *net.UDPConn, gate, request string) string {
	l.t.Helper()
	send(l.t, c, gate, request)
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	return receive(c)
}

// describe names a packet of the server.
func describe(b []byte) string {
	switch {
	case len(b) < 4:
		return fmt.Sprintf("%d bytes", len(b))
	case b[1] == opData:
		return "data " + string(b[4:])
	case b[1] == opError:
		return fmt.Sprintf("error %d", int(b[2])<<8|int(b[3]))
	case b[1] == opOACK:
		return "oack " + strings.ReplaceAll(string(b[2:]), "\x00", " ")
	}
	return fmt.Sprintf("opcode %d", b[1])
}
