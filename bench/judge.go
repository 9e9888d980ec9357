package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/ipv6"
)

// judge asks from the guests' side, and says when everything answers: a router
// solicitation on every network must bring a router advertisement with the
// network's prefix (RFC 4861 section 6.3.7), and a query to each of its two
// gateway addresses an answer for the network's own domain.
type judge struct {
	icmp     *ipv6.PacketConn
	udp      [2][queryPorts]*net.UDPConn // for each family
	targets  []*target
	index    map[int]*target // by device
	gateways map[netip.Addr]*target

	mu      sync.Mutex
	missing int           // of three for each network
	last    [3]time.Time  // answers
	served  chan struct{} // closed when nothing is missing
}

// target is a network and what has answered there.
type target struct {
	network
	device  int
	plugged bool
	asked   int
	sent    [3]time.Time
	got     [3]bool
}

// The three questions.
const (
	askRouter = iota
	ask4
	ask6
)

const (
	// askEvery is how often a guest repeats an unanswered question.
	askEvery = 100 * time.Millisecond
	// queryPorts is from how many ports a guest asks in turn, as a resolver
	// does. One port would not do: the kernel ties what it did with the first
	// packet, before the network was complete, to all that follow.
	queryPorts = 16
	// askTick and askBurst limit the load of all questions together.
	askTick  = 5 * time.Millisecond
	askBurst = 15
)

func (h *host) newJudge() (_ *judge, err error) {
	j := &judge{index: map[int]*target{}, gateways: map[netip.Addr]*target{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.close())
		}
	}()
	if err := within(h.guests, func() error { return j.open(h.nets) }); err != nil {
		return nil, err
	}
	var only ipv6.ICMPFilter
	only.SetAll(true)
	only.Accept(ipv6.ICMPTypeRouterAdvertisement)
	err = errors.Join(
		j.icmp.SetICMPFilter(&only), j.icmp.SetControlMessage(ipv6.FlagInterface|ipv6.FlagHopLimit, true),
		j.icmp.SetMulticastHopLimit(255))
	if err != nil {
		return nil, err
	}
	j.reset(false)
	go j.hearRouters()
	for family, ports := range j.udp {
		for _, c := range ports {
			go j.hearNames(c, ask4+family)
		}
	}
	return j, nil
}

// open opens the sockets; it runs inside the guests' namespace.
func (j *judge) open(nets []network) error {
	conn, err := net.ListenPacket("ip6:ipv6-icmp", "::")
	if err != nil {
		return err
	}
	j.icmp = ipv6.NewPacketConn(conn)
	for family, kind := range []string{"udp4", "udp6"} {
		for i := range queryPorts {
			if j.udp[family][i], err = net.ListenUDP(kind, nil); err != nil {
				return err
			}
		}
	}
	devices, err := net.Interfaces()
	if err != nil {
		return err
	}
	byName := make(map[string]int, len(devices))
	for _, d := range devices {
		byName[d.Name] = d.Index
	}
	for _, n := range nets {
		t := &target{network: n, device: byName[n.guest]}
		j.targets = append(j.targets, t)
		j.index[t.device] = t
		j.gateways[n.v4.Addr()], j.gateways[n.v6.Addr()] = t, t
	}
	return nil
}

func (j *judge) close() error {
	var errs []error
	if j.icmp != nil {
		errs = append(errs, j.icmp.Close())
	}
	for _, c := range slices.Concat(j.udp[0][:], j.udp[1][:]) {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// reset forgets all answers.
func (j *judge) reset(plugged bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, t := range j.targets {
		t.got, t.sent, t.plugged = [3]bool{}, [3]time.Time{}, plugged
	}
	j.missing, j.served = 3*len(j.targets), make(chan struct{})
}

// plugged says that a guest is in its network and begins to ask.
func (j *judge) plugged(i int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.targets[i].plugged = true
}

// wait asks until everything has answered.
func (j *judge) wait(ctx context.Context, limit time.Duration) error {
	deadline := time.After(limit)
	ticker := time.NewTicker(askTick)
	defer ticker.Stop()
	var next int
	for {
		select {
		case <-j.served:
			return nil
		case <-deadline:
			return fmt.Errorf("not within %v: %s", limit, j.complaint())
		case <-ctx.Done():
			say("interrupted: %s", j.complaint())
			return ctx.Err()
		case now := <-ticker.C:
			next = j.ask(now, next)
		}
	}
}

// ask sends what is due, beginning at question number next.
func (j *judge) ask(now time.Time, next int) int {
	type question struct {
		t          *target
		what, port int
	}
	var due []question
	j.mu.Lock()
	all := 3 * len(j.targets)
	for k := 0; k < all && len(due) < askBurst; k++ {
		t, what := j.targets[next/3], next%3
		next = (next + 1) % all
		if t.plugged && !t.got[what] && now.Sub(t.sent[what]) >= askEvery {
			t.sent[what] = now
			t.asked++
			due = append(due, question{t, what, t.asked % queryPorts})
		}
	}
	j.mu.Unlock()
	for _, q := range due {
		// What gets lost is asked again.
		_ = j.send(q.t, q.what, q.port)
	}
	return next
}

func (j *judge) note(t *target, what int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if t.got[what] || !t.plugged {
		return
	}
	t.got[what] = true
	j.last[what] = time.Now()
	if j.missing--; j.missing == 0 {
		close(j.served)
	}
}

// progress says how long after begun the last answer of each kind came.
func (j *judge) progress(begun time.Time) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return fmt.Sprintf("router advertisements %.3f s, DNS over IPv4 %.3f s, over IPv6 %.3f s",
		j.last[askRouter].Sub(begun).Seconds(), j.last[ask4].Sub(begun).Seconds(), j.last[ask6].Sub(begun).Seconds())
}

// complaint says what has not answered.
func (j *judge) complaint() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var count [3]int
	unplugged, first := 0, ""
	for _, t := range j.targets {
		if !t.plugged {
			unplugged++
		}
		for what, got := range t.got {
			if !got {
				count[what]++
				if first == "" {
					first = t.name
				}
			}
		}
	}
	var parts []string
	for what, n := range count {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("no %s on %d", [3]string{"router advertisement", "DNS over IPv4", "DNS over IPv6"}[what], n))
		}
	}
	return fmt.Sprintf("of %d networks %d have no bridge; %s; the first is %s",
		len(j.targets), unplugged, strings.Join(parts, ", "), first)
}
