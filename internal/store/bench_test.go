package store

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// One client writes ports, each durable before the next.
func BenchmarkCommit(b *testing.B) {
	s := startEmbedded(b).Store
	w := newWorld(b, s)
	for i := uint64(1); b.Loop(); i++ {
		p := w.port(fmt.Sprint("p", i), i)
		p.MAC[2], p.MAC[3] = byte(i>>24), byte(i>>16)
		mustCommit(b, s, p)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ports/s")
}

// A host claims leases, a hundred at a time.
func BenchmarkClaim100(b *testing.B) {
	s := startEmbedded(b).Store
	w := newWorld(b, s)
	var n uint64
	now := time.Now()
	for b.Loop() {
		put := make([]vnet.Object, 100)
		for i := range put {
			n++
			put[i] = &vnet.Lease{Meta: vnet.Meta{ID: newID(), Created: now, Updated: now}, Network: w.net.ID, Subnet: w.v6.ID, Host: "h",
				Address: netip.AddrFrom16([16]byte{0: 0xfd, 12: byte(n >> 24), 13: byte(n >> 16), 14: byte(n >> 8), 15: byte(n)})}
		}
		for _, err := range s.Claim(b.Context(), put, nil) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "leases/s")
}

// Renewals of leases that are there.
func BenchmarkRenew100(b *testing.B) {
	s := startEmbedded(b).Store
	w := newWorld(b, s)
	put := make([]vnet.Object, 100)
	for i := range put {
		put[i] = &vnet.Lease{Meta: vnet.Meta{ID: newID()}, Network: w.net.ID, Subnet: w.v6.ID, Host: "h", Address: netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(i)})}
	}
	for b.Loop() {
		for _, err := range s.Claim(b.Context(), put, nil) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(100*float64(b.N)/b.Elapsed().Seconds(), "renewals/s")
}

// An empty directory until the store answers.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		e, err := StartEmbedded(b.Context(), EmbeddedConfig{Dir: shortDir(b)})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		_ = e.Close()
		b.StartTimer()
	}
}
