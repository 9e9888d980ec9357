package uplink

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/uplink/given"
	"github.com/sextant-net/sextant/internal/uplink/pd"
	"github.com/sextant-net/sextant/internal/uplink/ra"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Link is an uplink as the agent sees it, and what is wished of it. One
// without a name stands for prefixes that hold whichever way out is in use:
// only Given counts.
type Link struct {
	Name string
	// Lower is the link in whose place this one is (a NIC that was put into a
	// bridge): to the provider it is the same, and what is held goes over, there
	// and back.
	Lower string
	Index int
	MAC   vnet.MAC // zero: a link without
	Up    bool     // set up, and with carrier
	// Ask wishes prefix delegation. When it ends, what is held is given back.
	Ask bool
	// Hint is the prefix, or with an unspecified address the length, to ask
	// for; not valid: whatever the provider gives.
	Hint  netip.Prefix
	Given given.Wish // prefixes from elsewhere
}

// Config is what Links are made of. DUID is required where Ask is wished.
type Config struct {
	// DUID is this installation's own, never the host's: a DHCPv6 client of
	// the host on the same link is another client to the provider.
	DUID []byte
	// Held is what was kept of each link before a restart.
	Held map[string]*pd.Held
	// InNS runs a function in the namespace of the uplinks, on a thread of its
	// own; nil: here.
	InNS  func(func() error) error
	Clock Clock        // nil: SystemClock
	Log   *slog.Logger // nil: nobody
}

// Links hears and speaks on the uplinks of a host.
type Links struct {
	cfg  Config
	out  chan Change
	wake chan struct{}

	mu    sync.Mutex
	ctx   context.Context // while Run runs
	group *sync.WaitGroup
	links map[string]*link
	table *ra.Table
	held  map[string]*pd.Held // of links that are not there now
	lower map[string]string   // theirs, of those that had one
	last  pd.Instant          // up to when the clocks were followed
	tell  tellable
	port  int           // the bound UDP port; -1: not bound
	look  time.Duration // when to look next for others who have it
}

// New returns links that hear nothing until Run.
func New(cfg Config) *Links {
	if cfg.InNS == nil {
		cfg.InNS = func(f func() error) error { return f() }
	}
	if cfg.Clock == nil {
		cfg.Clock = SystemClock
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	l := &Links{
		cfg: cfg, out: make(chan Change), wake: make(chan struct{}, 1),
		links: map[string]*link{}, table: ra.New(), held: map[string]*pd.Held{}, lower: map[string]string{}, port: -1,
		tell: tellable{rate: bucket{rate: tellRate, burst: tellBurst}}, last: cfg.Clock(),
	}
	maps.Copy(l.held, cfg.Held)
	return l
}

// Set says which uplinks there are. What was held on one that is gone is kept
// for when it comes back.
func (l *Links) Set(wishes []Link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now()
	there := map[string]bool{}
	for _, w := range wishes {
		there[w.Name] = true
	}
	for _, w := range wishes {
		k := l.links[w.Name]
		if k == nil {
			k = l.newLink(w.Name)
		}
		l.inherit(k, w, there)
		l.change(k, w)
	}
	for name, k := range l.links {
		if !there[name] {
			l.remove(k)
		}
	}
	l.poke()
}

// inherit gives a link what is held on the one whose place it takes, once that
// is gone. Both may be there for a moment, so it need not be a new one.
func (l *Links) inherit(k *link, w Link, there map[string]bool) {
	if k.holding() != nil || l.releasing(k) {
		return
	}
	takes := func(h *pd.Held) {
		k.client, k.started, k.past = nil, false, h // who asked for one asks for this one
	}
	takesPlace := func(name, lower string) bool {
		return !there[name] && name != "" && (name == w.Lower || lower != "" && lower == w.Name)
	}
	for name, other := range l.links {
		if h := other.holding(); h != nil && takesPlace(name, other.Lower) && !l.releasing(other) {
			takes(h)
			k.since = other.since
			other.down()
			other.client, other.past, other.since = nil, nil, map[netip.Prefix]time.Time{}
			l.tell.Held = add(add(l.tell.Held, name), w.Name)
			return
		}
	}
	for name, h := range l.held {
		if takesPlace(name, l.lower[name]) {
			takes(h)
			delete(l.held, name)
			l.tell.Held = add(add(l.tell.Held, name), w.Name)
			return
		}
	}
}

// identity is who the link is to the provider, among those of this host.
func (k *link) identity() uint32 { return identity(cmp.Or(k.Lower, k.Name)) }

// change takes in what is new about a link.
func (l *Links) change(k *link, w Link) {
	was := k.Link
	k.Link = w
	if !reflect.DeepEqual(was.Given, w.Given) {
		k.stopGiven()
		k.given = nil
		if !w.Given.Empty() {
			k.given = given.New(w.Given, l.cfg.Clock, func(notes []string) { l.heardGiven(k, notes) })
			l.startGiven(k)
		}
	}
	if was.Index != w.Index || was.MAC != w.MAC || was.Up && !w.Up {
		k.down()
	}
	if was.Hint != w.Hint && k.client != nil { // asked for from now on
		k.keepHeld()
		k.client = nil
	}
	k.tried = 0
}

// remove forgets a link that is gone.
func (l *Links) remove(k *link) {
	k.down()
	k.stopGiven()
	if h := k.holding(); h != nil {
		l.held[k.Name], l.lower[k.Name] = h, k.Lower
	}
	l.table.Forget(k.Name)
	delete(l.links, k.Name)
	l.tell.Facts = add(l.tell.Facts, k.Name)
}

// Changed tells what happens, while Run runs. What happens while nobody
// receives is gathered into one change.
func (l *Links) Changed() <-chan Change { return l.out }

// Facts returns what is known of a link, with the newest deadlines: those of
// the wall clock as it is now.
func (l *Links) Facts(name string) Facts {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now()
	k := l.links[name]
	if k == nil {
		return Facts{}
	}
	f := Facts{Routers: l.table.Routers(name), Delegations: k.delegations(), Problem: k.problem}
	if k.given != nil {
		var known bool
		f.Lacking, known = k.given.Lacking()
		f.Unread = !known
	}
	return f
}

// Held returns what the provider has delegated on a link, nil for nothing.
func (l *Links) Held(name string) *pd.Held {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now()
	if k := l.links[name]; k != nil {
		return k.holding()
	}
	return l.held[name]
}

// longestSleep is for how long Run may sleep: Go's timers do not count the
// host's sleep, and so much later everything is done at most.
const longestSleep = time.Second

// Run hears and speaks until the context ends, and returns its error. What is
// held stays held: guests go on while the agent is away.
func (l *Links) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	defer group.Wait()
	defer l.stop()
	defer cancel()
	l.mu.Lock()
	l.ctx, l.group = ctx, &group
	for _, k := range l.links {
		l.startGiven(k)
	}
	l.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		l.mu.Lock()
		wait := l.work(l.cfg.Clock())
		ready, later := l.tell.due(l.cfg.Clock().Boot)
		var c Change
		var out chan Change // nil: nobody receives
		if ready {
			c, out = l.tell.take(), l.out
		}
		l.mu.Unlock()
		timer.Reset(min(wait, later, longestSleep))
		received := false
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case out <- c:
			received = true
		case <-l.wake:
		case <-timer.C:
		}
		l.mu.Lock()
		if received {
			l.tell.told()
		} else {
			l.tell.restore(c)
		}
		l.mu.Unlock()
	}
}

// stop closes everything.
func (l *Links) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ctx = nil
	for _, k := range l.links {
		k.down()
	}
	l.leavePort()
}

func (l *Links) leavePort() {
	if l.port >= 0 {
		unix.Close(l.port)
		l.port = -1
	}
}

// poke wakes Run up.
func (l *Links) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// lookForOthers is how often it is looked whether another client has come to
// the port that is held.
const lookForOthers = 2 * time.Second

// work does what is due, and returns in how long it wants to be called again.
func (l *Links) work(now pd.Instant) time.Duration {
	l.follow(now)
	asking := false
	next := now.Boot + longestSleep
	sooner := func(at time.Duration) { next = min(next, at) }
	if l.table.Expire(now.Wall) {
		for name := range l.links {
			l.tell.Facts = add(l.tell.Facts, name)
		}
	}
	if at, ok := l.table.Next(now.Wall); ok {
		sooner(now.Boot + at.Sub(now.Wall))
	}
	for _, k := range slices.SortedFunc(maps.Values(l.links), func(a, b *link) int { return cmp.Compare(a.Name, b.Name) }) {
		if k.Name == "" {
			l.compare(k, now.Wall)
			continue
		}
		l.open(k, now)
		l.solicit(k, now)
		l.ask(k, now)
		l.compare(k, now.Wall)
		asking = asking || k.client != nil
		sooner(k.next(now))
	}
	if !asking {
		l.leavePort()
	}
	if l.port >= 0 && now.Boot >= l.look {
		l.look = now.Boot + lookForOthers
		_ = l.cfg.InNS(func() error {
			if portShared() {
				l.leavePort()
			}
			return nil
		})
	}
	return max(next-now.Boot, time.Millisecond)
}
