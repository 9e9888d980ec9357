package dns

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

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
	// pipelined bounds the queries of one connection that wait for an upstream.
	pipelined = 16
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

// converse reads queries until the client is done, slow or wrong. Those that
// wait for an upstream do not hold up the ones behind them, and are answered
// when they are ready (RFC 7766 section 6.2.1.1).
func (s *Server) converse(c client, conn net.Conn) {
	var writing sync.Mutex
	var waiting sync.WaitGroup
	defer waiting.Wait()
	places := make(chan struct{}, pipelined)
	for {
		msg, err := readFrame(conn)
		if err != nil {
			return
		}
		v := s.decide(c, msg)
		if v.ask == nil {
			if v.answer == nil || !writeFrame(conn, &writing, v.answer) {
				return
			}
			continue
		}
		if !s.flying.begin(c) {
			if !writeFrame(conn, &writing, tooMany(v.ask)) {
				return
			}
			continue
		}
		places <- struct{}{}
		waiting.Go(func() {
			defer func() { <-places }()
			defer s.flying.end(c)
			if a := s.upstream(v); a == nil || !writeFrame(conn, &writing, a) {
				_ = conn.Close()
			}
		})
	}
}

// readFrame reads one message, for which the client has idle.
func readFrame(conn net.Conn) ([]byte, error) {
	if err := conn.SetReadDeadline(time.Now().Add(idle)); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(size[:]))
	if n < 12 || n > maxQuery {
		return nil, fmt.Errorf("a message of %d bytes", n)
	}
	msg := make([]byte, n)
	_, err := io.ReadFull(conn, msg)
	return msg, err
}

// writeFrame writes one message and reports whether the client took it.
func writeFrame(conn net.Conn, writing *sync.Mutex, msg []byte) bool {
	writing.Lock()
	defer writing.Unlock()
	if conn.SetWriteDeadline(time.Now().Add(idle)) != nil {
		return false
	}
	_, err := conn.Write(append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(msg)), uint16(len(msg))), msg...))
	return err == nil
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
