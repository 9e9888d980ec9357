package control

import (
	"fmt"
	"testing"

	"github.com/sextant-net/sextant/internal/vnet"
)

// One client creates ports, each durable before the next.
func BenchmarkPortCreate(b *testing.B) {
	r := newRig(b)
	n := r.network(fixed4("web", "10.0.0.1/8"))
	for i := 0; b.Loop(); i++ {
		r.port(portOn(n, fmt.Sprint("p", i)))
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ports/s")
}

// One client creates started dual-stack networks, on a store that holds more
// and more of them.
func BenchmarkNetworkCreate(b *testing.B) {
	r := newRig(b)
	for i := 0; b.Loop(); i++ {
		r.network(&vnet.Network{Meta: vnet.Meta{Name: fmt.Sprint("n", i)}})
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "networks/s")
}

func BenchmarkNetworkList1000(b *testing.B) {
	r := newRig(b)
	for i := range 1000 {
		r.network(&vnet.Network{Meta: vnet.Meta{Name: fmt.Sprint("n", i)}})
	}
	for b.Loop() {
		if p, err := r.List(b.Context(), admin, Query{Kind: vnet.KindNetwork}); err != nil || len(p.Items) != 1000 {
			b.Fatal(err)
		}
	}
}
