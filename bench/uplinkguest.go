package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/sextant-net/sextant/lab/topo"
)

// asking is all that guests ask, and where it was seen. Each question is an
// echo request of a number and an identifier that no other has: for the
// translators of addresses on its way a connection of its own.
type asking struct {
	mu       sync.Mutex
	next     uint64
	seen     map[uint64][]sighting
	answered map[uint64]time.Time
	failure  error // of the last question that could not be sent
}

// sighting is a question on the wire of a provider.
type sighting struct {
	provider int
	key      uint64 // guest and family
	source   netip.Addr
	at       time.Time
}

// asker is a guest that asks the internet in both families, all the time.
type asker struct {
	*asking
	guest uint64
	conn  [2]net.PacketConn // IPv4, IPv6
}

const (
	// echoEvery is how often each guest asks in each family.
	echoEvery = 10 * time.Millisecond
	// echoMark begins the questions' data; guest, family and number follow.
	echoMark = 0x73657874616e7421
	echoLen  = 8 + 16
)

// families are the numbers of both, as the kernel says them.
var families = [2]byte{syscall.AF_INET, syscall.AF_INET6}

// guest makes a guest on a network's bridge, with the addresses that its kernel
// and dhclient get.
func (p *provided) guest(ctx context.Context, name, bridge string) (*topo.Node, error) {
	n, err := p.lab.Node(name)
	if err != nil {
		return nil, err
	}
	if err := p.lab.Link(p.host.Node, "p-"+name, n, "eth0"); err != nil {
		return nil, err
	}
	if _, err := p.host.Run(ctx, "ip", "link", "set", "p-"+name, "master", bridge); err != nil {
		return nil, err
	}
	_, err = n.Sh(ctx, "mkdir -p /etc/dhcp; echo 'initial-delay 0;' >>/etc/dhcp/dhclient.conf; dhclient -4 -1 eth0")
	return n, err
}

// asks lets a guest ask until stop is closed.
func (q *asking) asks(n *topo.Node, guest uint64, stop <-chan struct{}) error {
	a := &asker{asking: q, guest: guest}
	err := within(n.Netns, func() (err error) {
		if a.conn[0], err = net.ListenPacket("ip4:icmp", "0.0.0.0"); err != nil {
			return err
		}
		a.conn[1], err = net.ListenPacket("ip6:ipv6-icmp", "::")
		return err
	})
	if err != nil {
		return err
	}
	for family := range a.conn {
		go a.hear(family)
	}
	go a.ask(stop)
	return nil
}

func (a *asker) ask(stop <-chan struct{}) {
	ticker := time.NewTicker(echoEvery)
	defer ticker.Stop()
	to := [2]net.Addr{&net.IPAddr{IP: topo.Server4.AsSlice()}, &net.IPAddr{IP: topo.Server6.AsSlice()}}
	for {
		for family, c := range a.conn {
			// What cannot be sent, for there is no route yet, is a question
			// that nobody sees.
			if _, err := c.WriteTo(a.question(family), to[family]); err != nil {
				a.fail(err)
			}
		}
		select {
		case <-stop:
			for _, c := range a.conn {
				_ = c.Close()
			}
			return
		case <-ticker.C:
		}
	}
}

func (q *asking) fail(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.failure = err
}

// question is the next echo request (RFC 792, RFC 4443 section 4.1). The kernel
// sums up ICMPv6.
func (a *asker) question(family int) []byte {
	a.mu.Lock()
	a.next++
	number := a.next
	a.mu.Unlock()
	m := make([]byte, 8, 8+echoLen)
	m[0] = [2]byte{8, 128}[family]
	binary.BigEndian.PutUint16(m[4:], uint16(number))
	m = binary.BigEndian.AppendUint64(m, echoMark)
	m = binary.BigEndian.AppendUint64(m, a.guest<<8|uint64(family))
	m = binary.BigEndian.AppendUint64(m, number)
	if family == 0 {
		binary.BigEndian.PutUint16(m[2:], ^fold(sumWords(0, m)))
	}
	return m
}

// hear notes answers until the socket is closed.
func (a *asker) hear(family int) {
	room := make([]byte, 1500)
	for {
		n, _, err := a.conn[family].ReadFrom(room)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || n < 8+echoLen || room[0] != [2]byte{0, 129}[family] {
			continue
		}
		if key, number, ok := echoOf(room[8:n]); ok && key == a.guest<<8|uint64(family) {
			a.mu.Lock()
			if a.answered[number].IsZero() {
				a.answered[number] = time.Now()
			}
			a.mu.Unlock()
		}
	}
}

// echoOf finds who asked what in an echo's data.
func echoOf(data []byte) (key, number uint64, ok bool) {
	if len(data) < echoLen || binary.BigEndian.Uint64(data) != echoMark {
		return 0, 0, false
	}
	return binary.BigEndian.Uint64(data[8:]), binary.BigEndian.Uint64(data[16:]), true
}

// watch notes the questions of one family on the link of a provider's router,
// until stop is closed.
func (q *asking) watch(w *wire, provider, family int, stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return w.close()
		default:
		}
		n, err := w.hear()
		if err != nil {
			return errors.Join(err, w.close())
		}
		at := time.Now()
		for i := range n {
			q.note(w.heard(i), provider, family, at)
		}
	}
}

// note keeps a frame if it is a question.
func (q *asking) note(frame []byte, provider, family int, at time.Time) {
	header, protocol, source := ipv4Len, 9, 12
	if family == 1 {
		header, protocol, source = ipv6Len, 6, 8
	}
	icmp := etherLen + header
	if len(frame) < icmp+8+echoLen || frame[etherLen+protocol] != [2]byte{1, 58}[family] || frame[icmp] != [2]byte{8, 128}[family] {
		return
	}
	key, number, ok := echoOf(frame[icmp+8:])
	if !ok {
		return
	}
	from, _ := netip.AddrFromSlice(frame[etherLen+source : etherLen+source+[2]int{4, 16}[family]])
	q.mu.Lock()
	defer q.mu.Unlock()
	q.seen[number] = append(q.seen[number], sighting{provider, key, from, at})
}

// forget begins anew; what is under way is nobody's any more.
func (q *asking) forget() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.seen, q.answered, q.failure = map[uint64][]sighting{}, map[uint64]time.Time{}, nil
}

// first is when the first question of a guest's family left by a provider that
// was answered, and when it was; of those from a prefix only, if that is valid.
func (q *asking) first(guest uint64, family, provider int, since time.Time, from netip.Prefix) (out, answered time.Time, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for number, at := range q.answered {
		for _, s := range q.seen[number] {
			switch {
			case s.key != guest<<8|uint64(family) || s.provider != provider || s.at.Before(since) || from.IsValid() && !from.Contains(s.source):
			case !ok || s.at.Before(out):
				out, answered, ok = s.at, at, true
			}
		}
	}
	return out, answered, ok
}

// unanswered says what was seen of a guest's family, for a report.
func (q *asking) unanswered(guest uint64, family int) string {
	q.mu.Lock()
	defer q.mu.Unlock()
	count := map[string]int{}
	for number, all := range q.seen {
		for _, s := range all {
			if s.key == guest<<8|uint64(family) {
				count[fmt.Sprintf("%s from %v, answered %t", uplinks[s.provider], s.source, !q.answered[number].IsZero())]++
			}
		}
	}
	return fmt.Sprintf("seen %v; not sent: %v", count, q.failure)
}
