package uplink

import (
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/uplink/pd"
	"github.com/sextant-net/sextant/internal/vnet"
)

// source finds the address to speak from; invalid: there is none yet.
func (l *Links) source(k *link) (from netip.Addr) {
	_ = l.cfg.InNS(func() error {
		from = localAddress(k.Index)
		return nil
	})
	k.waiting, k.from = !from.IsValid(), from
	return from
}

// solicit asks for routers when it is time, and drops those that are not there
// any more.
func (l *Links) solicit(k *link, now pd.Instant) {
	if k.hear == nil {
		return
	}
	if k.solicit.due(now.Boot) {
		if from := l.source(k); from.IsValid() {
			if err := k.hear.send(toRouters(from, k.mac()), multicastMAC(allRouters)); err != nil {
				l.cfg.Log.Debug("router solicitation", "link", k.Name, "err", err)
			}
			k.solicit.sent(now.Boot)
		}
	}
	if k.confirmBy != 0 && now.Boot >= k.confirmBy {
		k.confirmBy = 0
		if l.table.Drop(k.Name, k.upWall) {
			l.tell.Facts = add(l.tell.Facts, k.Name)
		}
	}
}

func (k *link) mac() []byte {
	if k.MAC == (vnet.MAC{}) {
		return nil
	}
	return k.MAC[:]
}

// ask lets the client of a link do what is due.
func (l *Links) ask(k *link, now pd.Instant) {
	if k.Ask && l.releasing(k) { // wished again: nobody need wait for the answer
		k.client, k.started = nil, false
		l.tell.Held = add(l.tell.Held, k.Name)
	}
	switch {
	case k.Ask && k.client == nil && len(l.cfg.DUID) > 0:
		k.client = pd.New(pd.Config{DUID: l.cfg.DUID, IAID: k.identity(), Hint: k.Hint, Trace: func(from, to pd.State, why string) {
			l.cfg.Log.Info("prefix delegation", "link", k.Name, "from", from, "to", to, "why", why)
		}}, k.past)
		k.past, k.started = nil, false
	case !k.Ask:
		l.giveBack(k, now)
		return
	case k.client == nil:
		return
	}
	if k.talk == nil { // what is held ends all the same
		l.did(k, k.client.Tick(now))
		return
	}
	if !k.started {
		// A client that does not ask yet must not keep what is over.
		if !l.source(k).IsValid() {
			l.did(k, k.client.Tick(now))
			return
		}
		k.started = true
		l.did(k, k.client.Start(now))
		return
	}
	// Also while nothing is due: it follows a wall clock that is set.
	l.did(k, k.client.Tick(now))
}

// giveBack releases what is held on a link where none is wished any more.
func (l *Links) giveBack(k *link, now pd.Instant) {
	switch {
	case k.client == nil && k.past == nil:
		return
	case k.client == nil && k.talk == nil && k.Up: // not open yet
		return
	case k.talk != nil && !l.releasing(k) && !l.source(k).IsValid() && k.confirmBy != 0: // nor is there an address yet
		return
	case k.talk == nil || !l.releasing(k) && k.waiting:
		// Nobody can be told: the provider finds out when it runs out.
		k.client, k.past = nil, nil
		l.tell.Held = add(l.tell.Held, k.Name)
		return
	case k.client == nil:
		k.client = pd.New(pd.Config{DUID: l.cfg.DUID, IAID: k.identity()}, k.past)
		k.past = nil
	}
	if !l.releasing(k) {
		l.did(k, k.client.Release(now))
	}
	l.did(k, k.client.Tick(now))
	if k.client.State() == pd.Stopped {
		k.client, k.started = nil, false
		l.tell.Held = add(l.tell.Held, k.Name)
	}
}

func (l *Links) releasing(k *link) bool { return k.client != nil && k.client.State() == pd.Releasing }

// did does what a step of a client wants done.
func (l *Links) did(k *link, s pd.Step) {
	if s.Changed {
		l.tell.Held = add(l.tell.Held, k.Name)
	}
	l.tell.note(k.Name, s.Notes...)
	if len(s.Send) == 0 {
		return
	}
	from := l.source(k)
	if !from.IsValid() || k.talk == nil {
		return // sent again in its time
	}
	l.bindPort()
	for _, b := range s.Send {
		if err := k.talk.send(toServers(from, b), multicastMAC(allServers)); err != nil {
			l.cfg.Log.Debug("DHCPv6", "link", k.Name, "err", err)
		}
	}
}

// bindPort sees to it that somebody has UDP port 546.
func (l *Links) bindPort() {
	if l.port >= 0 {
		return
	}
	err := l.cfg.InNS(func() error {
		fd, held, err := holdPort()
		if held {
			l.port = fd
		}
		return err
	})
	if err != nil { // answers come by packet sockets all the same
		l.cfg.Log.Warn("bind UDP port 546", "err", err)
	}
}

// read hands packets on until the socket is closed. It reads no more than the
// link is allowed: the rest is the kernel's to drop.
func (l *Links) read(k *link, s *packetSocket, heard func(*link, *packetSocket, []byte, received)) {
	b := make([]byte, mostPacket)
	rate := bucket{rate: readRate, burst: readBurst}
	for {
		r, err := s.read(b)
		switch {
		case err == errOther:
			continue
		case err != nil:
			l.broken(k, s, err)
			return
		}
		heard(k, s, b[:r.n], r)
		if now := l.cfg.Clock().Boot; !rate.take(now) {
			l.pause(100 * time.Millisecond)
		}
	}
}

// pause waits, or until Run ends.
func (l *Links) pause(d time.Duration) {
	l.mu.Lock()
	ctx := l.ctx
	l.mu.Unlock()
	if ctx == nil {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// broken opens the sockets again of which one failed: the link went down, or
// is gone.
func (l *Links) broken(k *link, s *packetSocket, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.hear == s || k.talk == s {
		l.cfg.Log.Debug("listening on an uplink", "link", k.Name, "err", err)
		k.down()
		k.tried = l.cfg.Clock().Boot
		l.poke()
	}
}

// heardAdvertisement takes in a router advertisement.
func (l *Links) heardAdvertisement(k *link, s *packetSocket, b []byte, r received) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.hear != s || len(b) < headerSize {
		return
	}
	now := l.now()
	rate := &k.fresh
	if l.table.Knows(k.Name, netip.AddrFrom16([16]byte(b[8:24]))) {
		rate = &k.known
	}
	if !rate.take(now.Boot) {
		return
	}
	p, err := readPacket(b, protoICMPv6, r.unsummed)
	if err != nil {
		return
	}
	news, notes, err := l.table.Hear(k.Name, p.from, p.hopLimit, r.mac, p.payload, now.Wall)
	l.tell.note(k.Name, notes...)
	if err != nil {
		l.cfg.Log.Debug("router advertisement", "link", k.Name, "err", err)
		if len(notes) > 0 {
			l.poke()
		}
		return
	}
	if len(p.payload) >= 8 && (p.payload[6] != 0 || p.payload[7] != 0) { // a default router
		k.solicit.heard()
	}
	if news {
		l.tell.Facts = add(l.tell.Facts, k.Name)
	}
	if news || len(notes) > 0 {
		l.poke()
	}
}

// heardAnswer takes in a DHCPv6 answer.
func (l *Links) heardAnswer(k *link, s *packetSocket, b []byte, r received) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if k.talk != s || k.client == nil || !k.started && k.client.State() != pd.Releasing || !k.answers.take(now.Boot) {
		return
	}
	p, err := readPacket(b, protoUDP, r.unsummed)
	if err != nil || p.to != k.from {
		l.cfg.Log.Debug("DHCPv6", "link", k.Name, "from", p.from, "to", p.to, "err", err)
		return
	}
	step, err := k.client.Receive(p.payload, now)
	if err != nil {
		l.cfg.Log.Debug("DHCPv6", "link", k.Name, "from", p.from, "err", err)
	}
	l.did(k, step)
	l.poke()
}
