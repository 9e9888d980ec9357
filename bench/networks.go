package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// wantFaster is how many times less wall clock than the peer the largest
// comparison is to take.
const wantFaster = 10

// runNetworks compares with the peer how long networks take until they serve.
func runNetworks(ctx context.Context, b *bench) (section, error) {
	candidates := []string{"sextant", "libvirtd"}
	if !b.peers {
		candidates = candidates[:1]
	}
	samples := map[string]map[int][]sample{}
	for _, c := range candidates {
		samples[c] = map[int][]sample{}
	}
	for round := range b.rounds {
		for _, n := range b.sizes {
			for k := range candidates {
				// Who begins takes turns.
				c := candidates[(k+round)%len(candidates)]
				s, err := b.measureNetworks(ctx, c, n)
				if err != nil {
					return section{}, fmt.Errorf("%s, %d networks: %w", c, n, err)
				}
				say("round %d: %s, %d networks: %.3f s, processor %.3f s", round+1, c, n, s.wall.Seconds(), s.cpu.Seconds())
				samples[c][n] = append(samples[c][n], s)
			}
		}
	}
	return networksSection(b, samples), nil
}

// measureNetworks measures one candidate once, on a host of its own.
func (b *bench) measureNetworks(ctx context.Context, name string, n int) (s sample, err error) {
	if err := settle(ctx); err != nil {
		return s, err
	}
	h, err := b.lab.newHost(ctx, n)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	c, err := b.candidate(h, name)
	if err != nil {
		return s, err
	}
	if err := c.start(ctx); err != nil {
		return s, err
	}
	s, err = measure(ctx, h, c)
	if err != nil || n < b.large {
		return s, err
	}
	// What a large installation takes is what it takes at rest.
	say("%d networks: waiting %v, until the memory of the work is given back", n, rest)
	if err := pause(ctx, rest); err != nil {
		return s, err
	}
	s.memory, err = h.group.memory()
	return s, err
}

// rest is how long after the work memory is read.
const rest = 30 * time.Second

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func (b *bench) candidate(h *host, name string) (candidate, error) {
	if name == "libvirtd" {
		return newLibvirt(h)
	}
	return b.newSextant(h)
}

// walls and processors are the two times of samples.
func walls(of []sample) (f figures) {
	for _, s := range of {
		f.addTime(s.wall)
	}
	return f
}

func processors(of []sample) (f figures) {
	for _, s := range of {
		f.addTime(s.cpu)
	}
	return f
}

func networksSection(b *bench, samples map[string]map[int][]sample) section {
	s := section{title: "Networks until they serve, against libvirtd",
		how: "Dual-stack networks with NAT in both families and DHCP in both are defined and started, by one client one after" +
			" the other. As soon as a bridge is there, a guest is plugged into it, which sends router solicitations and queries" +
			" to both gateway addresses every " + askEvery.String() + ". The clock runs from the first request until every guest has" +
			" a router advertisement with its network's prefix and an answer from both addresses. Guests know their gateway's" +
			" MAC, and the host's kernel is told theirs, for its table of neighbours is too small for a thousand. Processor time is of all the" +
			" candidate's processes and their children (cgroup), not of the clients. libvirtd runs without D-Bus, keeps its state" +
			" in memory, and has STP off; Sextant's state is on the disk, and durable."}
	t := table{head: []string{"networks", "wall: libvirtd / Sextant", "processor: libvirtd / Sextant",
		"Sextant, wall s", "libvirtd, wall s", "Sextant, processor s", "libvirtd, processor s"}}
	for _, n := range b.sizes {
		ours, theirs := samples["sextant"][n], samples["libvirtd"][n]
		t.rows = append(t.rows, []string{fmt.Sprint(n),
			ratios(walls(theirs), walls(ours)).String(), ratios(processors(theirs), processors(ours)).String(),
			walls(ours).String(), walls(theirs).String(), processors(ours).String(), processors(theirs).String()})
	}
	last := b.sizes[len(b.sizes)-1]
	if ratio := ratios(walls(samples["libvirtd"][last]), walls(samples["sextant"][last])); len(ratio) > 0 {
		s.targets = append(s.targets, fmt.Sprintf("at least %d times less wall clock at %d networks: %s, %s",
			wantFaster, last, ratio, verdict(ratio.median() >= wantFaster)))
	}
	m := table{head: memoryHead()}
	for _, c := range []string{"sextant", "libvirtd"} {
		var rounds [][]memory
		for _, s := range samples[c][last] {
			rounds = append(rounds, s.memory)
		}
		m.rows = append(m.rows, memoryRows(fmt.Sprintf("%s, %d networks", c, last), rounds)...)
	}
	s.tables = []table{t, m}
	return s
}

// Targets of a thousand networks.
const (
	wantScale  = 15 * time.Second
	wantMemory = 150 // MB, anonymous and mapped, of all processes together
)

// runScale measures a large number of networks.
func runScale(ctx context.Context, b *bench) (section, error) {
	var samples []sample
	var total, share figures
	var rounds [][]memory
	for round := range b.rounds {
		s, err := b.measureNetworks(ctx, "sextant", b.large)
		if err != nil {
			return section{}, err
		}
		say("round %d: %d networks: %.3f s, processor %.3f s", round+1, b.large, s.wall.Seconds(), s.cpu.Seconds())
		samples = append(samples, s)
		rounds = append(rounds, s.memory)
		var all memory
		for _, m := range s.memory {
			all = together(all, m)
		}
		total.add(megabytes(all.anonymous + all.mapped))
		share.add(megabytes(all.share))
	}
	wall := walls(samples)
	return section{
		title: fmt.Sprintf("%d networks", b.large),
		targets: []string{
			fmt.Sprintf("%d networks in at most %v: %s s, %s", b.large, wantScale, wall, verdict(wall.median() <= wantScale.Seconds())),
			fmt.Sprintf("all processes together in at most %d MB, a page that several map counted once (PSS): %s MB, %s", wantMemory, share, verdict(share.median() <= wantMemory)),
			fmt.Sprintf("the same with such pages counted for each process (RSS): %s MB, %s", total, verdict(total.median() <= wantMemory)),
		},
		tables: []table{
			{[]string{"wall, s", "processor, s"}, [][]string{{wall.String(), processors(samples).String()}}},
			{memoryHead(), memoryRows("sextant", rounds)},
		},
		how: "As above, with a guest in every network; memory is read 30 seconds after all are served. Pages of the program itself are" +
			" mapped by each of its processes and counted for each.",
	}, nil
}
