package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// host is a machine of its own for one candidate: a namespace with an uplink,
// and another one with the guests, a device for each network.
type host struct {
	netns  string
	guests string // namespace
	dir    string
	group  *cgroup
	nets   []network
	undo   []func() error
}

// newHost makes a host and the guests of n networks; the host's ends of their
// devices are up and in no bridge yet.
func (l *lab) newHost(ctx context.Context, n int) (_ *host, err error) {
	l.count++
	id := strconv.Itoa(os.Getpid()) + "-" + strconv.Itoa(l.count)
	h := &host{
		netns: namePrefix + id + "-host", guests: namePrefix + id + "-guests",
		dir: filepath.Join(l.dir, strconv.Itoa(l.count)), nets: networks(n),
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close())
		}
	}()
	if err := os.Mkdir(h.dir, 0o755); err != nil {
		return nil, err
	}
	h.defers(func() error { return errors.Join(l.keep(h), os.RemoveAll(h.dir)) })
	for _, ns := range []string{h.netns, h.guests} {
		// Not to be broken off: half a namespace would not be removed.
		if err := command(context.Background(), "ip", "netns", "add", ns); err != nil {
			return nil, err
		}
		h.defers(func() error { return command(context.Background(), "ip", "netns", "delete", ns) })
	}
	if h.group, err = l.cgroup(strconv.Itoa(l.count)); err != nil {
		return nil, err
	}
	h.defers(h.group.remove)
	return h, h.cable(ctx)
}

func (h *host) defers(f func() error) { h.undo = append(h.undo, f) }

// close ends everything on the host and removes it.
func (h *host) close() error {
	var errs []error
	for i := len(h.undo) - 1; i >= 0; i-- {
		errs = append(errs, h.undo[i]())
	}
	h.undo = nil
	return errors.Join(errs...)
}

// cable makes the uplink and the guests' devices. Guests do without duplicate
// address detection and autoconfiguration, for they are there to ask, and know
// their gateway's MAC: the second that they would wait before they repeat a
// lost ARP request is not what is measured, and the kernel keeps no more than
// about a thousand neighbours of each family, for all namespaces together.
func (h *host) cable(ctx context.Context) error {
	var guests strings.Builder
	guests.WriteString(`link set lo up
link add wan type veth peer name eth0 netns ` + h.netns + `
link set wan up
addr add 198.51.100.1/24 dev wan
addr add 2001:db8:ffff::1/64 dev wan nodad
`)
	for i := range h.nets {
		n := &h.nets[i]
		fmt.Fprintf(&guests, "link add %s address %s type veth peer name %s address %s netns %s\n",
			n.guest, n.macText(0x52), n.plug, n.macText(0xfe), h.netns)
		fmt.Fprintf(&guests, "link set %s up\n", n.guest)
		fmt.Fprintf(&guests, "addr add %v dev %s\naddr add %v dev %s nodad\n", n.guest4(), n.guest, n.guest6(), n.guest)
		for _, gateway := range []netip.Prefix{n.v4, n.v6} {
			fmt.Fprintf(&guests, "neigh add %v lladdr %s dev %s nud permanent\n", gateway.Addr(), n.gatewayMAC(), n.guest)
		}
	}
	var own strings.Builder
	own.WriteString(`link set lo up
link set eth0 up
addr add 198.51.100.2/24 dev eth0
addr add 2001:db8:ffff::2/64 dev eth0 nodad
route add default via 198.51.100.1
route add default via 2001:db8:ffff::1
`)
	for i := range h.nets {
		fmt.Fprintf(&own, "link set %s addrgenmode none up\n", h.nets[i].plug)
	}
	const quiet = "for f in accept_dad accept_ra autoconf; do echo 0 >/proc/sys/net/ipv6/conf/default/$f; done; exec ip -batch -"
	if err := commandIn(ctx, guests.String(), "ip", "netns", "exec", h.guests, "sh", "-ec", quiet); err != nil {
		return err
	}
	return commandIn(ctx, own.String(), "ip", "netns", "exec", h.netns, "ip", "-batch", "-")
}

// process is a program on a host.
type process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{}
	err  error
}

// start runs a program on the host and counts what it takes.
func (h *host) start(name string, args ...string) (*process, error) {
	p := &process{log: filepath.Join(h.dir, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	group, err := os.Open(h.group.dir)
	if err != nil {
		return nil, err
	}
	defer group.Close()
	p.cmd = exec.Command("ip", append([]string{"netns", "exec", h.netns}, args...)...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = "/", log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, UseCgroupFD: true, CgroupFD: int(group.Fd())}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { p.err = p.cmd.Wait(); close(p.done) }()
	return p, nil
}

// alive returns an error with the log's end if the program has ended.
func (p *process) alive() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended: %w: %s", p.cmd.Args[4], p.err, p.tail())
	default:
		return nil
	}
}

// tail is the end of what the program printed.
func (p *process) tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// settle waits until the machine has time again: namespaces are taken apart
// in the background. A machine that others keep busy is waited for no longer
// than five seconds.
func settle(ctx context.Context) error {
	for range 10 {
		idle0, total0, err := processorTime()
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
		idle1, total1, err := processorTime()
		if err != nil {
			return err
		}
		if total := total1 - total0; total > 0 && float64(idle1-idle0) > 0.9*float64(total) {
			return nil
		}
	}
	return nil
}

// processorTime reads the idle and the total time of all processors, in ticks.
func processorTime() (idle, total int64, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	for i, f := range strings.Fields(line) {
		if i == 0 || i > 8 { // guest times are in user time, too
			continue
		}
		v, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, 0, err
		}
		if i == 4 || i == 5 {
			idle += v
		}
		total += v
	}
	return idle, total, nil
}
