package dns

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sextant-net/sextant/internal/vnet"
)

// BenchmarkCompile is what a change of one lease costs in a network with so
// many names.
func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{10, 1000, 10000} {
		z := webZone()
		for i := range n {
			z.Records = append(z.Records, Record{
				Name: fmt.Sprint("guest", i), Port: vnet.ID(fmt.Sprint(i)),
				Address: netip.AddrFrom16([16]byte{0: 0xfd, 13: byte(i >> 16), 14: byte(i >> 8), 15: byte(i)}),
			})
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				compile(z)
			}
		})
	}
}

// BenchmarkCompileRecords is the same with as many records of the operator's as
// there may be, all of one name.
func BenchmarkCompileRecords(b *testing.B) {
	z := webZone()
	for i := range 10000 {
		z.Extra = append(z.Extra, vnet.NameRecord{Name: "many", Type: "A", Value: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String()})
	}
	for b.Loop() {
		compile(z)
	}
}

// BenchmarkHandle is what the engine needs for a query for a guest's name, and
// for one that the cache answers.
func BenchmarkHandle(b *testing.B) {
	e := town()
	e.cache.put(epoch, question{name: "example.com.", qtype: dns.TypeA}, answerTo(b, "example.com.", "example.com. 3600 IN A 192.0.2.1"))
	for _, name := range []string{"vm1.web.internal.", "example.com."} {
		q := new(dns.Msg).SetQuestion(name, dns.TypeA)
		msg, err := q.Pack()
		if err != nil {
			b.Fatal(err)
		}
		c := client{network: "web", addr: netip.MustParseAddr("192.168.150.10")}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			now := epoch
			for b.Loop() {
				now = now.Add(3 * time.Millisecond)
				if now.Sub(epoch) > time.Hour {
					now = epoch
				}
				if v := e.handle(now, c, msg); v.answer == nil {
					e.limit = newLimiter()
					if v.ask != nil {
						b.Fatal("forwarded")
					}
				}
			}
		})
	}
}
