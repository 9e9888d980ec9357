package vm

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// GuestConfig describes a guest.
type GuestConfig struct {
	Name  string   // also its host name
	Tap   string   // existing tap device
	MAC   string   // of its network card
	Dir   string   // for its files; must exist
	Enter []string // command before qemu, to run it in a namespace
}

// Guest is a virtual machine with one network card, a DHCPv4 client, the
// kernel's own SLAAC and a web server on port 80.
type Guest struct {
	GuestConfig
	cmd  *exec.Cmd
	done chan struct{}
	out  bytes.Buffer

	mu   sync.Mutex // one command at a time
	conn net.Conn
	in   *bufio.Reader
}

// guestInit brings the guest up and then runs what the first serial line says,
// one base64 line per command; the kernel talks on the second.
const guestInit = `#!/bin/sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
exec >/dev/ttyS1 2>&1
for m in $(cat /modules/order); do insmod /modules/$m; done
hostname "$(cat /etc/name)"
: >/etc/resolv.conf
ip link set lo up
ip link set eth0 up
mkdir -p /www
cat /etc/name >/www/index.html
httpd -p 80 -h /www
udhcpc -b -t 20 -T 1 -i eth0 -x hostname:"$(cat /etc/name)" -s /etc/udhcpc.sh &
stty raw -echo </dev/ttyS0
while true; do
	while read -r line; do
		echo "$line" | base64 -d >/tmp/command
		{ echo @@begin; sh /tmp/command </dev/null 2>&1; echo; echo "@@end $?"; } >/dev/ttyS0
	done
done </dev/ttyS0
`

const guestLease = `#!/bin/sh
case "$1" in
deconfig) ip -4 addr flush dev "$interface" ;;
bound | renew)
	ip -4 addr replace "$ip/$mask" dev "$interface"
	for r in $router; do ip route replace default via "$r" dev "$interface"; break; done
	: >/etc/resolv.conf
	[ -z "$domain" ] || echo "search $domain" >>/etc/resolv.conf
	for s in $dns; do echo "nameserver $s" >>/etc/resolv.conf; done
	;;
esac
`

// StartGuest boots a guest and returns once its first process answers.
func StartGuest(ctx context.Context, c GuestConfig) (*Guest, error) {
	k, err := FindKernel()
	if err != nil {
		return nil, err
	}
	i, err := newInitrd(k, []string{"virtio_pci", "virtio_net"})
	if err != nil {
		return nil, err
	}
	// The end of the command's status must not be that of the echo before it.
	i.script("init", strings.Replace(guestInit, `2>&1; echo; echo "@@end $?"`, `2>&1; s=$?; echo; echo "@@end $s"`, 1))
	i.script("etc/udhcpc.sh", guestLease)
	i.script("etc/name", c.Name+"\n")
	initrd := filepath.Join(c.Dir, "initrd")
	if err := os.WriteFile(initrd, i.bytes(), 0o600); err != nil {
		return nil, err
	}
	g := &Guest{GuestConfig: c, done: make(chan struct{})}
	if err := g.boot(k, initrd); err != nil {
		return nil, err
	}
	if err := g.connect(ctx); err != nil {
		return nil, errors.Join(err, g.Stop())
	}
	return g, nil
}

func (g *Guest) socket() string { return filepath.Join(g.Dir, "console.sock") }

func (g *Guest) boot(k Kernel, initrd string) error {
	qemu, accel, err := emulator()
	if err != nil {
		return err
	}
	args := append(g.Enter[:len(g.Enter):len(g.Enter)], qemu,
		"-machine", "q35", "-accel", accel.name, "-cpu", accel.cpu, "-smp", "1", "-m", "192",
		"-netdev", "tap,id=net,ifname="+g.Tap+",script=no,downscript=no",
		"-device", "virtio-net-pci,netdev=net,romfile=,mac="+g.MAC,
		"-kernel", k.Image, "-initrd", initrd,
		"-append", "console=ttyS1 panic=-1 mitigations=off random.trust_cpu=on tsc=reliable quiet",
		"-display", "none", "-nodefaults", "-no-user-config", "-no-reboot",
		"-chardev", "socket,id=c0,path="+g.socket()+",server=on,wait=off", "-serial", "chardev:c0",
		"-serial", "file:"+filepath.Join(g.Dir, "console.log"))
	g.cmd = exec.Command(args[0], args[1:]...)
	g.cmd.Stdout, g.cmd.Stderr = &g.out, &g.out
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := g.cmd.Start(); err != nil {
		return err
	}
	go func() { _ = g.cmd.Wait(); close(g.done) }()
	return nil
}

// connect opens the console and waits until the guest answers. What is sent
// before the guest reads is lost, so it asks again.
func (g *Guest) connect(ctx context.Context) error {
	for {
		select {
		case <-g.done:
			return fmt.Errorf("guest %s ended: %s%s", g.Name, g.out.String(), g.Log())
		case <-ctx.Done():
			return fmt.Errorf("guest %s does not answer: %w\n%s", g.Name, ctx.Err(), g.Log())
		case <-time.After(200 * time.Millisecond):
		}
		if g.conn == nil {
			conn, err := net.Dial("unix", g.socket())
			if err != nil {
				continue
			}
			g.conn, g.in = conn, bufio.NewReader(conn)
		}
		ask, cancel := context.WithTimeout(ctx, time.Second)
		_, _, err := g.Run(ask, "true")
		cancel()
		if err == nil {
			return nil
		}
	}
}

// Run runs a shell command in the guest and returns what it printed and its
// exit status. The error says that the guest did not answer.
func (g *Guest) Run(ctx context.Context, script string) (string, int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(time.Minute)
	}
	if err := g.conn.SetDeadline(deadline); err != nil {
		return "", 0, err
	}
	if _, err := g.conn.Write([]byte(base64.StdEncoding.EncodeToString([]byte(script)) + "\n")); err != nil {
		return "", 0, err
	}
	var out strings.Builder
	for {
		line, err := g.in.ReadString('\n')
		if err != nil {
			return out.String(), 0, fmt.Errorf("guest %s: %w", g.Name, err)
		}
		line = strings.TrimRight(line, "\r\n")
		switch status, end := strings.CutPrefix(line, "@@end "); {
		case strings.HasSuffix(line, "@@begin"):
			out.Reset()
		case end:
			code, err := strconv.Atoi(status)
			return strings.TrimRight(out.String(), "\n"), code, err
		default:
			out.WriteString(line + "\n")
		}
	}
}

// Log is what the guest's kernel and first process said.
func (g *Guest) Log() string {
	b, err := os.ReadFile(filepath.Join(g.Dir, "console.log"))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Stop turns the guest off.
func (g *Guest) Stop() error {
	if g.conn != nil {
		g.conn.Close()
	}
	err := g.cmd.Process.Kill()
	<-g.done
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}
