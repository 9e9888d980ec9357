package dns

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/sextant-net/sextant/internal/vnet"
)

const (
	// maxStreams, streamsPerNetwork and streamsPerClient bound the TCP
	// connections.
	maxStreams        = 512
	streamsPerNetwork = 64
	streamsPerClient  = 16
	// idle is how long a connection may be quiet (RFC 7766 section 6.2.3).
	idle = 8 * time.Second
	// maxQuery bounds a query, in bytes.
	maxQuery = 4096
)

// stream serves one TCP connection, which it owns.
func (s *Server) stream(from *socket, to *peer, conn net.Conn) {
	c := client{network: from.network, addr: to.addr, local: to.local, tcp: true}
	if !s.streams.add(c, conn) {
		_ = conn.Close()
		return
	}
	s.work.Go(func() {
		defer s.streams.remove(c, conn)
		s.converse(c, conn)
	})
}

// converse answers queries one after the other until the client is done, slow
// or wrong.
func (s *Server) converse(c client, conn net.Conn) {
	buf := make([]byte, 512)
	for {
		if conn.SetDeadline(time.Now().Add(idle)) != nil {
			return
		}
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(size[:]))
		if n < 12 || n > maxQuery {
			return
		}
		if n > len(buf) {
			buf = make([]byte, maxQuery)
		}
		if _, err := io.ReadFull(conn, buf[:n]); err != nil {
			return
		}
		a := s.answerStream(c, buf[:n])
		if a == nil {
			return
		}
		out := append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(a)), uint16(len(a))), a...)
		if _, err := conn.Write(out); err != nil {
			return
		}
	}
}

func (s *Server) answerStream(c client, msg []byte) []byte {
	v := s.decide(c, msg)
	if v.ask == nil {
		return v.answer
	}
	if !s.flying.begin(c) {
		return pack(failure(v.query, dns.RcodeServerFailure), v.query, true)
	}
	defer s.flying.end(c)
	return s.upstream(v, true)
}

// streams are the open TCP connections.
type streams struct {
	mu        sync.Mutex
	conns     map[net.Conn]bool
	byClient  map[netip.Addr]int
	byNetwork map[vnet.ID]int
	closed    bool
}

// add reports whether the client may have one more connection.
func (t *streams) add(c client, conn net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conns == nil {
		t.conns, t.byClient, t.byNetwork = map[net.Conn]bool{}, map[netip.Addr]int{}, map[vnet.ID]int{}
	}
	if t.closed || len(t.conns) >= maxStreams || t.byClient[c.addr] >= streamsPerClient || t.byNetwork[c.network] >= streamsPerNetwork {
		return false
	}
	t.conns[conn] = true
	t.byClient[c.addr]++
	t.byNetwork[c.network]++
	return true
}

func (t *streams) remove(c client, conn net.Conn) {
	_ = conn.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.conns, conn)
	if t.byClient[c.addr]--; t.byClient[c.addr] == 0 {
		delete(t.byClient, c.addr)
	}
	if t.byNetwork[c.network]--; t.byNetwork[c.network] == 0 {
		delete(t.byNetwork, c.network)
	}
}

// close ends every connection, and those that come later.
func (t *streams) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for conn := range t.conns {
		_ = conn.Close()
	}
}
