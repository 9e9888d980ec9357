package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/sextant-net/sextant/internal/dialect/native/client"
	"github.com/sextant-net/sextant/internal/vnet"
)

// wantRestart is how long a restart may take until everything is reconciled.
const wantRestart = 5 * time.Second

// restartLimit bounds each step of one.
const restartLimit = 2 * time.Minute

// restartSamples are the steps of restarts, in seconds from the start, and the
// memory afterwards.
type restartSamples struct {
	ready, mended, served, all, cpu figures
	memory                          [][]memory
}

// runRestart measures how long a host is without its servers.
func runRestart(ctx context.Context, b *bench) (section, error) {
	var r restartSamples
	for round := range b.rounds {
		if err := b.measureRestart(ctx, &r); err != nil {
			return section{}, err
		}
		say("round %d: ready %.3f s, mended %.3f s, guests %.3f s, all %.3f s, processor %.3f s", round+1,
			r.ready[round], r.mended[round], r.served[round], r.all[round], r.cpu[round])
	}
	return section{
		title: fmt.Sprintf("Restart with %d networks and %d ports", b.large, b.ports),
		targets: []string{fmt.Sprintf("reconciled in at most %v: %s s, %s", wantRestart, r.all,
			verdict(r.all.median() <= wantRestart.Seconds()))},
		tables: []table{
			{[]string{"all of it, s", "`sextant status` says ready, s", "the missing address is back, s", "all guests are answered, s", "processor, s"},
				[][]string{{r.all.String(), r.ready.String(), r.mended.String(), r.served.String(), r.cpu.String()}}},
			{memoryHead(), memoryRows("sextant", r.memory)},
		},
		how: "One port of each network belongs to a guest that is plugged in, the others to taps. All processes are killed" +
			" (SIGKILL), a gateway address is taken away, and `sextant serve` is started again. It ends when `sextant status` says" +
			" ready, the address is back, every network's status is running, and on every network router advertisements and both" +
			" gateways' DNS answer the guest.",
	}, nil
}

func (b *bench) measureRestart(ctx context.Context, r *restartSamples) (err error) {
	if err := settle(ctx); err != nil {
		return err
	}
	h, err := b.lab.newHost(ctx, b.large)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	s, err := b.newSextant(h)
	if err != nil {
		return err
	}
	j, err := h.newJudge()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.close()) }()
	if err := s.populate(ctx, b.ports, j); err != nil {
		return fmt.Errorf("before the restart: %w", err)
	}
	if err := settle(ctx); err != nil {
		return err
	}
	if err := h.group.kill(); err != nil {
		return err
	}
	<-s.proc.done
	victim := &h.nets[len(h.nets)/2]
	if err := command(ctx, "ip", "netns", "exec", h.netns, "ip", "addr", "del", victim.v6.String(), "dev", victim.bridge); err != nil {
		return err
	}
	j.reset(true)
	return s.again(ctx, j, victim, r)
}

// again starts the program on what it left, and waits until all is well.
func (s *sextant) again(ctx context.Context, j *judge, victim *network, r *restartSamples) error {
	before, err := s.host.group.cpu()
	if err != nil {
		return err
	}
	begun := time.Now()
	if err := s.launch(); err != nil {
		return err
	}
	steps := make(chan error, 3)
	follow := func(into *figures, what string, f func(context.Context) error) {
		err := until(ctx, restartLimit, 25*time.Millisecond, what, func(ctx context.Context) error {
			return errors.Join(s.proc.alive(), f(ctx))
		})
		into.addTime(time.Since(begun))
		steps <- err
	}
	go follow(&r.ready, "sextant status", s.status)
	go follow(&r.mended, "the address", func(context.Context) error { return s.host.has(victim.bridge, victim.v6) })
	go func() {
		err := j.wait(ctx, restartLimit)
		r.served.addTime(time.Since(begun))
		say("%s", j.progress(begun))
		steps <- err
	}()
	if err := errors.Join(<-steps, <-steps, <-steps); err != nil {
		return err
	}
	if err := until(ctx, restartLimit, 25*time.Millisecond, "all running", s.running); err != nil {
		return err
	}
	r.all.addTime(time.Since(begun))
	after, err := s.host.group.cpu()
	if err != nil {
		return err
	}
	r.cpu.addTime(after - before)
	m, err := s.host.group.memory()
	r.memory = append(r.memory, m)
	return err
}

// has returns an error unless a device of the host has the address.
func (h *host) has(device string, address netip.Prefix) error {
	return within(h.netns, func() error {
		d, err := net.InterfaceByName(device)
		if err != nil {
			return err
		}
		all, err := d.Addrs()
		if err != nil {
			return err
		}
		for _, a := range all {
			if a.String() == address.String() {
				return nil
			}
		}
		return fmt.Errorf("%s has no %v", device, address)
	})
}

// populate makes the networks and ports and waits until all of it runs.
func (s *sextant) populate(ctx context.Context, ports int, j *judge) error {
	if err := s.start(ctx); err != nil {
		return err
	}
	begun := time.Now()
	if err := s.define(ctx); err != nil {
		return err
	}
	say("%d networks defined after %.1f s", len(s.host.nets), time.Since(begun).Seconds())
	for i := range ports {
		if err := s.makePort(ctx, i); err != nil {
			return err
		}
	}
	say("%d ports made after %.1f s", ports, time.Since(begun).Seconds())
	p, err := s.host.newPlugger()
	if err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, serveLimit(len(s.host.nets)))
	defer cancel()
	if err := errors.Join(p.plug(limit, s.host.nets, j.plugged), p.close()); err != nil {
		return fmt.Errorf("bridges: %w", err)
	}
	if err := j.wait(ctx, serveLimit(len(s.host.nets))); err != nil {
		return err
	}
	if err := until(ctx, time.Minute, 200*time.Millisecond, "all running", s.running); err != nil {
		return err
	}
	want := ports - len(s.host.nets)
	err = until(ctx, restartLimit, 500*time.Millisecond, "all taps", func(context.Context) error { return s.host.hasTaps(want) })
	say("all served after %.1f s", time.Since(begun).Seconds())
	return err
}

// makePort makes the i-th port: each network's first is its guest's, whose
// device is adopted by its MAC, the others are taps.
func (s *sextant) makePort(ctx context.Context, i int) error {
	n := &s.host.nets[i%len(s.host.nets)]
	w := client.Write{Scope: client.Scope{Network: n.name}}
	port := &vnet.Port{Meta: vnet.Meta{Name: fmt.Sprintf("p%d", i)}, Network: vnet.ID(n.name)}
	var err error
	if i < len(s.host.nets) {
		port.MAC, port.Addresses = n.mac, []netip.Addr{n.guest4().Addr(), n.guest6().Addr()}
		_, err = client.Create(ctx, s.api, w, port)
	} else {
		_, err = s.api.Plug(ctx, w, port.Name, port, vnet.Binding{Plug: vnet.PlugTap, Device: tapName(i)})
	}
	if err != nil {
		return fmt.Errorf("port %s: %w", port.Name, err)
	}
	return nil
}

// tapName is the device of the i-th port.
func tapName(i int) string { return fmt.Sprintf("%s%d", tapStem, i) }

const tapStem = "btap"

// hasTaps returns an error unless the host has so many taps of ours.
func (h *host) hasTaps(want int) error {
	return within(h.netns, func() error {
		all, err := net.Interfaces()
		if err != nil {
			return err
		}
		have := 0
		for _, d := range all {
			if strings.HasPrefix(d.Name, tapStem) {
				have++
			}
		}
		if have < want {
			return fmt.Errorf("%d of %d", have, want)
		}
		return nil
	})
}
