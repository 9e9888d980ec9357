package given

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/uplink/pd"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Wish says where prefixes come from. Several may be given; all count.
type Wish struct {
	Prefixes []netip.Prefix // by hand
	File     string         // absolute path
	// Command is a program and its arguments; no shell is involved.
	Command []string
	// Every is how often the command runs; 0: DefaultEvery. Timeout is how
	// long it may take; 0: DefaultTimeout.
	Every, Timeout time.Duration
}

// Defaults of a Wish.
const (
	DefaultEvery   = 5 * time.Minute
	DefaultTimeout = 10 * time.Second
	// pollFile is how often a file is looked at. What was written less than
	// one look ago may be half of it.
	pollFile = time.Second
)

// Empty reports whether nothing is wished.
func (w *Wish) Empty() bool { return len(w.Prefixes) == 0 && w.File == "" && len(w.Command) == 0 }

// Source takes the prefixes of one Wish. It is safe for concurrent use.
type Source struct {
	wish  Wish
	clock func() pd.Instant
	news  func(notes []string)
	kick  chan struct{}

	mu    sync.Mutex
	hand  []taken
	file  []taken
	print []taken
	ahead time.Duration     // the wall clock, since boot
	said  map[string]string // what was last said about each, so as to say it once
	// empty are those that were read and gave no prefix; unread is how many
	// have not been read since the source began.
	empty  map[string]bool
	unread int
}

// taken is a prefix with the moments since boot at which its lifetimes end; 0:
// never. They follow that clock so that nobody who sets the other one cuts a
// lifetime short.
type taken struct {
	prefix           netip.Prefix
	preferred, valid time.Duration
	since            time.Duration
	from             string
}

// New returns a source that takes nothing but what is given by hand until it
// runs. News is called, from Run, when Delegations may differ, and with what is
// to be said; it must not wait for Run.
func New(w Wish, clock func() pd.Instant, news func(notes []string)) *Source {
	s := &Source{wish: w, clock: clock, news: news, kick: make(chan struct{}, 1), said: map[string]string{}, empty: map[string]bool{}}
	if w.File != "" {
		s.unread++
	}
	if len(w.Command) > 0 {
		s.unread++
	}
	now := clock()
	for _, p := range w.Prefixes {
		g := Prefix{Prefix: p, Preferred: Forever, Valid: Forever}
		if p.IsValid() {
			_ = g.check() // what is written into a wish was judged by vnet
		}
		if g.Prefix.IsValid() && p.Addr().Is6() {
			s.hand = append(s.hand, taken{prefix: g.Prefix, since: now.Boot, from: "by hand"})
		}
	}
	return s
}

// Kick makes the command run soon, because the uplink changed.
func (s *Source) Kick() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// Lacking says what is wrong with what was read last, or that it gave no prefix;
// known is false until everything has been read once.
func (s *Source) Lacking() (what []string, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, from := range slices.Sorted(maps.Keys(s.said)) {
		switch {
		case s.said[from] != "":
			what = append(what, from+": "+s.said[from])
		case s.empty[from]:
			what = append(what, from+" gives no prefix")
		}
	}
	return what, s.unread == 0
}

// epoch is what the wall clock is counted from.
var epoch = time.Unix(0, 0)

// Delegations returns what is given now.
func (s *Source) Delegations() []vnet.Delegation {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	// Kept, so that the same moment is the same each time it is asked for.
	if ahead := now.Wall.Sub(epoch) - now.Boot; (ahead - s.ahead).Abs() > 500*time.Millisecond {
		s.ahead = ahead
	}
	wall := func(t time.Duration) time.Time {
		if t == 0 {
			return time.Time{}
		}
		return epoch.Add(t + s.ahead).Truncate(time.Millisecond)
	}
	var out []vnet.Delegation
	for _, list := range [][]taken{s.hand, s.file, s.print} {
		for _, t := range list {
			if t.valid != 0 && now.Boot >= t.valid {
				continue
			}
			out = append(out, vnet.Delegation{
				Prefix: t.prefix, From: t.from, Since: wall(t.since),
				PreferredUntil: wall(t.preferred), ValidUntil: wall(t.valid),
			})
		}
	}
	return out
}

// Run looks at the file and runs the command until the context ends.
func (s *Source) Run(ctx context.Context) {
	var group sync.WaitGroup
	defer group.Wait()
	if s.wish.File != "" {
		group.Go(func() { s.watch(ctx) })
	}
	if len(s.wish.Command) > 0 {
		group.Go(func() { s.repeat(ctx) })
	}
}

// watch looks at the file.
func (s *Source) watch(ctx context.Context) {
	tick := time.NewTicker(pollFile)
	defer tick.Stop()
	var last, done state
	for first := true; ; first = false {
		st := look(s.wish.File)
		// What was there before us, and what has not changed for one look, is
		// whole.
		if st != done && (st == last || first && s.clock().Wall.Sub(st.modified) > pollFile) {
			done = st
			s.read(st)
		}
		last = st
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// state is what a file looks like without reading it.
type state struct {
	modified   time.Time
	size       int64
	inode, dev uint64
	err        string
	ctime      unix.Timespec
	special    bool
}

func look(path string) state {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return state{err: err.Error()}
	}
	return state{
		modified: time.Unix(st.Mtim.Unix()), size: st.Size, inode: st.Ino, dev: uint64(st.Dev), ctime: st.Ctim, //nolint:unconvert // Dev's size differs
		special: st.Mode&unix.S_IFMT != unix.S_IFREG,
	}
}

// read takes in the file.
func (s *Source) read(st state) {
	from := "the file " + s.wish.File
	b, err := readFile(s.wish.File, st)
	// Lifetimes count from when the file was written, which survives our
	// restart; one from the future counts from now.
	age := max(0, s.clock().Wall.Sub(st.modified))
	s.take(&s.file, from, b, err, age)
}

func readFile(path string, st state) ([]byte, error) {
	switch {
	case st.err != "":
		return nil, errors.New(st.err)
	case st.special: // a pipe would make us wait
		return nil, errors.New("no regular file")
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxBytes+1))
}

// take makes what was read what is given; if it is not good, what was good
// last stays.
func (s *Source) take(list *[]taken, from string, b []byte, err error, age time.Duration) {
	var prefixes []Prefix
	var odd []string
	if err == nil {
		prefixes, odd, err = Parse(b)
	}
	s.mu.Lock()
	now := s.clock()
	if err != nil {
		text := err.Error()
		if len(*list) > 0 {
			text += "; what it gave last stays until its time is over"
		}
		odd = []string{text}
	}
	if err == nil {
		old := *list
		*list = nil
		for _, p := range prefixes {
			*list = append(*list, p.at(now.Boot, age, from, old))
		}
	}
	var notes []string
	text := strings.Join(odd, "; ")
	last, read := s.said[from]
	if !read {
		s.unread--
	}
	if s.said[from] = text; text != last && text != "" {
		notes = []string{fmt.Sprintf("%s: %s", from, text)}
	}
	s.empty[from] = err == nil && len(prefixes) == 0
	s.mu.Unlock()
	if err == nil || len(notes) > 0 {
		s.news(notes)
	}
}

// at gives a prefix its deadlines. One that is there already keeps the moment
// since which it is.
func (p *Prefix) at(now, age time.Duration, from string, old []taken) taken {
	t := taken{prefix: p.Prefix, since: now, from: from}
	for _, o := range old {
		if o.prefix == p.Prefix && (o.valid == 0 || now < o.valid) {
			t.since = o.since
		}
	}
	if p.Preferred != Forever {
		t.preferred = end(now, p.Preferred-age)
	}
	if p.Valid != Forever {
		t.valid = end(now, p.Valid-age)
	}
	return t
}

// end is a moment since boot, never 0, which would mean never.
func end(now, life time.Duration) time.Duration { return max(now+min(life, 100*365*24*time.Hour), 1) }
