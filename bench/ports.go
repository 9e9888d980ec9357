package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sextant-net/sextant/internal/dialect/native/client"
	"github.com/sextant-net/sextant/internal/vnet"
)

// wantPorts is how many ports a second one client is to make, or half of what
// the disk can make durable, whichever is less.
const wantPorts = 500

// runPorts measures how fast one client makes ports.
func runPorts(ctx context.Context, b *bench) (section, error) {
	var rate, disk, cpu figures
	var rounds [][]memory
	for round := range b.rounds {
		p, err := b.measurePorts(ctx)
		if err != nil {
			return section{}, err
		}
		say("round %d: %.0f ports/s, disk %.0f fdatasync/s", round+1, p.rate, p.disk)
		rate.add(p.rate)
		disk.add(p.disk)
		cpu.add(p.cpu.Seconds() * 1e6 / float64(b.ports))
		rounds = append(rounds, p.memory)
	}
	goal := min(wantPorts, disk.median()/2)
	return section{
		title: "Ports made by one client",
		targets: []string{fmt.Sprintf("at least %s ports a second (%d, or half of the disk's %s): %s, %s",
			number(goal), wantPorts, number(disk.median()), rate, verdict(rate.median() >= goal))},
		tables: []table{
			{[]string{"ports/s : fdatasync/s", "ports/s", "fdatasync of 4 kB/s", "processor for a port, µs"},
				[][]string{{ratios(rate, disk).String(), rate.String(), disk.String(), cpu.String()}}},
			{memoryHead(), memoryRows(fmt.Sprintf("sextant, %d ports", b.ports), rounds)},
		},
		how: fmt.Sprintf("One client makes %d ports, each with a MAC and addresses of both families chosen for it, in one running"+
			" network, and sends the next request when the last one is answered; an answer means that the port is on the disk."+
			" The disk's rate is of writes of 4 kB, each with fdatasync, in the same directory, before and after.", b.ports),
	}, nil
}

type portSample struct {
	sample
	rate, disk float64 // per second
}

func (b *bench) measurePorts(ctx context.Context) (p portSample, err error) {
	if err := settle(ctx); err != nil {
		return p, err
	}
	h, err := b.lab.newHost(ctx, 0)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	s, err := b.newSextant(h)
	if err != nil {
		return p, err
	}
	if err := s.start(ctx); err != nil {
		return p, err
	}
	wish := &vnet.Network{
		Meta: vnet.Meta{Name: "ports"},
		IPv4: vnet.FamilyPolicy{Mode: vnet.EgressNAT, Address: netip.MustParsePrefix("10.100.0.1/16")},
		IPv6: vnet.FamilyPolicy{Mode: vnet.EgressNAT66, Address: netip.MustParsePrefix("fd5e:be:c:1::1/64")},
	}
	if _, err := client.Create(ctx, s.api, client.Write{Wait: 30 * time.Second}, wish); err != nil {
		return p, err
	}
	first, err := diskRate(h.dir)
	if err != nil {
		return p, err
	}
	if err := s.makePorts(ctx, b.ports, &p); err != nil {
		return p, err
	}
	second, err := diskRate(h.dir)
	p.disk = (first + second) / 2
	return p, err
}

// makePorts makes ports, one after the other.
func (s *sextant) makePorts(ctx context.Context, ports int, p *portSample) error {
	before, err := s.host.group.cpu()
	if err != nil {
		return err
	}
	begun := time.Now()
	for i := range ports {
		port := &vnet.Port{Meta: vnet.Meta{Name: fmt.Sprintf("p%d", i)}, Network: "ports"}
		if _, err := client.Create(ctx, s.api, client.Write{}, port); err != nil {
			return fmt.Errorf("port %d: %w", i, err)
		}
	}
	p.rate = float64(ports) / time.Since(begun).Seconds()
	after, err := s.host.group.cpu()
	if err != nil {
		return err
	}
	p.cpu = after - before
	p.memory, err = s.host.group.memory()
	return err
}

// diskRate measures for a second how many writes of 4 kB a directory's disk
// makes durable one after the other.
func diskRate(dir string) (float64, error) {
	f, err := os.Create(filepath.Join(dir, "disk"))
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	// Into blocks that are there, as a log that is allocated ahead.
	const size = 8 << 20
	block := make([]byte, 4096)
	for off := int64(0); off < size; off += int64(len(block)) {
		if _, err := f.WriteAt(block, off); err != nil {
			return 0, err
		}
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	begun := time.Now()
	var n int64
	for ; time.Since(begun) < time.Second; n++ {
		if _, err := f.WriteAt(block, n*int64(len(block))%size); err != nil {
			return 0, err
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(begun).Seconds(), nil
}
