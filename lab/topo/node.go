package topo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Node is one machine of the lab: a network namespace, a mount namespace and a
// host name.
type Node struct {
	Name  string
	Netns string   // the namespace's name on the machine
	Env   []string // for its commands, besides the lab's own

	lab    *Lab
	dir    string
	holder int // process that keeps the mount namespace
}

// setup gives the node its own /etc and /run. What a program's package put
// there is still seen in /etc, but no socket of the machine's services in
// /run: a program in the lab must not speak to the machine's systemd.
const setup = `set -e
mkdir -p "$1/etc" "$1/work" "$1/run" "$1/full"
if ! mount -t overlay -o lowerdir=/etc,upperdir="$1/etc",workdir="$1/work" overlay /etc 2>/dev/null; then
	mount -t tmpfs tmpfs "$1/full"
	cp -a /etc/. "$1/full/"
	mount --bind "$1/full" /etc
fi
rm -f /etc/resolv.conf
: >/etc/resolv.conf
echo "$2" >/etc/hostname
hostname "$2"
mount -t tmpfs -o mode=755 tmpfs "$1/run"
mkdir "$1/run/netns" "$1/run/lock"
mount --bind "$1/run" /run
for d in /var/lib/dhcp /var/lib/dhcpcd /var/lib/dhcpv6; do
	if [ -d $d ]; then mount -t tmpfs -o mode=755 tmpfs $d; fi
done
ip link set lo up
echo ready
exec sleep infinity
`

// Node makes a machine with loopback up and nothing else.
func (l *Lab) Node(name string) (*Node, error) {
	n := &Node{Name: name, Netns: l.Prefix + name, lab: l, dir: filepath.Join(l.Dir, name)}
	// What a program keeps for its user to look at goes with the lab.
	n.Env = []string{"TMPDIR=" + n.dir}
	if err := os.Mkdir(n.dir, 0o755); err != nil {
		return nil, err
	}
	if out, err := exec.Command("ip", "netns", "add", n.Netns).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("ip netns add %s: %w: %s", n.Netns, err, out)
	}
	cmd := exec.Command("ip", "netns", "exec", n.Netns, "unshare", "--uts", "sh", "-c", setup, "sh", n.dir, name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	n.holder = cmd.Process.Pid
	line := make([]byte, len("ready\n"))
	if _, err := out.Read(line); err != nil || string(line) != "ready\n" {
		_ = cmd.Wait()
		return nil, fmt.Errorf("node %s: %s", name, complaints.String())
	}
	l.mu.Lock()
	l.nodes = append(l.nodes, n)
	l.mu.Unlock()
	l.Defer(func() error {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil
	})
	return n, nil
}

// Enter is the command that runs another one in the node.
func (n *Node) Enter() []string {
	ns := "/proc/" + strconv.Itoa(n.holder) + "/ns/"
	return []string{"nsenter", "--mount=" + ns + "mnt", "--net=" + ns + "net", "--uts=" + ns + "uts", "--"}
}

// Dir is a directory on the machine that belongs to the node.
func (n *Node) Dir() string { return n.dir }

// Logs is what the background programs of the node printed: the last lines of
// each.
func (n *Node) Logs(lines int) string {
	var b strings.Builder
	files, _ := filepath.Glob(filepath.Join(n.dir, "*.log"))
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil || len(text) == 0 {
			continue
		}
		all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
		fmt.Fprintf(&b, "== %s: %s\n%s\n", n.Name, strings.TrimSuffix(filepath.Base(f), ".log"),
			strings.Join(all[max(0, len(all)-lines):], "\n"))
	}
	return b.String()
}

func (n *Node) command(ctx context.Context, args []string) *exec.Cmd {
	full := append(n.Enter(), args...)
	cmd := exec.CommandContext(ctx, full[0], full[1:]...)
	cmd.Env = append(os.Environ(), n.Env...)
	cmd.Dir = "/"
	// Ctrl-C is for the program that runs the lab.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second // a daemon that the command left may keep its output open
	return cmd
}

// Run runs a command in the node and returns what it printed. The error holds
// the exit status and what was printed, too.
func (n *Node) Run(ctx context.Context, args ...string) (string, error) {
	cmd := n.command(ctx, args)
	// A file and not a pipe: clients leave daemons behind that keep it open.
	f, err := os.CreateTemp(n.dir, "out")
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	err = cmd.Run()
	text, readErr := os.ReadFile(f.Name())
	out := strings.TrimRight(string(text), "\n")
	if err != nil {
		return out, fmt.Errorf("%s: %s: %w: %s", n.Name, strings.Join(args, " "), err, out)
	}
	return out, readErr
}

// Sh runs a script in the node.
func (n *Node) Sh(ctx context.Context, script string) (string, error) {
	return n.Run(ctx, "sh", "-ec", script)
}

// Proc is a program in the background of a node.
type Proc struct {
	Pid  int
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Start runs a program in the background until the lab ends. What it prints
// goes to a file that Logs shows.
func (n *Node) Start(name string, args ...string) (*Proc, error) {
	log, err := os.OpenFile(filepath.Join(n.dir, name+".log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := n.command(context.Background(), args)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Proc{Pid: cmd.Process.Pid, cmd: cmd, done: make(chan struct{})}
	go func() { p.err = cmd.Wait(); close(p.done) }()
	n.lab.Defer(func() error { return p.Stop() })
	return p, nil
}

// Signal sends a signal to the program.
func (p *Proc) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Wait waits for the program's end.
func (p *Proc) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stop asks the program to end and, after ten seconds, makes it.
func (p *Proc) Stop() error {
	select {
	case <-p.done:
		return nil
	default:
	}
	_ = p.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return nil
	case <-time.After(10 * time.Second):
	}
	err := p.Signal(syscall.SIGKILL)
	<-p.done
	return errors.Join(fmt.Errorf("process %d did not stop on SIGTERM", p.Pid), err)
}

// WriteFile writes a file in the node's own /etc or /run.
func (n *Node) WriteFile(ctx context.Context, path, text string) error {
	cmd := n.command(ctx, []string{"sh", "-c", `cat >"$1"`, "sh", path})
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: write %s: %w: %s", n.Name, path, err, out)
	}
	return nil
}

// Show gives another node's namespace the other's name in this node, as `ip
// netns` would.
func (n *Node) Show(ctx context.Context, other *Node) error {
	_, err := n.Run(ctx, "sh", "-ec", `: >"/run/netns/$1"; mount --bind "/proc/$2/ns/net" "/run/netns/$1"`,
		"sh", other.Name, strconv.Itoa(other.holder))
	return err
}
