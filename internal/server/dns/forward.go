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
	// plainFor is how long one that answers only questions without options
	// gets none.
	plainFor = 10 * time.Minute
)

var (
	errNoUpstream = errors.New("no upstream resolver")
	errCircle     = errors.New("the question came back to where it was asked")
)

// forwarder asks upstreams, each question once at a time.
type forwarder struct {
	conf Config
	life context.Context // ends with the server
	// isOwn tells addresses of ours: asking them would go round in a circle.
	isOwn func(ns string, a netip.Addr) bool

	mu      sync.Mutex
	shunned map[upstream]time.Time // until when
	plain   map[upstream]time.Time // until when
	flights map[question]*flight
	marks   map[mark]bool       // of the questions under way
	own     map[netip.Addr]bool // the host's own addresses
}

// flight is a question under way; done closes when msg and err are set.
type flight struct {
	by      netip.Addr // who asked first
	servers []upstream
	done    chan struct{}
	msg     *dns.Msg
	err     error
}

func newForwarder(life context.Context, conf Config) *forwarder {
	return &forwarder{
		conf: conf, life: life, isOwn: func(string, netip.Addr) bool { return false },
		shunned: map[upstream]time.Time{}, plain: map[upstream]time.Time{}, flights: map[question]*flight{}, marks: map[mark]bool{},
	}
}

// forgive forgets who failed.
func (f *forwarder) forgive() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.shunned)
	clear(f.plain)
}

// setHost takes the host's own addresses.
func (f *forwarder) setHost(own map[netip.Addr]bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.own = own
}

// order returns the upstreams to try, those that failed of late last.
func (f *forwarder) order(now time.Time, servers []upstream) []upstream {
	f.mu.Lock()
	defer f.mu.Unlock()
	var good, bad []upstream
	for _, s := range servers {
		switch {
		case s.Port() == f.conf.Port && f.isOwn(s.ns, s.Addr()):
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
// by the one that asked. A question with a trail is never shared: two servers
// that wait for each other's would wait for ever.
func (f *forwarder) ask(e *errand, keep func(*dns.Msg)) (*dns.Msg, error) {
	var own mark
	if _, err := rand.Read(own[:]); err != nil {
		return nil, err
	}
	f.mu.Lock()
	if f.circles(e) {
		f.mu.Unlock()
		return nil, errCircle
	}
	if fl := f.flights[e.question]; fl != nil && len(e.trail) == 0 {
		f.mu.Unlock()
		<-fl.done
		return fl.msg, fl.err
	}
	fl := &flight{by: e.client.addr, servers: e.servers, done: make(chan struct{})}
	if len(e.trail) == 0 {
		f.flights[e.question] = fl
	}
	f.marks[own] = true
	f.mu.Unlock()

	ctx, cancel := context.WithTimeout(f.life, totalTimeout)
	fl.msg, fl.err = f.tryAll(ctx, e, own)
	cancel()
	if fl.err == nil {
		keep(fl.msg)
	}
	f.mu.Lock()
	if f.flights[e.question] == fl {
		delete(f.flights, e.question)
	}
	delete(f.marks, own)
	f.mu.Unlock()
	close(fl.done)
	return fl.msg, fl.err
}

// circles reports whether the question comes from one of ours: it has its
// mark, or whoever is being asked the same right now, for somebody else, asks
// it. The latter is for servers between that drop options they do not know, as
// systemd-resolved does. The caller holds mu.
func (f *forwarder) circles(e *errand) bool {
	trail := marks(e.trail)
	if len(trail) >= maxTrail {
		return true
	}
	for _, m := range trail {
		if f.marks[m] {
			return true
		}
	}
	fl, from := f.flights[e.question], e.client.addr
	if fl == nil || fl.by == from {
		return false
	}
	host := f.isHost(from)
	return slices.ContainsFunc(fl.servers, func(s upstream) bool {
		a := s.Addr().WithZone("")
		return a == from || host && s.ns == "" && f.isHost(a)
	})
}

// isHost reports whether the address is the host's own.
func (f *forwarder) isHost(a netip.Addr) bool {
	return a.IsLoopback() || f.own[a] || f.isOwn("", a)
}

// tryAll asks one upstream after the other, twice round. The second time the
// question is bare: there are firewalls that drop options they do not know.
// Where that helps it is remembered.
func (f *forwarder) tryAll(ctx context.Context, e *errand, own mark) (*dns.Msg, error) {
	servers := f.order(f.conf.Now(), e.servers)
	if len(servers) == 0 {
		return nil, errNoUpstream
	}
	bare, marked := e.question.message(), e.question.message()
	withTrail(marked, e.trail, own)
	failed := context.Canceled
	var last *dns.Msg
	slow := map[upstream]bool{}
	for round := range 2 {
		for _, s := range servers {
			if ctx.Err() != nil {
				return last, failed
			}
			m := marked
			if len(e.trail) == 0 && (round > 0 || f.isPlain(s)) {
				m = bare
			}
			a, err := f.try(ctx, s, m)
			if err == nil && !worthAnother(a.Rcode) {
				f.answers(s, slow[s] && m == bare)
				return a, nil
			}
			if err == nil {
				last, failed = a, nil
				continue
			}
			f.fails(s)
			f.conf.Log.Debug("dns: upstream failed", "server", s, "name", e.name, "err", err)
			if last == nil {
				failed = err
			}
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				slow[s] = true
			}
		}
		if last != nil || len(slow) == 0 {
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

// fails notes that the upstream did not answer.
func (f *forwarder) fails(s upstream) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.shunned[s] = f.conf.Now().Add(shun)
}

// answers notes that it did, and whether it did so only without options.
func (f *forwarder) answers(s upstream, plain bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.shunned, s)
	if plain {
		f.plain[s] = f.conf.Now().Add(plainFor)
	}
}

// isPlain reports whether the upstream is to get no options.
func (f *forwarder) isPlain(s upstream) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	until, known := f.plain[s]
	if known && !f.conf.Now().Before(until) {
		delete(f.plain, s)
		known = false
	}
	return known
}

// try asks one upstream: by UDP, by TCP if the answer was truncated, and with
// less if it does not know options or EDNS (RFC 6891 section 7).
func (f *forwarder) try(ctx context.Context, s upstream, q *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	var id [2]byte
	if _, err := rand.Read(id[:]); err != nil {
		return nil, err
	}
	m := *q
	m.Id = binary.BigEndian.Uint16(id[:])
	a, err := f.exchange(ctx, "udp", s, &m)
	for err == nil && (a.Rcode == dns.RcodeFormatError || a.Rcode == dns.RcodeNotImplemented) && lessen(&m, a) {
		a, err = f.exchange(ctx, "udp", s, &m)
	}
	if err == nil && a.Truncated {
		a, err = f.exchange(ctx, "tcp", s, &m)
	}
	return a, err
}

// lessen takes out of a question what the server that answered a may not have
// understood: options if it knows EDNS, else EDNS. It reports whether there was
// something.
func lessen(m, a *dns.Msg) bool {
	opt := m.IsEdns0()
	if opt == nil || a.IsEdns0() != nil && len(opt.Option) == 0 {
		return false
	}
	m.Extra = nil
	if a.IsEdns0() != nil {
		m.SetEdns0(opt.UDPSize(), opt.Do())
	}
	return true
}

// exchange sends one message from a socket, and so a source port, of its own
// and waits for the answer to it.
func (f *forwarder) exchange(ctx context.Context, network string, s upstream, m *dns.Msg) (*dns.Msg, error) {
	out, err := m.Pack()
	if err != nil {
		return nil, err
	}
	var conn net.Conn
	err = f.conf.InNS(s.ns, func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, network, s.AddrPort.String())
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
