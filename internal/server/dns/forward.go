package dns

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// tryTimeout is how long one upstream has for one answer, totalTimeout
	// how long all of them: stub resolvers give up after 5 s.
	tryTimeout   = 1500 * time.Millisecond
	totalTimeout = 4500 * time.Millisecond
	// shun is how long an upstream that did not answer is asked last.
	shun = 10 * time.Second
)

var (
	errNoUpstream = errors.New("no upstream resolver")
)

// forwarder asks the upstreams, each question once at a time.
type forwarder struct {
	conf Config
	life context.Context // ends with the server
	// isOwn tells addresses of ours: asking them would go round in a circle.
	isOwn func(netip.Addr) bool

	mu      sync.Mutex
	servers []netip.AddrPort
	shunned map[netip.AddrPort]time.Time
	flights map[question]*flight
}

// flight is a question under way; done closes when msg and err are set.
type flight struct {
	done chan struct{}
	msg  *dns.Msg
	err  error
}

func newForwarder(life context.Context, conf Config) *forwarder {
	return &forwarder{
		conf: conf, life: life, isOwn: func(netip.Addr) bool { return false },
		shunned: map[netip.AddrPort]time.Time{}, flights: map[question]*flight{},
	}
}

// setServers reports whether the upstreams changed.
func (f *forwarder) setServers(servers []netip.AddrPort) bool {
	var list []netip.AddrPort
	for _, s := range servers {
		s = netip.AddrPortFrom(s.Addr().Unmap(), s.Port())
		if s.Port() == 0 {
			s = netip.AddrPortFrom(s.Addr(), port)
		}
		if s.Addr().IsValid() && !s.Addr().IsUnspecified() && !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.Equal(list, f.servers) {
		return false
	}
	f.servers = list
	clear(f.shunned)
	return true
}

// order returns the upstreams to try, those that failed of late last.
func (f *forwarder) order(now time.Time) []netip.AddrPort {
	f.mu.Lock()
	defer f.mu.Unlock()
	var good, bad []netip.AddrPort
	for _, s := range f.servers {
		switch {
		case s.Port() == f.conf.Port && f.isOwn(s.Addr()):
		case now.Before(f.shunned[s]):
			bad = append(bad, s)
		default:
			good = append(good, s)
		}
	}
	return append(good, bad...)
}

// ask returns the upstreams' answer, which the caller must not change. Callers
// that ask the same at the same time share one question; keep is called once,
// by the one that asked.
func (f *forwarder) ask(q question, keep func(*dns.Msg)) (*dns.Msg, error) {
	f.mu.Lock()
	if fl := f.flights[q]; fl != nil {
		f.mu.Unlock()
		<-fl.done
		return fl.msg, fl.err
	}
	fl := &flight{done: make(chan struct{})}
	f.flights[q] = fl
	f.mu.Unlock()

	ctx, cancel := context.WithTimeout(f.life, totalTimeout)
	fl.msg, fl.err = f.tryAll(ctx, q)
	cancel()
	if fl.err == nil {
		keep(fl.msg)
	}
	f.mu.Lock()
	delete(f.flights, q)
	f.mu.Unlock()
	close(fl.done)
	return fl.msg, fl.err
}

// tryAll asks one upstream after the other, twice round.
func (f *forwarder) tryAll(ctx context.Context, q question) (*dns.Msg, error) {
	servers := f.order(f.conf.Now())
	if len(servers) == 0 {
		return nil, errNoUpstream
	}
	failed := context.Canceled
	var last *dns.Msg
	for round := range 2 {
		timeouts := 0
		for _, s := range servers {
			if ctx.Err() != nil {
				return last, failed
			}
			m, err := f.try(ctx, s, q)
			if err == nil && !worthAnother(m.Rcode) {
				f.setShunned(s, false)
				return m, nil
			}
			if err == nil {
				last, failed = m, nil
				continue
			}
			f.setShunned(s, true)
			f.conf.Log.Debug("dns: upstream failed", "server", s, "name", q.name, "err", err)
			if last == nil {
				failed = err
			}
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				timeouts++
			}
		}
		if last != nil || timeouts == 0 || round == 1 {
			break // nobody was merely slow or lost a datagram
		}
	}
	return last, failed
}

// worthAnother reports whether another server may do better.
func worthAnother(rcode int) bool {
	switch rcode {
	case dns.RcodeServerFailure, dns.RcodeRefused, dns.RcodeNotImplemented, dns.RcodeFormatError:
		return true
	}
	return false
}

func (f *forwarder) setShunned(s netip.AddrPort, bad bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if bad {
		f.shunned[s] = f.conf.Now().Add(shun)
	} else {
		delete(f.shunned, s)
	}
}

// try asks one upstream: by UDP, by TCP if the answer was truncated, and
// without EDNS if it does not know that (RFC 6891 section 7).
func (f *forwarder) try(ctx context.Context, s netip.AddrPort, q question) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	var id [2]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, err
	}
	m := q.message(binary.BigEndian.Uint16(id[:]))
	a, err := f.exchange(ctx, "udp", s, m)
	if err == nil && a.Rcode == dns.RcodeFormatError && a.IsEdns0() == nil {
		m.Extra = nil
		a, err = f.exchange(ctx, "udp", s, m)
	}
	if err == nil && a.Truncated {
		a, err = f.exchange(ctx, "tcp", s, m)
	}
	return a, err
}

// exchange sends one message from a socket, and so a source port, of its own
// and waits for the answer to it.
func (f *forwarder) exchange(ctx context.Context, network string, s netip.AddrPort, m *dns.Msg) (*dns.Msg, error) {
	out, err := m.Pack()
	if err != nil {
		return nil, err
	}
	var conn net.Conn
	err = f.conf.InNS("", func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, network, s.String())
		return err
	})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if network == "tcp" {
		out = append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)
	}
	if _, err := conn.Write(out); err != nil {
		return nil, err
	}
	for {
		in, err := receive(conn, network)
		if err != nil {
			return nil, err
		}
		if a, ok := matching(in, m); ok {
			return a, nil
		}
		if network == "tcp" {
			return nil, fmt.Errorf("%s answered something else", s)
		}
	}
}

func receive(conn net.Conn, network string) ([]byte, error) {
	if network != "tcp" {
		b := make([]byte, 4096)
		n, err := conn.Read(b)
		return b[:n], err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(conn, b)
	return b, err
}

// matching parses an answer and reports whether it is the one to m: a guess of
// port and ID must also have the question right.
func matching(in []byte, m *dns.Msg) (*dns.Msg, bool) {
	if len(in) < 12 || binary.BigEndian.Uint16(in) != m.Id || in[2]&0x80 == 0 {
		return nil, false
	}
	a := new(dns.Msg)
	if err := a.Unpack(in); err != nil {
		// A truncated answer may end within a record; it is only asked for
		// again by TCP.
		if !a.Truncated {
			return nil, false
		}
		a.Answer, a.Ns, a.Extra = nil, nil, nil
	}
	if len(a.Question) == 0 && a.Rcode != dns.RcodeSuccess && a.Rcode != dns.RcodeNameError {
		return a, true // some refuse with the header alone
	}
	if len(a.Question) != 1 {
		return nil, false
	}
	got, want := a.Question[0], m.Question[0]
	return a, strings.EqualFold(got.Name, want.Name) && got.Qtype == want.Qtype && got.Qclass == want.Qclass
}
