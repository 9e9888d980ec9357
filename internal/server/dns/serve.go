package dns

import (
	"net/netip"
	"sync"

	"github.com/miekg/dns"

	"github.com/sextant-net/sextant/internal/vnet"
)

// packet serves one datagram. It runs on the poller's goroutine and does not
// block; msg is only valid during the call.
func (s *Server) packet(from *socket, to *peer, msg []byte) {
	c := client{network: from.network, addr: to.addr, local: to.local}
	v := s.decide(c, msg)
	if v.ask == nil {
		from.send(v.answer, to)
		return
	}
	if !s.flying.begin(c) {
		from.send(tooMany(v.ask), to)
		return
	}
	s.work.Go(func() {
		defer s.flying.end(c)
		from.send(s.upstream(v), to)
	})
}

// decide asks the engine.
func (s *Server) decide(c client, msg []byte) verdict {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.engine.handle(s.conf.Now(), c, msg)
}

// upstream runs errands until the engine has the answer.
func (s *Server) upstream(v verdict) []byte {
	for v.ask != nil {
		m, err := s.forward.ask(v.ask, func(m *dns.Msg) { s.engine.cache.put(s.conf.Now(), v.ask.question, m) })
		if err != nil {
			s.conf.Log.Debug("dns: no answer", "name", v.ask.name, "err", err)
		}
		s.mu.RLock()
		v = s.engine.resume(s.conf.Now(), v.ask.inquiry, m)
		s.mu.RUnlock()
	}
	return v.answer
}

// tooMany answers a client that has enough questions under way.
func tooMany(e *errand) []byte {
	q := e.inquiry.query
	return pack(failure(q, dns.RcodeServerFailure), q, e.client.tcp)
}

// flying counts the questions that wait for an upstream.
type flying struct {
	mu        sync.Mutex
	all       int
	byClient  map[netip.Addr]int
	byNetwork map[vnet.ID]int
}

// begin reports whether the client may have one more under way.
func (f *flying) begin(c client) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byClient == nil {
		f.byClient, f.byNetwork = map[netip.Addr]int{}, map[vnet.ID]int{}
	}
	if f.all >= flights || f.byClient[c.addr] >= flightsPerClient || f.byNetwork[c.network] >= flightsPerNetwork {
		return false
	}
	f.all++
	f.byClient[c.addr]++
	f.byNetwork[c.network]++
	return true
}

func (f *flying) end(c client) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all--
	if f.byClient[c.addr]--; f.byClient[c.addr] == 0 {
		delete(f.byClient, c.addr)
	}
	if f.byNetwork[c.network]--; f.byNetwork[c.network] == 0 {
		delete(f.byNetwork, c.network)
	}
}
