package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Command is a shell command for a machine of its own.
type Command struct {
	Script string    // for sh, run as root with the host's files
	Dir    string    // working directory
	Env    []string  // "name=value", besides HOME and PATH
	Output io.Writer // the machine's console: what the command prints
	Memory int       // MiB; 0: 1536
	Kernel string    // more words for the kernel's command line
	Debug  bool      // show the kernel's messages
}

// ErrNoExit says that the machine ended before the command did: it crashed or
// its time was up.
var ErrNoExit = errors.New("the virtual machine ended before the command did")

// Run boots a machine, runs the command in it and returns its exit status. The
// machine sees the host's root directory; what it writes is kept in its memory
// and lost. It needs root.
func Run(ctx context.Context, c Command) (int, error) {
	k, err := FindKernel()
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "sextant-vm")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	fs, err := serveHost(dir)
	if err != nil {
		return 0, err
	}
	defer fs.stop()
	initrd := filepath.Join(dir, "initrd")
	if err := c.writeInitrd(k, initrd); err != nil {
		return 0, err
	}
	status := filepath.Join(dir, "status")
	cmd, err := c.machine(ctx, k, fs.socket, initrd, status)
	if err != nil {
		return 0, err
	}
	var complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = c.Output, &complaints
	runErr := cmd.Run()
	text, err := os.ReadFile(status)
	if err != nil {
		return 0, fmt.Errorf("%w: %s", errors.Join(ErrNoExit, runErr), complaints.String())
	}
	code, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("%w: %s", errors.Join(ErrNoExit, runErr, ctx.Err()), complaints.String())
	}
	return code, nil
}

func (c Command) machine(ctx context.Context, k Kernel, socket, initrd, status string) (*exec.Cmd, error) {
	qemu, accel, err := emulator()
	if err != nil {
		return nil, err
	}
	memory := strconv.Itoa(c.Memory)
	if c.Memory == 0 {
		memory = "1536"
	}
	line := "console=ttyS0 panic=-1 mitigations=off random.trust_cpu=on tsc=reliable"
	if !c.Debug {
		line += " quiet loglevel=3"
	}
	if c.Kernel != "" {
		line += " " + c.Kernel
	}
	return exec.CommandContext(ctx, qemu,
		// One processor boots faster than two when it is emulated.
		"-machine", "q35", "-accel", accel.name, "-cpu", accel.cpu, "-smp", "1", "-m", memory,
		"-object", "memory-backend-memfd,id=mem,size="+memory+"M,share=on", "-numa", "node,memdev=mem",
		"-chardev", "socket,id=fs,path="+socket, "-device", "vhost-user-fs-pci,chardev=fs,tag=host",
		"-kernel", k.Image, "-initrd", initrd, "-append", line,
		"-display", "none", "-nodefaults", "-no-user-config", "-no-reboot",
		"-serial", "stdio", "-serial", "file:"+status), nil
}

// stageOne makes the host's root directory ours. It ends in switch_root and
// not in chroot, because the kernel loads modules from the first mount
// namespace's root.
const stageOne = `#!/bin/sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for m in $(cat /modules/order); do insmod /modules/$m || echo "init: module $m"; done
set -e
mount -t virtiofs -o ro host /ro
mount -t tmpfs -o size=75% tmpfs /rw
mkdir /rw/upper /rw/work
mount -t overlay -o lowerdir=/ro,upperdir=/rw/upper,workdir=/rw/work overlay /new
for d in proc sys dev; do mount --move /$d /new/$d; done
mount -t tmpfs tmpfs /new/run
cp /stage2 /command /new/run/
exec switch_root /new /bin/sh /run/stage2
`

// stageTwo runs the command and hands its exit status to the second serial
// port.
const stageTwo = `mkdir -p /dev/pts /dev/shm /run/lock
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup 2>/dev/null
mount -t bpf bpf /sys/fs/bpf 2>/dev/null
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp
ip link set lo up
stty -onlcr <&1 2>/dev/null
sh /run/command
echo $? >/dev/ttyS1
exec busybox reboot -f
`

func (c Command) writeInitrd(k Kernel, path string) error {
	i, err := newInitrd(k, []string{"virtio_pci", "virtiofs", "overlay"})
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, kv := range c.Env {
		name, value, _ := strings.Cut(kv, "=")
		fmt.Fprintf(&b, "export %s=%s\n", name, quote(value))
	}
	if c.Dir != "" {
		fmt.Fprintf(&b, "cd %s || exit 125\n", quote(c.Dir))
	}
	b.WriteString(c.Script + "\n")
	i.script("init", stageOne)
	i.script("stage2", stageTwo)
	i.script("command", b.String())
	return os.WriteFile(path, i.bytes(), 0o600)
}

// quote makes one word of s for sh.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
