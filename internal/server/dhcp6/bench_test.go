package dhcp6

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/sextant-net/sextant/internal/server/listen"
)

// strangers are messages of clients that differ in the last bytes of their
// DUID alone, which number writes.
type strangers struct {
	p  listen.Packet
	at int
}

func newStrangers(m msg) *strangers {
	m.duid = duidUUID(0x7fffffff)
	s := &strangers{p: m.packet()}
	for s.at = range s.p.Data {
		if binary.BigEndian.Uint32(s.p.Data[s.at:]) == 0x7fffffff {
			return s
		}
	}
	panic("no DUID")
}

func (s *strangers) number(n int) listen.Packet {
	binary.BigEndian.PutUint32(s.p.Data[s.at:], uint32(n))
	return s.p
}

// BenchmarkReceive is what one message costs the engine: with ports and
// reservations known beforehand, and from an open range.
func BenchmarkReceive(b *testing.B) {
	const guests = 4000
	port := func(kind dhcpv6.MessageType, rapid, server bool) []listen.Packet {
		var out []listen.Packet
		for i := range guests {
			m := msg{kind: kind, duid: duidLL(mac(i + 1)), seen: mac(i + 1), ias: []string{"1"}, rapid: rapid, server: server, oro: ask(23, 24)}
			out = append(out, m.packet())
		}
		return out
	}
	for _, c := range []struct {
		name          string
		kind          dhcpv6.MessageType
		rapid, server bool
	}{
		{"solicit", dhcpv6.MessageTypeSolicit, false, false}, {"request", dhcpv6.MessageTypeRequest, false, true}, {"rapid", dhcpv6.MessageTypeSolicit, true, false},
	} {
		b.Run("port/"+c.name, func(b *testing.B) {
			f := newFake(b, service())
			for i := range guests {
				f.SetGuest(guest(i+1, fmt.Sprintf("2001:db8:1::1:%x", i+1)))
			}
			packets := port(c.kind, c.rapid, c.server)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				out, err := f.Receive(packets[i%guests], f.now)
				if err != nil || len(out.Send) != 1 || len(out.Claim) != 0 {
					b.Fatal(out, err)
				}
				i++
			}
		})
		b.Run("open/"+c.name, func(b *testing.B) {
			f := newFake(b, service())
			s := newStrangers(msg{kind: c.kind, ias: []string{"1"}, rapid: c.rapid, server: c.server, oro: ask(23, 24)})
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				p := s.number(i % 200_000)
				p.MAC = mac(i % 200_000)
				out, err := f.Receive(p, f.now)
				if err != nil {
					b.Fatal(err)
				}
				for _, x := range out.Claim {
					out = f.Committed(x, nil, f.now)
				}
				if len(out.Send) != 1 {
					b.Fatal("silence")
				}
				i++
			}
		})
	}
}

// BenchmarkRenew prolongs one of many leases.
func BenchmarkRenew(b *testing.B) {
	f := newFake(b, service())
	s := newStrangers(msg{kind: dhcpv6.MessageTypeSolicit, ias: []string{"1"}, rapid: true})
	for i := range 100_000 {
		p := s.number(i)
		p.MAC = mac(i)
		f.send(p)
		f.claims = f.claims[:0]
	}
	s = newStrangers(msg{kind: dhcpv6.MessageTypeRenew, ias: []string{"1"}, server: true})
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if i++; i%100_000 == 0 {
			f.now = f.now.Add(2 * settled)
		}
		p := s.number(i % 100_000)
		p.MAC = mac(i % 100_000)
		out, err := f.Receive(p, f.now)
		for _, x := range out.Claim {
			out = f.Committed(x, nil, f.now)
		}
		if err != nil || len(out.Send) != 1 {
			b.Fatal("not renewed")
		}
	}
}
