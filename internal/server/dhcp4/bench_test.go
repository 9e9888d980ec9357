package dhcp4

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/listen"
)

// clients is how many the benchmarks have: as many as the figures are made with.
const clients = 4096

// asking is what most clients ask for.
var asking = []dhcpv4.Option{prl(optSubnetMask, optRouter, optDNS, optHostname, optDomain, optMTU, optBroadcast, optSearch)}

// step gives the engine a message and carries its claims out.
func step(b *testing.B, e *engine, m []byte) dhcp.Effects {
	out, err := e.Receive(listen.Packet{Data: m, From: netip.IPv4Unspecified()}, start)
	if err == nil && len(out.Claim) == 1 {
		out = e.Committed(out.Claim[0], nil, start)
	}
	if err != nil || len(out.Send) != 1 {
		b.Fatal("no answer", err, out)
	}
	return out
}

// answer is the address of an answer.
func answer(out dhcp.Effects) netip.Addr {
	return addr(out.Send[0].Data[offYiaddr:offSiaddr])
}

// measure runs DISCOVER or REQUEST of one client after the other.
func measure(b *testing.B, e *engine, k dhcpv4.MessageType) {
	discovers, requests := make([][]byte, clients), make([][]byte, clients)
	for i := range clients {
		discovers[i] = msg{kind: discover, mac: mac(i + 1), opts: asking}.bytes()
		a := answer(step(b, e, discovers[i]))
		requests[i] = msg{kind: requestM, mac: mac(i + 1), requested: a.String(), server: "10.0.0.1", opts: asking}.bytes()
		step(b, e, requests[i])
	}
	send := discovers
	if k == requestM {
		send = requests
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		step(b, e, send[i%clients])
	}
}

func BenchmarkPort(b *testing.B) {
	for name, k := range map[string]dhcpv4.MessageType{"discover": discover, "request": requestM} {
		b.Run(name, func(b *testing.B) {
			e := newEngine("host", &desk{})
			e.Set(service(subnet("10.0.0.0/8")))
			for i := range clients {
				e.SetGuest(guest(i+1, netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}).String()))
			}
			measure(b, e, k)
		})
	}
}

func BenchmarkOpenRange(b *testing.B) {
	no := false
	svc := service(subnet("10.0.0.0/8"))
	svc.DHCP.Probe = &no
	for name, k := range map[string]dhcpv4.MessageType{"discover": discover, "request": requestM} {
		b.Run(name, func(b *testing.B) {
			e := newEngine("host", &desk{})
			e.Set(svc)
			measure(b, e, k)
		})
	}
	// Clients that were never seen before: a whole DORA.
	b.Run("new", func(b *testing.B) {
		e := newEngine("host", &desk{})
		e.Set(svc)
		r := msg{kind: requestM, mac: mac(1), requested: "10.0.0.9", server: "10.0.0.1", opts: asking}.bytes()
		d := msg{kind: discover, mac: mac(1), opts: asking}.bytes()
		wish := bytes.Index(r, []byte{optRequested, 4})
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			m := mac(i + 1)
			copy(d[offChaddr:], m[:])
			copy(r[offChaddr:], m[:])
			a := answer(step(b, e, d)).As4()
			copy(r[wish+2:], a[:])
			step(b, e, r)
		}
	})
}
