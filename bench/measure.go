package main

import (
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

	"github.com/sextant-net/sextant/lab/topo"
)

// sample is one run of one subject.
type sample struct {
	subject string
	count   int
	wall    time.Duration // from the first command until RA and DNS answer on each
	cpu     time.Duration // of all its processes
	memory  []memory
}

// figure is a measured value of the large runs.
type figure struct {
	name, unit string
	value      float64
}

// world is a node for the subject and one for its guests: a device per
// network, with nothing but the kernel's SLAAC.
type world struct {
	lab        *topo.Lab
	host, them *topo.Node
}

func newWorld(ctx context.Context, count int) (*world, error) {
	if err := topo.Down(prefix); err != nil {
		return nil, err
	}
	lab, err := topo.New(prefix)
	if err != nil {
		return nil, err
	}
	w := &world{lab: lab}
	if w.host, err = lab.Node("host"); err == nil {
		w.them, err = lab.Node("guests")
	}
	var script strings.Builder
	for i := range count {
		fmt.Fprintf(&script, "ip link add h%d type veth peer name g%d netns guests\n", i, i)
	}
	if err == nil {
		err = w.host.Show(ctx, w.them)
	}
	if err == nil {
		// The clients' own waiting (RFC 4861 6.3.7, RFC 4862 5.4) is not measured.
		_, err = w.them.Sh(ctx, "cd /proc/sys/net/ipv6/conf/default; echo 0 >accept_dad; echo 0 >router_solicitation_delay; "+
			"echo 1 >router_solicitation_interval; echo 10 >router_solicitations")
	}
	if err == nil {
		err = runScript(ctx, w.host, script.String())
	}
	if err != nil {
		return nil, errors.Join(err, lab.Close())
	}
	return w, nil
}

// join plugs a guest into every network and waits until it has an address from
// the network's router and its name server answers in both families.
func (w *world) join(ctx context.Context, s subject, count int) error {
	var host, guests strings.Builder
	for i := range count {
		fmt.Fprintf(&host, "until ip link set h%d master %s up 2>/dev/null; do sleep 0.02; done\n", i, s.bridge(i))
		fmt.Fprintf(&guests, "link set g%d up\n", i)
	}
	if err := runScript(ctx, w.host, host.String()); err != nil {
		return err
	}
	if err := w.them.WriteFile(ctx, "/run/up", guests.String()); err != nil {
		return err
	}
	if _, err := w.them.Run(ctx, "ip", "-batch", "/run/up"); err != nil {
		return err
	}
	err := topo.Until(ctx, 5*time.Minute, "router advertisements", func(ctx context.Context) error {
		out, err := w.them.Run(ctx, "ip", "-6", "-o", "addr", "show", "scope", "global")
		if n := strings.Count(out, "inet6 fd5e:c700:1:"); err == nil && n < count {
			err = fmt.Errorf("%d of %d", n, count)
		}
		return err
	})
	if err != nil {
		return err
	}
	return topo.Until(ctx, 5*time.Minute, "name servers", func(ctx context.Context) error { return w.resolve(ctx, count) })
}

// resolve asks every gateway in both families.
func (w *world) resolve(ctx context.Context, count int) error {
	var queries strings.Builder
	for i := range count {
		for _, a := range []string{gateway4(i).Addr().String(), gateway6(i).Addr().String()} {
			fmt.Fprintf(&queries, "@%s nobody.n%d.internal A +time=1 +tries=1 +noall +comments\n", a, i)
		}
	}
	if err := w.host.WriteFile(ctx, "/run/queries", queries.String()); err != nil {
		return err
	}
	out, err := w.host.Run(ctx, "dig", "-f", "/run/queries")
	if n := strings.Count(out, "status: "); err == nil && n < 2*count {
		err = fmt.Errorf("%d of %d answers", n, 2*count)
	}
	return err
}

// measureNetworks measures how long a subject takes until all networks serve.
func measureNetworks(ctx context.Context, s subject, count int) (m sample, err error) {
	w, err := newWorld(ctx, count)
	if err != nil {
		return m, err
	}
	defer func() {
		if err != nil {
			fmt.Fprintln(os.Stderr, w.lab.Logs(20))
		}
		err = errors.Join(err, w.lab.Close())
	}()
	if err := s.start(ctx, w.host); err != nil {
		return m, err
	}
	before := w.cpu()
	begun := time.Now()
	if err := s.networks(ctx, w.host, count); err != nil {
		return m, err
	}
	if err := w.join(ctx, s, count); err != nil {
		return m, err
	}
	return sample{subject: s.name(), count: count, wall: time.Since(begun), cpu: w.cpu() - before, memory: w.memory()}, nil
}

// measureLarge measures what only Sextant is asked for: many networks, ports
// per second, restart.
func measureLarge(ctx context.Context, s *sextant, networks, ports int) (f []figure, err error) {
	w, err := newWorld(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.lab.Close()) }()
	if err := s.start(ctx, w.host); err != nil {
		return nil, err
	}
	begun := time.Now()
	if err := s.networks(ctx, w.host, networks); err != nil {
		return nil, err
	}
	err = topo.Until(ctx, 5*time.Minute, "name servers", func(ctx context.Context) error { return w.resolve(ctx, networks) })
	if err != nil {
		return nil, err
	}
	f = append(f, figure{fmt.Sprintf("%d networks until DNS answers on each", networks), "s", time.Since(begun).Seconds()})
	rate, err := portRate(ctx, w.host, networks, ports)
	if err != nil {
		return nil, err
	}
	f = append(f, figure{"ports made per second, one client", "1/s", rate})
	for _, m := range w.memory() {
		f = append(f, figure{"anonymous memory of " + m.process, "MB", float64(m.anonymous) / 1e6},
			figure{"mapped files of " + m.process, "MB", float64(m.mapped) / 1e6})
	}
	if err := s.host.Stop(); err != nil {
		return nil, err
	}
	begun = time.Now()
	if err := s.start(ctx, w.host); err != nil {
		return nil, err
	}
	err = topo.Until(ctx, 2*time.Minute, "name servers", func(ctx context.Context) error { return w.resolve(ctx, networks) })
	return append(f, figure{fmt.Sprintf("restart with %d networks and %d ports until all serve", networks, ports), "s", time.Since(begun).Seconds()}), err
}

// fsyncTime is the median time of writing 4 kB durably.
func fsyncTime(n int) (time.Duration, error) {
	f, err := os.CreateTemp("", prefix)
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var all []float64
	block := make([]byte, 4096)
	for range n {
		begun := time.Now()
		if _, err := f.Write(block); err != nil {
			return 0, err
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
		all = append(all, time.Since(begun).Seconds())
	}
	return time.Duration(median(all) * float64(time.Second)), nil
}

// memory is what a process holds, in bytes.
type memory struct {
	process           string
	anonymous, mapped int64
}

// pids lists the processes of the host node.
func (w *world) pids() []int {
	out, err := exec.Command("ip", "netns", "pids", w.host.Netns).Output()
	if err != nil {
		return nil
	}
	var pids []int
	for f := range strings.FieldsSeq(string(out)) {
		if pid, err := strconv.Atoi(f); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// memory reads RssAnon and RssFile of every process with memory to speak of.
func (w *world) memory() []memory {
	var all []memory
	for _, pid := range w.pids() {
		m := memory{process: processName(pid)}
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) < 2 {
				continue
			}
			kB, _ := strconv.ParseInt(f[1], 10, 64)
			switch f[0] {
			case "RssAnon:":
				m.anonymous = kB * 1024
			case "RssFile:":
				m.mapped = kB * 1024
			}
		}
		if m.anonymous > 1<<20 {
			all = append(all, m)
		}
	}
	return all
}

// processName is the program and its role.
func processName(pid int) string {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return "gone"
	}
	args := strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
	name := filepath.Base(args[0])
	if len(args) > 1 && !strings.HasPrefix(args[1], "-") && !strings.Contains(args[1], "/") {
		name += " " + args[1]
	}
	return name
}

// clockTick is USER_HZ, which is 100 on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// cpu is the processor time of the host node's processes and of the children
// they have waited for (fields 14 to 17 of /proc/PID/stat).
func (w *world) cpu() time.Duration {
	var sum time.Duration
	for _, pid := range w.pids() {
		b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		if err != nil {
			continue
		}
		text := string(b)
		f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		if len(f) < 15 {
			continue
		}
		for _, field := range f[11:15] {
			ticks, _ := strconv.ParseInt(field, 10, 64)
			sum += time.Duration(ticks) * clockTick
		}
	}
	return sum
}
