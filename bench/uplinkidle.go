package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
	"github.com/sextant-net/sextant/lab/topo"
)

const (
	// wantIdle is which part of a processor the agent may take when nothing
	// happens, in percent.
	wantIdle     = 0.5
	idleNetworks = 100
	idleTime     = time.Minute
	// idleAfter is how long nobody did anything before that.
	idleAfter = 30 * time.Second
)

// The processes, as their records are named.
var idleProcesses = []string{"agent", "control", "serve"}

// runIdle measures what the program takes when nothing happens.
func runIdle(ctx context.Context, b *bench) (section, error) {
	taken := map[string]*figures{}
	for _, name := range idleProcesses {
		taken[name] = &figures{}
	}
	for round := range b.rounds {
		if err := b.measureIdle(ctx, taken); err != nil {
			return section{}, err
		}
		for _, name := range idleProcesses {
			say("round %d: %s %.3f %% of a processor", round+1, name, (*taken[name])[round])
		}
	}
	s := section{
		title: fmt.Sprintf("Nothing to do, with %d networks", idleNetworks),
		targets: []string{fmt.Sprintf("sextant agent: at most %.1f %% of a processor: %s %%, %s",
			wantIdle, *taken["agent"], verdict(taken["agent"].median() <= wantIdle))},
		how: fmt.Sprintf("%d networks of mode auto run in both families, each with a /64 that Kea delegated and one guest, whose kernel has"+
			" addresses by autoconfiguration. The provider's radvd advertises every 3 to 4 s. %v after the last guest has an address"+
			" in the delegated prefix, processor time is counted for %v.", idleNetworks, idleAfter, idleTime),
	}
	t := table{head: []string{"process", "% of a processor"}}
	for _, name := range idleProcesses {
		t.rows = append(t.rows, []string{"sextant " + name, taken[name].String()})
	}
	s.tables = []table{t}
	return s, nil
}

// measureIdle does it once, on a host of its own.
func (b *bench) measureIdle(ctx context.Context, taken map[string]*figures) (err error) {
	if err := settle(ctx); err != nil {
		return err
	}
	p, err := b.provide(ctx, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	var names []string
	for i := range idleNetworks {
		names = append(names, fmt.Sprintf("n%d", i))
	}
	if err := p.define(ctx, vnet.EgressAuto, names...); err != nil {
		return err
	}
	if err := p.guestEach(ctx, names); err != nil {
		return err
	}
	if err := pause(ctx, idleAfter); err != nil {
		return err
	}
	before, err := p.processors()
	if err != nil {
		return err
	}
	begun := time.Now()
	if err := pause(ctx, idleTime); err != nil {
		return err
	}
	after, err := p.processors()
	if err != nil {
		return err
	}
	for name, f := range taken {
		f.add(100 * (after[name] - before[name]).Seconds() / time.Since(begun).Seconds())
	}
	return nil
}

// guestEach plugs a guest's device into each network, all of one node, and
// waits until each has an address of what was delegated.
func (p *provided) guestEach(ctx context.Context, networks []string) error {
	guests, err := p.lab.Node("guests")
	if err != nil {
		return err
	}
	var links, masters strings.Builder
	for _, name := range networks {
		fmt.Fprintf(&links, "link add g-%[1]s type veth peer name p-%[1]s netns %[2]s\nlink set g-%[1]s up\n", name, p.host.Netns)
		fmt.Fprintf(&masters, "link set p-%[1]s master br-%[1]s up\n", name)
	}
	if err := commandIn(ctx, links.String(), "ip", "-n", guests.Netns, "-batch", "-"); err != nil {
		return err
	}
	if err := commandIn(ctx, masters.String(), "ip", "-n", p.host.Netns, "-batch", "-"); err != nil {
		return err
	}
	return topo.Until(ctx, 2*time.Minute, "addresses of all guests", func(ctx context.Context) error {
		own, _, _ := strings.Cut(p.at[0].pool.Addr().String(), "00::") // a /56
		out, err := guests.Sh(ctx, "ip -6 -o addr show scope global -tentative | grep -F ' "+own+"' | awk '{print $2}' | sort -u | wc -l")
		if n, _ := strconv.Atoi(out); err == nil && n < len(networks) {
			err = fmt.Errorf("%d of %d", n, len(networks))
		}
		return err
	})
}

// processors is the processor time of each process so far.
func (p *provided) processors() (map[string]time.Duration, error) {
	taken := map[string]time.Duration{}
	for _, name := range idleProcesses {
		text, err := os.ReadFile(filepath.Join(p.host.Dir(), "serve", name+".pid"))
		if err != nil {
			return nil, err
		}
		var record struct{ PID int }
		if err := json.Unmarshal(text, &record); err != nil {
			return nil, fmt.Errorf("%s.pid: %w", name, err)
		}
		if taken[name], err = processorOf(record.PID); err != nil {
			return nil, err
		}
	}
	return taken, nil
}

// processorOf is the processor time of a process, which the kernel counts in
// hundredths of a second (proc_pid_stat(5), fields 14 and 15).
func processorOf(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(stat[bytes.LastIndexByte(stat, ')'):], []byte(" "))
	f := strings.Fields(string(rest))
	if len(f) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat: %q", pid, stat)
	}
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	return time.Duration(user+system) * time.Second / 100, errors.Join(err1, err2)
}
