package libvirt

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// setup runs in a mount namespace of its own; $1 is a directory. libvirtd looks
// for its state in /run, /var/lib and /etc, and finds no D-Bus. It closes in
// every child as many files as may be open.
const setup = `set -e
mount --make-rprivate /
mkdir "$1/etc" "$1/sock"
cp -a /etc/libvirt/. "$1/etc/"
rm -rf "$1/etc/qemu/networks"
mkdir -p "$1/etc/qemu/networks/autostart"
mount --bind "$1/etc" /etc/libvirt
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var/lib/libvirt
mkdir -p /run/libvirt /run/lock /var/lib/libvirt/dnsmasq /var/lib/libvirt/network
printf 'unix_sock_dir = "%s"\nunix_sock_rw_perms = "0700"\nauth_unix_ro = "none"\nauth_unix_rw = "none"\n' "$1/sock" >"$1/libvirtd.conf"
ulimit -n 1024
exec libvirtd --config "$1/libvirtd.conf"
`

// libvirtd starts the distribution's libvirtd in a namespace of its own, where
// there are the links uplink0 and outside, a bridge, and returns a connection.
func libvirtd(t *testing.T) *client {
	t.Helper()
	netnstest.NeedCommands(t, "libvirtd", "dnsmasq", "iptables", "unshare")
	ns := netnstest.New(t, "libvirt")
	ns.Run("ip", "link", "add", "uplink0", "type", "veth", "peer", "name", "uplink1")
	ns.Run("ip", "link", "add", "outside", "type", "bridge")
	dir, err := os.MkdirTemp("", "sxt-libvirt-") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := ns.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", setup, "sh", dir)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // with it ends all that is in its PID namespace
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var c client
	netnstest.Eventually(t, 30*time.Second, "libvirtd answers", func() error {
		conn, err := net.Dial("unix", filepath.Join(dir, "sock", "libvirt-sock"))
		if err != nil {
			text, _ := os.ReadFile(log.Name())
			return fmt.Errorf("%w: %s", err, text)
		}
		c = client{conn: conn}
		_, err = c.call(procOpen, args(nil).num(one).text("network:///system").num(0))
		return err
	})
	t.Cleanup(func() { _ = c.conn.Close() })
	return &c
}
