package uplink

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// beside is another DHCPv6 client of the host, on the same link.
type beside struct {
	name     string
	commands []string
	// start runs it, and got reports whether it has its own prefix or address.
	start func(w *world)
	got   func(w *world) error
}

// inFile looks for a text in a file of the world.
func inFile(name, text string) func(w *world) error {
	return func(w *world) error {
		b, err := os.ReadFile(filepath.Join(w.dir, name))
		if err == nil && !bytes.Contains(b, []byte(text)) {
			err = fmt.Errorf("%q", b)
		}
		return err
	}
}

// address looks for an address of Kea's pool on the link.
func address(w *world) error {
	if out := w.host.Run("ip", "-6", "address", "show", "dev", "up0"); !strings.Contains(out, "2001:db8:1::1") {
		return fmt.Errorf("%s", out)
	}
	return nil
}

// hidden runs a shell script in the host's namespace with directories of its
// own in place of the machine's: ip-netns gives it a mount namespace.
func (w *world) hidden(script string, dirs ...string) {
	mounts := ""
	for _, d := range dirs {
		mounts += "mkdir -p " + d + "; mount -t tmpfs tmpfs " + d + " || exit 1; "
	}
	// Into a file: what it leaves behind must not keep a pipe of ours open.
	cmd := w.host.Start("sh", "-c", mounts+"cd "+w.dir+"; exec >other.log 2>&1; "+script)
	w.t.Cleanup(func() { // asked to end, it ends its own children
		if w.t.Failed() {
			b, _ := os.ReadFile(filepath.Join(w.dir, "other.log"))
			w.t.Logf("%s", b)
		}
		_ = cmd.Process.Signal(terminate)
		netnstest.Eventually(w.t, 10*time.Second, "end of the other client", func() error {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", cmd.Process.Pid))
			if err == nil && !bytes.Contains(b, []byte(") Z ")) {
				return fmt.Errorf("%s", b)
			}
			return nil
		})
	})
}

var others = []beside{
	{
		name: "dhclient", commands: []string{"dhclient"},
		start: func(w *world) {
			w.host.Start("dhclient", "-6", "-P", "-d", "-sf", "/bin/true", "-lf", filepath.Join(w.dir, "lf"), "-pf", filepath.Join(w.dir, "pf"), "-cf", "/dev/null", "up0")
		},
		got: inFile("lf", "iaprefix 2001:db8:1"),
	},
	{
		name: "networkd", commands: []string{"/lib/systemd/systemd-networkd"},
		start: func(w *world) {
			w.hidden(`mkdir -p /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
				mkdir -p /run/systemd/network; chmod 755 /run/systemd /run/systemd/network
				printf '[Match]\nName=up0\n[Network]\nDHCP=ipv6\nIPv6AcceptRA=no\nKeepConfiguration=yes\n[DHCPv6]\nWithoutRA=solicit\n' >/run/systemd/network/up0.network
				mount -o remount,ro,bind /sys
				exec /lib/systemd/systemd-networkd`, "/run/systemd")
		},
		got: address,
	},
	{
		name: "wide", commands: []string{"dhcp6c"},
		start: func(w *world) {
			conf := "interface up0 { send ia-na 1; };\nid-assoc na 1 { };\n"
			if err := os.WriteFile(filepath.Join(w.dir, "dhcp6c.conf"), []byte(conf), 0o600); err != nil {
				w.t.Fatal(err)
			}
			w.hidden("exec dhcp6c -f -D -c dhcp6c.conf -p pid up0", "/var/lib/dhcpv6")
		},
		got: address,
	},
}

// TestBeside: whichever client of the host is there first, both get what they
// ask for, and nobody refuses the server's answers.
func TestBeside(t *testing.T) {
	for _, o := range others {
		for _, first := range []string{"we", "they"} {
			t.Run(o.name+", "+first+" first", func(t *testing.T) {
				netnstest.NeedCommands(t, o.commands...)
				w := newWorld(t)
				refused := w.refusals()
				w.kea("one", "2001:db8:100::", short)
				held := func() {
					t.Helper()
					netnstest.Eventually(t, 30*time.Second, "ours", func() error {
						if d := w.Facts("up0").Delegations; len(d) != 1 {
							return fmt.Errorf("%v", d)
						}
						return nil
					})
				}
				theirs := func() {
					t.Helper()
					netnstest.Eventually(t, 30*time.Second, "theirs", func() error { return o.got(w) })
				}
				if first == "they" {
					o.start(w)
					theirs()
					w.start()
					held()
				} else {
					w.start()
					held()
					o.start(w)
					theirs()
				}
				// Renewals come through, too.
				until := w.Facts("up0").Delegations[0].ValidUntil
				netnstest.Eventually(t, 20*time.Second, "renewal", func() error {
					if d := w.Facts("up0").Delegations; len(d) != 1 || !d[0].ValidUntil.After(until) {
						return fmt.Errorf("%v", d)
					}
					return nil
				})
				if out := refused(); out != "" {
					t.Errorf("the host refused answers:\n%s", out)
				}
			})
		}
	}
}

// TestPortIsLeft: whoever binds port 546 after us can, and what comes to it is
// theirs, by whichever way they share it.
func TestPortIsLeft(t *testing.T) {
	for name, opts := range map[string][]int{
		"SO_REUSEADDR": {unix.SO_REUSEADDR}, "SO_REUSEPORT": {unix.SO_REUSEPORT}, "both": {unix.SO_REUSEADDR, unix.SO_REUSEPORT},
	} {
		t.Run(name, func(t *testing.T) {
			ns := netnstest.New(t, "port")
			if err := ns.Do(func() error {
				ours, held, err := holdPort()
				if err != nil || !held {
					return fmt.Errorf("not held: %v", err)
				}
				defer unix.Close(ours)
				if _, again, err := holdPort(); again || err != nil {
					return fmt.Errorf("held twice: %v", err)
				}
				theirs, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					return err
				}
				defer unix.Close(theirs)
				if err := unix.SetsockoptInt(theirs, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
					return err
				}
				for _, o := range opts {
					if err := unix.SetsockoptInt(theirs, unix.SOL_SOCKET, o, 1); err != nil {
						return err
					}
				}
				if err := unix.SetsockoptTimeval(theirs, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
					return err
				}
				if err := unix.Bind(theirs, &unix.SockaddrInet6{Port: clientPort}); err != nil {
					return fmt.Errorf("bind: %w", err)
				}
				from, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					return err
				}
				defer unix.Close(from)
				for n := range 20 {
					if err := unix.Sendto(from, []byte{byte(n)}, 0, &unix.SockaddrInet6{Port: clientPort, Addr: [16]byte{15: 1}}); err != nil {
						return err
					}
					b := make([]byte, 10)
					if k, err := unix.Read(theirs, b); err != nil || k != 1 || b[0] != byte(n) {
						return fmt.Errorf("message %d: %v %v", n, b, err)
					}
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
}
