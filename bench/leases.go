package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	// leasesEach is how many leases each of the networks gets.
	leasesEach = 100
	// wantAgent and wantControl are MB of anonymous memory.
	wantAgent, wantControl = 120, 250
	// wantSlower is what part of the speed with few leases there must be with
	// many.
	wantSlower = 0.8
	// fewLeases is how many leases there are at first.
	fewLeases = 1000
)

// runLeases measures what many leases cost: memory, and speed.
func runLeases(ctx context.Context, b *bench) (section, error) {
	s, err := b.lab.newSite(ctx, 0, b.large)
	if err != nil {
		return section{}, err
	}
	w := &leaseWork{site: s, bench: b, results: &addressResults{by: map[string]map[string]*addressFigures{}}}
	if err := errors.Join(w.run(ctx), s.close()); err != nil {
		return section{}, err
	}
	const talk = "DHCPv4 in four messages"
	ratio := ratios(w.results.of(talk, "many").rate, w.results.of(talk, "few").rate)
	out := section{
		title:   fmt.Sprintf("%d leases in %d networks", b.large*leasesEach, b.large),
		targets: []string{fmt.Sprintf("no slower than with %d leases, within a fifth: %s of the speed, %s", fewLeases, ratio, verdict(ratio.median() >= wantSlower))},
		tables: []table{
			{[]string{"leases", "exchanges/s", "99 of 100 within, ms", "processor for one, µs"}, w.rows(talk)},
			{memoryHead(), memoryRows("Sextant", [][]memory{w.memory})},
		},
		how: fmt.Sprintf("Guests of all networks take addresses by DHCPv4, %d in each. Before and after, %d times guests that are known on one further"+
			" network ask for theirs for %v, in turn with no leases being given elsewhere. Memory is read %v after the last lease. It ran once.",
			leasesEach, leaseRounds, knownTime, rest),
	}
	for _, want := range []struct {
		process string
		most    float64
	}{{" agent", wantAgent}, {" control", wantControl}} {
		for _, m := range w.memory {
			if strings.HasSuffix(m.process, want.process) {
				out.targets = append(out.targets, fmt.Sprintf("%s: at most %.0f MB anonymous: %s MB, %s", m.process, want.most,
					number(megabytes(m.anonymous)), verdict(megabytes(m.anonymous) <= want.most)))
			}
		}
	}
	return out, nil
}

// leaseRounds is how often the speed is measured with few and with many leases.
const leaseRounds = 3

// leaseWork is the measurement.
type leaseWork struct {
	*bench
	site    *site
	results *addressResults
	memory  []memory
}

func (w *leaseWork) run(ctx context.Context) error {
	w.site.known = fewLeases
	server, err := w.newSiteSextant(w.site)
	if err != nil {
		return err
	}
	if err := server.start(ctx); err != nil {
		return err
	}
	sx := server.(*siteSextant)
	if err := w.site.join(ctx, fewLeases); err != nil {
		return err
	}
	if err := sx.joined(ctx); err != nil {
		return err
	}
	if err := w.speed(ctx, "few"); err != nil {
		return err
	}
	begun := time.Now()
	if err := w.networks(ctx, sx); err != nil {
		return err
	}
	say("%d networks after %v", w.large, time.Since(begun).Round(time.Second))
	if err := w.give(ctx); err != nil {
		return err
	}
	say("%d leases after %v", w.large*leasesEach, time.Since(begun).Round(time.Second))
	if err := pause(ctx, rest); err != nil {
		return err
	}
	if w.memory, err = w.site.group.memory(); err != nil {
		return err
	}
	return w.speed(ctx, "many")
}

// speed measures how fast the known guests are served.
func (w *leaseWork) speed(ctx context.Context, name string) error {
	q := w.addressQuestion(fewLeases, knownTime)
	t := q.talks[len(q.talks)-1]
	if err := w.site.serving(ctx, t.from(q, 0)); err != nil {
		return err
	}
	for range leaseRounds {
		l := w.site.load(t.from(q, 0))
		l.flight, l.clients, l.limit, l.time = w.flight, fewLeases, 1<<19, knownTime
		if err := measureLoad(ctx, w.site, name, t.name, l, w.results); err != nil {
			return err
		}
	}
	return nil
}

// networks makes the other networks and puts a device into each.
func (w *leaseWork) networks(ctx context.Context, sx *siteSextant) error {
	p, err := w.site.newPlugger()
	if err != nil {
		return err
	}
	if err := sx.define(ctx); err != nil {
		return errors.Join(err, p.close())
	}
	return errors.Join(p.plug(ctx, w.site.nets, func(int) {}), p.close())
}

// give has the guests of each network take addresses.
func (w *leaseWork) give(ctx context.Context) error {
	for i := range w.site.nets {
		n := &w.site.nets[i]
		l := &load{netns: w.site.guests, device: n.guest, flight: leasesEach, clients: leasesEach, limit: leasesEach, time: time.Minute, giveUp: time.Minute}
		l.talk = &talk4{first: i * leasesEach, prefix: n.v4.Masked()}
		if _, err := l.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", n.name, err)
		}
		if i%100 == 99 {
			say("leases in %d networks", i+1)
		}
	}
	return nil
}

func (w *leaseWork) rows(talk string) [][]string {
	var rows [][]string
	for _, name := range []string{"few", "many"} {
		f := w.results.of(talk, name)
		leases := fewLeases
		if name == "many" {
			leases += w.large * leasesEach
		}
		rows = append(rows, []string{fmt.Sprint(leases), f.rate.String(), f.most.String(), f.cpu.String()})
	}
	return rows
}
