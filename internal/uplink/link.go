package uplink

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/uplink/given"
	"github.com/sextant-net/sextant/internal/uplink/pd"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Rates of what one link may make us read, in packets a second.
const (
	// readRate bounds how many packets are looked at: beyond it the kernel
	// drops them, which costs next to nothing.
	readRate, readBurst = 1000, 200
	// parseRate bounds how many are taken apart. Routers that are known and
	// those that are not do not take it from each other.
	parseRate, parseBurst = 20, 50
)

// retry is how often what could not be opened is tried again.
const retry = time.Second

// link is one uplink.
type link struct {
	Link
	hear    *packetSocket // for advertisements; nil: not open
	talk    *packetSocket // for DHCPv6
	tried   time.Duration // when opening failed last
	problem string

	solicit      solicitor
	upWall       time.Time     // when it came up, or was to be confirmed
	confirmBy    time.Duration // when routers that were not heard since are dropped; 0: done
	known, fresh bucket        // advertisements of routers that are known, and that are not
	answers      bucket

	client  *pd.Client
	started bool
	waiting bool // for a link-local address, to send from
	from    netip.Addr
	past    *pd.Held // held while there is no client
	since   map[netip.Prefix]time.Time

	given     *given.Source
	stopGiven func()
	gist      string // of what is told
}

func (l *Links) newLink(name string) *link {
	b := bucket{rate: parseRate, burst: parseBurst}
	k := &link{known: b, fresh: b, answers: b, since: map[netip.Prefix]time.Time{}, stopGiven: func() {}}
	k.Name, k.past = name, l.held[name]
	delete(l.held, name)
	l.links[name] = k
	return k
}

// startGiven lets the prefixes from elsewhere come, if Run runs.
func (l *Links) startGiven(k *link) {
	if l.ctx == nil || k.given == nil {
		return
	}
	ctx, cancel := context.WithCancel(l.ctx)
	k.stopGiven = cancel
	source := k.given
	l.group.Go(func() { source.Run(ctx) })
}

// heardGiven is told by the source of a link.
func (l *Links) heardGiven(k *link, notes []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.links[k.Name] == k {
		l.tell.note(k.Name, notes...)
		l.poke()
	}
}

// down falls silent: the link has no carrier, or is another one.
func (k *link) down() {
	for _, s := range []*packetSocket{k.hear, k.talk} {
		if s != nil {
			s.close()
		}
	}
	k.hear, k.talk, k.solicit, k.confirmBy = nil, nil, solicitor{}, 0
	if k.client != nil {
		k.client.Stop()
		k.started = false
	}
}

// confirm asks whether what was heard and what is held is still so.
func (k *link) confirm(now pd.Instant) {
	k.solicit.begin(now.Boot)
	k.upWall, k.confirmBy = now.Wall, now.Boot+confirmWithin
	k.started = false
	if k.given != nil {
		k.given.Kick()
	}
}

// holding is what the provider has delegated, nil for nothing.
func (k *link) holding() *pd.Held {
	if k.client != nil {
		return k.client.Held()
	}
	return k.past
}

func (k *link) keepHeld() {
	k.past = k.client.Held()
	k.started = false
}

// open opens the sockets of a link that came up.
func (l *Links) open(k *link, now pd.Instant) {
	if !k.Up || k.Index == 0 || l.ctx == nil || k.hear != nil || k.tried != 0 && now.Boot < k.tried+retry {
		return
	}
	k.tried = now.Boot
	var hear, talk *packetSocket
	err := l.cfg.InNS(func() (err error) {
		if hear, err = openPacket(k.Index, advertisements()); err != nil {
			return err
		}
		if talk, err = openPacket(k.Index, answers()); err != nil {
			hear.close()
		}
		return err
	})
	problem := ""
	switch {
	case errors.Is(err, unix.ENODEV):
		// The link is gone, and whoever says which there are has yet to notice.
		l.cfg.Log.Debug("listening on an uplink", "link", k.Name, "err", err)
	case err != nil:
		problem = fmt.Sprintf("cannot listen on %s: %v", k.Name, err)
	}
	if problem != k.problem {
		k.problem = problem
		l.tell.Facts = add(l.tell.Facts, k.Name)
		if problem != "" {
			l.tell.note(k.Name, problem)
		}
	}
	if err != nil {
		return
	}
	k.hear, k.talk = hear, talk
	k.confirm(now)
	l.group.Go(func() { l.read(k, hear, l.heardAdvertisement) })
	l.group.Go(func() { l.read(k, talk, l.heardAnswer) })
}

// delegations is what guests may have prefixes from.
func (k *link) delegations() []vnet.Delegation {
	var out []vnet.Delegation
	if h := k.holding(); h != nil && (k.client == nil || k.client.State() != pd.Releasing) {
		for _, p := range h.Prefixes {
			out = append(out, vnet.Delegation{
				Prefix: p.Prefix, Exclude: p.Exclude, From: "DHCPv6 on " + k.Name,
				Since: k.since[p.Prefix], PreferredUntil: p.Preferred, ValidUntil: p.Valid,
			})
		}
	}
	if k.given != nil {
		out = append(out, k.given.Delegations()...)
	}
	return out
}

// compare finds out whether the delegations are other ones than those that
// were told of: refreshed lifetimes are no news.
func (l *Links) compare(k *link, now time.Time) {
	if h := k.holding(); h != nil {
		for p := range k.since {
			if !slices.ContainsFunc(h.Prefixes, func(q pd.Prefix) bool { return q.Prefix == p }) {
				delete(k.since, p)
			}
		}
		for _, p := range h.Prefixes {
			if k.since[p.Prefix].IsZero() {
				k.since[p.Prefix] = now
			}
		}
	} else {
		clear(k.since)
	}
	gist := ""
	for _, d := range k.delegations() {
		old := !d.PreferredUntil.IsZero() && !now.Before(d.PreferredUntil)
		gist += fmt.Sprintln(d.Prefix, d.Exclude, d.From, old)
	}
	if k.given != nil {
		what, known := k.given.Lacking()
		gist += fmt.Sprintln(what, known)
	}
	if gist != k.gist {
		k.gist = gist
		l.tell.Facts = add(l.tell.Facts, k.Name)
	}
}

// next is when there is something to do on the link.
func (k *link) next(now pd.Instant) time.Duration {
	at := now.Boot + longestSleep
	if k.waiting && k.confirmBy != 0 { // it usually comes within the second that DAD takes
		at = now.Boot + 100*time.Millisecond
	}
	if k.hear == nil {
		return at
	}
	if k.solicit.asking && !k.waiting {
		at = min(at, k.solicit.next)
	}
	if k.confirmBy != 0 {
		at = min(at, k.confirmBy)
	}
	if k.client != nil && k.started {
		if t, ok := k.client.Deadline(now); ok {
			at = min(at, t)
		}
	}
	return at
}
