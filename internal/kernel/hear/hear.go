// Package hear listens to what guests say in neighbour discovery, ARP, MLD and
// DHCP, and knows through which bridge port they said it.
//
// A socket on the bridge sees neither the ingress port nor, with a querier
// about, neighbour discovery at all. So the bridge table's prerouting chain
// logs these packets, after the guard and limited per port, to an NFLOG group,
// and one Listener per namespace reads the group. Parse turns a packet into an
// Event; a Prober asks one guest on its port device if an address is still in
// use. DESIGN.md has the rules that were measured.
package hear

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/florianl/go-nflog/v2"
	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// InNS runs f on a thread inside the network namespace of that name, "" being
// the host's own, and returns f's error. f starts no goroutines.
type InNS func(ns string, f func() error) error

// Heard is one packet of a guest.
type Heard struct {
	Link   int // index of the bridge port it came in by; 0: sent by the host itself
	Bridge int // index of the bridge; 0 where the kernel does not say
	// Out is the index of the bridge port that the packet was kept from leaving
	// by (a router advertisement); 0: it was heard coming in.
	Out int
	// Refused: the rules did not let the packet out, since its source is an
	// address that nobody is known to have. Bridge is then the gateway link that
	// it came in by, and Link may be the same. Nothing else is said in it: see
	// Source.
	Refused bool
	// Gateway is the MAC that a refused packet was sent to.
	Gateway   vnet.MAC
	MAC       vnet.MAC
	EtherType uint16 // of Packet: 0x86dd IPv6, 0x0800 IPv4, 0x0806 ARP
	// Packet starts at the network header and may be cut after snapLen bytes.
	Packet []byte
	Time   time.Time
}

// Ethernet types of what is heard.
const (
	EtherIPv4 = unix.ETH_P_IP
	EtherARP  = unix.ETH_P_ARP
	EtherIPv6 = unix.ETH_P_IPV6
)

const (
	// snapLen is how much of a packet is copied, in bytes: any ND, ARP, MLD
	// or DHCP packet on Ethernet.
	snapLen = 1600
	// threshold is how many packets the kernel gathers before it hands them
	// over. Its own choice is a hundred, or a second, which is too late for
	// decisions within DAD's second.
	threshold = 1
	// queueLen bounds the packets that wait for the reader.
	queueLen = 1024
	// socketBuffer is the kernel's queue, in bytes.
	socketBuffer = 1 << 20
	// reopenAfter is how long to wait before a broken socket is opened anew.
	reopenAfter = time.Second
)

// Listener reads one NFLOG group of one namespace.
type Listener struct {
	inNS  InNS
	ns    string
	group uint16
	log   *slog.Logger

	mu      sync.RWMutex // held for reading while sending to out
	out     chan Heard
	closed  bool
	dropped atomic.Uint64
	end     context.CancelFunc
	work    sync.WaitGroup
}

// Listen joins the NFLOG group in the namespace ("" the host's own). A group
// has one listener per namespace: a second is refused. log may be nil.
func Listen(inNS InNS, ns string, group uint16, log *slog.Logger) (*Listener, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if inNS == nil {
		inNS = func(_ string, f func() error) error { return f() }
	}
	ctx, cancel := context.WithCancel(context.Background())
	l := &Listener{inNS: inNS, ns: ns, group: group, log: log, out: make(chan Heard, queueLen), end: cancel}
	s, err := l.open(ctx)
	if err != nil {
		cancel()
		return nil, vnet.Errorf(vnet.ErrHost, "hear guests through NFLOG group %d: %w", group, err).
			WithHint("the kernel needs nfnetlink_log, and no other program may use the group")
	}
	l.work.Go(func() { l.run(ctx, s) })
	return l, nil
}

// C returns where the packets come out. It is closed by Close.
func (l *Listener) C() <-chan Heard { return l.out }

// Dropped returns how many packets or bursts of packets were lost because the
// reader or this process was too slow. It only grows.
func (l *Listener) Dropped() uint64 { return l.dropped.Load() }

// Close leaves the group and closes C.
func (l *Listener) Close() error {
	l.end()
	l.work.Wait()
	return nil
}

// session is an open socket; failed gets the error that ended it.
type session struct {
	log    *nflog.Nflog
	failed chan error
	end    context.CancelFunc
}

// close ends the session. The library's Close waits for the context first.
func (s *session) close() {
	s.end()
	_ = s.log.Close()
}

// open joins the group.
func (l *Listener) open(ctx context.Context) (*session, error) {
	s := &session{failed: make(chan error, 1)}
	ctx, s.end = context.WithCancel(ctx)
	err := l.inNS(l.ns, func() (err error) {
		s.log, err = nflog.Open(&nflog.Config{Group: l.group, Copymode: nflog.CopyPacket, Bufsize: snapLen, QThresh: threshold})
		return err
	})
	if err != nil {
		s.end()
		return nil, err
	}
	if err := s.log.Con.SetReadBuffer(socketBuffer); err != nil {
		s.close()
		return nil, err
	}
	err = s.log.RegisterWithErrorFunc(ctx, l.take, func(err error) int {
		if errors.Is(err, unix.ENOBUFS) {
			l.dropped.Add(1)
			return 0
		}
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			return 0
		}
		select {
		case s.failed <- err:
		default:
		}
		return 1
	})
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// run keeps a session open until ctx ends.
func (l *Listener) run(ctx context.Context, s *session) {
	defer l.shut()
	for {
		select {
		case <-ctx.Done():
			s.close()
			return
		case err := <-s.failed:
			s.close()
			if ctx.Err() != nil {
				return
			}
			l.log.Warn("hear: socket failed, opening it anew", "ns", l.ns, "group", l.group, "err", err)
		}
		if s = l.reopen(ctx); s == nil {
			return
		}
	}
}

// shut closes out once nobody sends to it.
func (l *Listener) shut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	close(l.out)
}

// reopen tries until a session is open, or ctx ends.
func (l *Listener) reopen(ctx context.Context) *session {
	tick := time.NewTicker(reopenAfter)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		s, err := l.open(ctx)
		if err == nil {
			return s
		}
		l.log.Debug("hear: cannot open", "ns", l.ns, "group", l.group, "err", err)
	}
}

// take hands one packet on, or counts it as dropped if the queue is full.
func (l *Listener) take(a nflog.Attribute) int {
	h, err := heardOf(a)
	if err != nil {
		l.log.Debug("hear: unusable packet", "err", err)
		return 0
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return 1
	}
	select {
	case l.out <- h:
	default:
		l.dropped.Add(1)
	}
	return 0
}

// heardOf reads what the kernel logged. In the bridge family of a kernel with
// CONFIG_BRIDGE_NETFILTER "physical" is the port and the other the bridge;
// without it the port is all there is.
func heardOf(a nflog.Attribute) (Heard, error) {
	h := Heard{Time: time.Now(), Refused: a.Prefix != nil && strings.TrimRight(*a.Prefix, " \x00") == plan.RefusedLog}
	switch {
	case h.Refused: // where it wanted to go does not matter
	case a.PhysOutDev != nil:
		h.Out = index(*a.PhysOutDev)
	case a.OutDev != nil:
		h.Out = index(*a.OutDev)
	}
	switch {
	case a.Payload == nil || a.HwProtocol == nil:
		return h, errors.New("no packet in the message")
	case a.PhysInDev != nil:
		h.Link = index(*a.PhysInDev)
		if a.InDev != nil {
			h.Bridge = index(*a.InDev)
		}
	case a.InDev != nil:
		h.Link = index(*a.InDev)
		if h.Refused {
			h.Bridge = h.Link
		}
	case h.Out == 0:
		return h, errors.New("no link in the message")
	}
	switch {
	case a.HwHeader != nil && len(*a.HwHeader) >= 14:
		copy(h.MAC[:], (*a.HwHeader)[6:12])
		if h.Refused {
			copy(h.Gateway[:], (*a.HwHeader)[:6])
		}
	case a.HwAddr != nil && len(*a.HwAddr) >= 6:
		copy(h.MAC[:], *a.HwAddr)
	case h.Out == 0: // the kernel names no MAC of what the host itself sends
		return h, fmt.Errorf("no source MAC in the message of link %d", h.Link)
	}
	h.EtherType = *a.HwProtocol
	h.Packet = bytes.Clone(*a.Payload)
	return h, nil
}

func index(i uint32) int {
	if i > math.MaxInt32 {
		return 0
	}
	return int(i)
}
