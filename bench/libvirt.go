package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// libvirt is libvirtd with its network driver, as Debian ships it. It gets
// copies of its directories in memory, the limit of open files of its unit (it
// closes that many in every child), no D-Bus, and bridges without STP, whose
// forward delay would make every guest wait.
type libvirt struct {
	host *host
	proc *process
}

// libvirtSetup runs in a mount namespace of its own: $1 is the directory of
// the host. Debian's libvirtd looks for its state in /run, /var/lib and /etc.
const libvirtSetup = `set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$1/etc"
cp -a /etc/libvirt/. "$1/etc/"
rm -rf "$1/etc/qemu/networks"
mkdir -p "$1/etc/qemu/networks/autostart"
mount --bind "$1/etc" /etc/libvirt
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /var/lib/libvirt
mkdir -p /run/libvirt /run/lock /var/lib/libvirt/dnsmasq /var/lib/libvirt/network
ulimit -n 8192
exec libvirtd --config "$1/libvirtd.conf"
`

func newLibvirt(h *host) (*libvirt, error) {
	for _, name := range []string{"libvirtd", "virsh", "dnsmasq", "iptables"} {
		if _, err := exec.LookPath(name); err != nil {
			return nil, fmt.Errorf("%w: run make deps", err)
		}
	}
	return &libvirt{host: h}, nil
}

func (l *libvirt) name() string { return "libvirtd" }

func (l *libvirt) socket() string { return filepath.Join(l.host.dir, "sock", "libvirt-sock") }

func (l *libvirt) start(ctx context.Context) error {
	for _, d := range []string{"etc", "sock"} {
		if err := os.Mkdir(filepath.Join(l.host.dir, d), 0o755); err != nil {
			return err
		}
	}
	conf := fmt.Sprintf("unix_sock_dir = %q\nunix_sock_rw_perms = \"0700\"\nauth_unix_ro = \"none\"\nauth_unix_rw = \"none\"\n",
		filepath.Dir(l.socket()))
	if err := os.WriteFile(filepath.Join(l.host.dir, "libvirtd.conf"), []byte(conf), 0o600); err != nil {
		return err
	}
	var err error
	l.proc, err = l.host.start("libvirtd", "unshare", "--mount", "sh", "-c", libvirtSetup, "sh", l.host.dir)
	if err != nil {
		return err
	}
	return until(ctx, 30*time.Second, 50*time.Millisecond, "virsh", func(ctx context.Context) error {
		return errors.Join(l.proc.alive(), l.virsh(ctx, "net-list"))
	})
}

// virsh runs commands over one connection.
func (l *libvirt) virsh(ctx context.Context, commands ...string) error {
	cmd := exec.CommandContext(ctx, "virsh", "-q", "-c", "network:///system?socket="+l.socket(), strings.Join(commands, "; "))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.CombinedOutput()
	if err == nil && bytes.Contains(out, []byte("error:")) {
		err = errors.New("virsh")
	}
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out[:min(len(out), 1000)]))
	}
	return nil
}

// define makes all networks through one virsh.
func (l *libvirt) define(ctx context.Context) error {
	var commands []string
	for i := range l.host.nets {
		n := &l.host.nets[i]
		file := filepath.Join(l.host.dir, n.name+".xml")
		if err := os.WriteFile(file, []byte(n.libvirtXML()), 0o600); err != nil {
			return err
		}
		commands = append(commands, "net-define "+file, "net-start "+n.name)
	}
	return l.virsh(ctx, commands...)
}

// libvirtXML is the network in libvirt's words.
func (n *network) libvirtXML() string {
	v6 := n.v6.Masked().Addr().String()
	return fmt.Sprintf(`<network>
  <name>%s</name>
  <forward mode='nat'><nat ipv6='yes'/></forward>
  <bridge name='%s' stp='off' delay='0'/>
  <mac address='%s'/>
  <domain name='%s' localOnly='yes'/>
  <ip address='%s' prefix='24'><dhcp><range start='%s' end='%s'/></dhcp></ip>
  <ip family='ipv6' address='%s' prefix='64'><dhcp><range start='%s1000' end='%s1fff'/></dhcp></ip>
</network>
`, n.name, n.bridge, n.gatewayMAC(), n.domain, n.v4.Addr(), host4(n.v4.Addr(), 3), host4(n.v4.Addr(), 254), n.v6.Addr(), v6, v6)
}
