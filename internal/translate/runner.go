package translate

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Config is what a Runner is made of.
type Config struct {
	Dir  string                   // its own, made if it is missing
	InNS func(func() error) error // runs a function in the host's namespace
	Log  *slog.Logger
}

// Runner keeps at most one translator running. Its methods may be called from
// any goroutine.
type Runner struct {
	cfg  Config
	wake chan struct{}
	end  context.CancelFunc
	done chan struct{}

	mu      sync.Mutex
	set     bool // somebody has said what is wished
	wish    *Wish
	problem *vnet.Problem
}

// New returns a runner that touches nothing until Set is called.
func New(cfg Config) *Runner {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	ctx, end := context.WithCancel(context.Background())
	r := &Runner{cfg: cfg, wake: make(chan struct{}, 1), end: end, done: make(chan struct{})}
	go r.run(ctx)
	return r
}

// Missing says why there is no translator to run, nil if there is one.
func (*Runner) Missing() error {
	_, err := Find()
	return err
}

// Set says what is wished, nil for no translator.
func (r *Runner) Set(w *Wish) {
	r.mu.Lock()
	same := r.set && (w == nil && r.wish == nil || w != nil && r.wish != nil && *w == *r.wish)
	r.set, r.wish = true, w
	r.mu.Unlock()
	if !same {
		r.poke()
	}
}

func (r *Runner) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Problems is what keeps the translator from running.
func (r *Runner) Problems() []vnet.Problem {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.problem == nil {
		return nil
	}
	return []vnet.Problem{*r.problem}
}

// Close ends the watching. The translator itself goes on.
func (r *Runner) Close() error {
	r.end()
	<-r.done
	return nil
}

// wished is what is wished now; ok is false as long as nobody said so.
func (r *Runner) wished() (w *Wish, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wish, r.set
}

// tell sets or, with nil, clears the problem.
func (r *Runner) tell(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problem = nil
	if err != nil {
		kind := vnet.KindOf(err)
		if kind == vnet.ErrInternal {
			kind = vnet.ErrHost
		}
		r.problem = &vnet.Problem{Kind: kind, Field: "nat64", Family: vnet.IPv4, Msg: "the NAT64 translator does not run: " + err.Error()}
	}
}

// keeping is what run has in hand.
type keeping struct {
	p       *process
	config  string // of p
	looked  bool   // for one that was left
	backoff backoff
	again   <-chan time.Time // when to try again, nil: at once
	calm    <-chan time.Time // when one that was started again counts as running
}

// calmAfter is how long one that was started again must run before the problem
// is taken back: else a status would come and go with every try.
const calmAfter = 5 * time.Second

// run makes what is wished true until ctx ends.
func (r *Runner) run(ctx context.Context) {
	defer close(r.done)
	var k keeping
	for {
		r.fit(&k)
		var exited chan struct{}
		if k.p != nil {
			exited = k.p.exited
		}
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
			k.again = nil // something changed: perhaps what was in the way
		case <-k.again:
			k.again = nil
		case <-k.calm:
			r.tell(nil)
		case <-exited:
			wait := k.backoff.after(time.Since(k.p.begun))
			r.cfg.Log.Warn("the NAT64 translator ended and is started again", "how", k.p.how, "after", wait)
			r.tell(fmt.Errorf("it ended (%s)", k.p.how))
			k.p, k.again, k.calm = nil, time.After(wait), nil
		}
	}
}

// fit brings the process to what is wished, as far as it is time to.
func (r *Runner) fit(k *keeping) {
	w, ok := r.wished()
	if !ok {
		return
	}
	if !k.looked {
		k.p, k.config = find(r.cfg.Dir)
		k.looked = true // no process before us can come any more
		if k.p != nil {
			r.cfg.Log.Info("the NAT64 translator is taken over", "pid", k.p.pid)
		}
	}
	if k.p != nil && (w == nil || w.config(r.cfg.Dir) != k.config) {
		k.p.stop()
		k.p, k.backoff = nil, backoff{}
	}
	switch {
	case w == nil:
		k.again = nil
		r.tell(nil)
		if err := os.RemoveAll(r.cfg.Dir); err != nil {
			r.cfg.Log.Warn("what the NAT64 translator kept is not removed", "error", err)
		}
	case k.p == nil && k.again == nil:
		r.begin(k, w)
	}
}

// begin starts a translator, and says when to try again if it could not.
func (r *Runner) begin(k *keeping, w *Wish) {
	err := os.MkdirAll(r.cfg.Dir, 0o755)
	path := ""
	if err == nil {
		path, err = Find()
	}
	if err == nil {
		k.config = w.config(r.cfg.Dir)
		k.p, err = start(path, r.cfg.Dir, k.config, r.cfg.InNS, r.cfg.Log)
	}
	if err != nil {
		r.tell(err)
		k.again = time.After(k.backoff.after(0))
		return
	}
	k.calm = time.After(calmAfter)
}
