package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sextant-net/sextant/internal/dialect/native/client"
	"github.com/sextant-net/sextant/internal/vnet"
)

const (
	// wantProxy is how many times ndppd's rate is to be reached.
	wantProxy    = 5
	proxyGuests  = 4096
	proxyTime    = 2 * time.Second
	proxyGentle  = 32 // questions at a time where nothing is measured
	proxyAgent   = "sextant agent"
	nameNdppd    = "ndppd"
	ndppdAsks    = "ndppd, asks the guests"
	ndppdAll     = "ndppd, answers for all"
	scanRate     = 20000 // questions a second
	scanFirst    = 5 * time.Second
	scanTime     = 10 * time.Second
	wantGrowth   = 2.0 // MB: ten octets for each question, less than an address; a heap varies by as much
	proxyRouter  = 0xfffffe
	proxyPause   = 200 * time.Millisecond
	scanEvery    = 2 * time.Millisecond
	waitForProxy = time.Minute
	// proxyCalm is how long all candidates have for what new guests bring:
	// Sextant announces them, and keeps them on the disk.
	proxyCalm = 10 * time.Second
)

// proxyCandidate answers for a site's guests on its uplink.
type proxyCandidate struct {
	name    string
	process string
	peer    bool // it does what Sextant does, so that its rate is to be outdone
	start   func(ctx context.Context, b *bench, s *site) error
}

var proxyCandidates = []proxyCandidate{
	{nameSextant, proxyAgent, false, startProxied},
	{ndppdAsks, nameNdppd, true, func(ctx context.Context, _ *bench, s *site) error { return startNdppd(ctx, s, "iface "+siteBridge) }},
	{ndppdAll, nameNdppd, false, func(ctx context.Context, _ *bench, s *site) error { return startNdppd(ctx, s, "static") }},
}

// proxyFigures are one candidate's.
type proxyFigures struct {
	rate, half, most, cpu figures
	repeated              int
	before, full, after   figures // anonymous memory, MB
	growth                figures
}

// runProxy measures answers for guests in the uplink's own prefix.
func runProxy(ctx context.Context, b *bench) (section, error) {
	candidates := proxyCandidates
	if !b.peers {
		candidates = candidates[:1]
	}
	results := map[string]*proxyFigures{}
	for round := range b.rounds {
		for k := range candidates {
			c := candidates[(k+round)%len(candidates)] // who begins takes turns
			if results[c.name] == nil {
				results[c.name] = &proxyFigures{}
			}
			if err := b.measureProxy(ctx, c, results[c.name]); err != nil {
				return section{}, fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	return proxySection(b.flight, candidates, results), nil
}

func proxySection(flight int, candidates []proxyCandidate, results map[string]*proxyFigures) section {
	s := section{
		title: fmt.Sprintf("Neighbour discovery for %d guests in the uplink's prefix", proxyGuests),
		how: fmt.Sprintf("A router on the uplink solicits the addresses of %d guests again and again for %v, %d at a time, each to its"+
			" own group. Sextant knows them as ports of a proxied network; ndppd has a rule `iface`, by which it asks the guests as"+
			" Sextant asks those that it was not told of, and keeps what it heard for half a minute, or `static`, by which it answers"+
			" for every address there is; each was asked for every guest once before. Then the router solicits random addresses of the"+
			" /64, %d a second, for %v and %v more, and each guest once again. The peer is ndppd with `iface`: with `static` it says of"+
			" every address of the /64 that it is here, of those that nobody has and of those of the uplink's other hosts, too; it looks"+
			" nothing up, and nobody who shares a prefix could use it. It is measured beside to show what answering alone costs it. Memory is anonymous and of the process that"+
			" answers; processor time is of all the candidate's processes. The router shares the processors with the"+
			" proxy.", proxyGuests, proxyTime, flight, scanRate, scanFirst, scanTime),
	}
	ours := results[nameSextant]
	ratio := table{head: []string{"", "answers/s, Sextant : it"}}
	speed := table{head: []string{"", "answers/s", "median, ms", "99 of 100 within, ms", "processor for one, µs", "repeated"}}
	memory := table{head: []string{"", "before the scan, MB", fmt.Sprintf("%v into it, MB", scanFirst), fmt.Sprintf("%v later, MB", scanTime), "grown meanwhile, MB"}}
	for _, c := range candidates {
		f := results[c.name]
		speed.rows = append(speed.rows, []string{c.name, f.rate.String(), f.half.String(), f.most.String(), f.cpu.String(), fmt.Sprint(f.repeated)})
		memory.rows = append(memory.rows, []string{c.name, f.before.String(), f.full.String(), f.after.String(), f.growth.String()})
		if c.name == nameSextant {
			continue
		}
		times := ratios(ours.rate, f.rate)
		ratio.rows = append(ratio.rows, []string{c.name, times.String()})
		if !c.peer {
			continue
		}
		s.targets = append(s.targets, fmt.Sprintf("at least %d times the answers of %s: %s, %s", wantProxy, c.name, times, verdict(times.median() >= wantProxy)))
	}
	s.targets = append(s.targets, fmt.Sprintf("%s: no growth while the whole /64 is scanned, within %.0f MB: %s MB, %s",
		proxyAgent, wantGrowth, ours.growth, verdict(ours.growth.median() <= wantGrowth)))
	s.tables = []table{ratio, speed, memory}
	return s
}

// measureProxy measures one candidate once, on a host of its own.
func (b *bench) measureProxy(ctx context.Context, c proxyCandidate, f *proxyFigures) (err error) {
	if err := settle(ctx); err != nil {
		return err
	}
	s, err := b.lab.newSite(ctx, 0, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	// ndppd leaves it to the kernel to find the router's MAC.
	err = command(ctx, "ip", "-n", s.netns, "neigh", "replace", netip.AddrFrom16(guestLink(proxyRouter)).String(), "lladdr", clientMAC(proxyRouter), "dev", "eth0", "nud", "permanent")
	if err != nil {
		return err
	}
	if err := c.start(ctx, b, s); err != nil {
		return err
	}
	if err := s.answersAll(ctx); err != nil {
		return err
	}
	if err := pause(ctx, proxyCalm); err != nil {
		return err
	}
	before, err := s.group.cpu()
	if err != nil {
		return err
	}
	r, err := s.router(b.flight, 1<<20, proxyTime).run(ctx)
	if err != nil {
		return err
	}
	after, err := s.group.cpu()
	if err != nil {
		return err
	}
	cpu := (after - before).Seconds() * 1e6 / float64(r.done)
	f.rate.add(r.rate())
	f.half.add(1e3 * r.wait(.5))
	f.most.add(1e3 * r.wait(.99))
	f.cpu.add(cpu)
	f.repeated += r.repeated
	say("%s: %.0f answers/s, median %.2f ms, p99 %.2f ms, processor %.1f µs each, %d repeated", c.name, r.rate(), 1e3*r.wait(.5), 1e3*r.wait(.99), cpu, r.repeated)
	return s.scanned(ctx, c, f)
}

// router is the load of the router on the uplink.
func (s *site) router(flight, limit int, d time.Duration) *load {
	l := &load{netns: s.guests, device: "wan", talk: &talkND{router: proxyRouter, last: make([]uint32, proxyGuests)}}
	l.flight, l.clients, l.limit, l.time = flight, proxyGuests, limit, d
	return l
}

// answersAll waits until every guest was answered for once.
func (s *site) answersAll(ctx context.Context) error {
	return until(ctx, waitForProxy, proxyPause, "answers for all guests", func(ctx context.Context) error {
		l := s.router(proxyGentle, proxyGuests, waitForProxy)
		l.giveUp = 2 * patience
		_, err := l.run(ctx)
		return err
	})
}

// scanned has the whole prefix scanned, and looks at memory.
func (s *site) scanned(ctx context.Context, c proxyCandidate, f *proxyFigures) error {
	var memory [3]float64
	for i, d := range []time.Duration{0, scanFirst, scanTime} {
		if err := s.scan(ctx, d); err != nil {
			return err
		}
		all, err := s.group.memory()
		if err != nil {
			return err
		}
		found := false
		for _, m := range all {
			if m.process == c.process {
				memory[i], found = megabytes(m.anonymous), true
			}
		}
		if !found {
			return fmt.Errorf("no process %q", c.process)
		}
	}
	say("%s: %.2f MB, %.2f MB after %v of the scan, %.2f MB after %v more", c.name, memory[0], memory[1], scanFirst, memory[2], scanTime)
	f.before.add(memory[0])
	f.full.add(memory[1])
	f.after.add(memory[2])
	f.growth.add(memory[2] - memory[1])
	return s.answersAll(ctx)
}

// scan solicits random addresses of the prefix for a while.
func (s *site) scan(ctx context.Context, d time.Duration) (err error) {
	w, err := openWire(s.guests, "wan", typeIPv6)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	ticker := time.NewTicker(scanEvery)
	defer ticker.Stop()
	r := rand.New(rand.NewPCG(1, 2))
	begun, sent := time.Now(), 0
	for {
		passed := min(time.Since(begun), d)
		for ; sent < int(passed.Seconds()*scanRate); sent++ {
			if err := w.queue(appendQuestionND(w.room(), proxyRouter, anyNear(r))); err != nil {
				return err
			}
		}
		if err := w.flush(); err != nil || passed == d {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// startProxied starts Sextant with a network that shares the uplink's prefix,
// and makes a port for each guest.
func startProxied(ctx context.Context, b *bench, s *site) error {
	x, err := b.newSextant(s.host)
	if err != nil {
		return err
	}
	if err := x.start(ctx); err != nil {
		return err
	}
	wish := &vnet.Network{
		Meta: vnet.Meta{Name: "lan"}, Bridge: siteBridge,
		IPv4: vnet.FamilyPolicy{Mode: vnet.EgressNone}, IPv6: vnet.FamilyPolicy{Mode: vnet.EgressProxied, Address: nearPrefix},
	}
	if _, err := client.Create(ctx, x.api, client.Write{Wait: 30 * time.Second}, wish); err != nil {
		return err
	}
	if err := command(ctx, "ip", "-n", s.netns, "link", "set", sitePlug, "master", siteBridge); err != nil {
		return err
	}
	var next atomic.Int64
	var workers sync.WaitGroup
	errs := make([]error, 8)
	for w := range errs {
		workers.Go(func() {
			for c := int(next.Add(1)) - 1; c < proxyGuests && errs[w] == nil; c = int(next.Add(1)) - 1 {
				port := &vnet.Port{Meta: vnet.Meta{Name: fmt.Sprintf("p%d", c)}, Network: "lan", MAC: guestMAC(c), Addresses: []netip.Addr{nearAddress(c)}}
				_, errs[w] = client.Create(ctx, x.api, client.Write{}, port)
			}
		})
	}
	workers.Wait()
	return errors.Join(errs...)
}

// startNdppd starts ndppd, and a guest behind the bridge that has all the
// addresses.
func startNdppd(ctx context.Context, s *site, rule string) error {
	if err := s.bridge(ctx); err != nil {
		return err
	}
	if err := s.tester(ctx); err != nil {
		return err
	}
	var addresses strings.Builder
	for c := range proxyGuests {
		fmt.Fprintf(&addresses, "addr add %v/128 dev %s nodad\n", nearAddress(c), siteTester)
	}
	if err := commandIn(ctx, addresses.String(), "ip", "-n", s.guests, "-6", "-batch", "-"); err != nil {
		return err
	}
	path := filepath.Join(s.dir, "ndppd.conf")
	config := fmt.Sprintf("proxy eth0 {\n  rule %v {\n    %s\n  }\n}\n", nearPrefix, rule)
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return err
	}
	_, err := s.start(nameNdppd, nameNdppd, "-c", path)
	return err
}
