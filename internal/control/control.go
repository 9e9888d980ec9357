// Package control holds every verb on every noun: it authorises, admits,
// allocates and stores. It is the only path by which wishes are written; the
// dialects translate to and from its verbs and decide nothing.
//
// Nothing is held in memory that another writer could make untrue: what a
// change was admitted from is compared by the transaction that writes it, and
// a verb that loses such a race starts again.
package control

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Store keeps the objects. Errors are *vnet.Error.
type Store interface {
	Reader
	Archive
	// Commit makes the change, all of it or nothing, and returns its revision.
	Commit(ctx context.Context, c *vnet.Change) (int64, error)
}

// Reader reads what is stored.
type Reader interface {
	// Get returns the object, or ErrNotFound.
	Get(ctx context.Context, ref vnet.Ref) (vnet.Object, error)
	// List answers as of one revision, in the order of IDs.
	List(ctx context.Context, q vnet.Query) (*vnet.List, error)
	// Generation returns the generation of a scope's set of prefixes.
	Generation(ctx context.Context, s vnet.Scope) (int64, error)
	// Watch tells what changes after the revision; with 0 it begins with a
	// Reset. The channel is closed when ctx ends.
	Watch(ctx context.Context, q vnet.Query, revision int64) (<-chan vnet.Update, error)
}

// Archive copies a store out and in.
type Archive interface {
	Backup(ctx context.Context, w io.Writer) error
	// Restore fills the store; unless force is set it must be empty.
	Restore(ctx context.Context, r io.Reader, force bool) error
}

// Asker carries questions to agents.
type Asker interface {
	Ask(ctx context.Context, q Question) (json.RawMessage, error)
}

// Question is a question to the agent of a host; it changes nothing that is
// stored.
type Question struct {
	Host string          `json:"host"`
	Verb string          `json:"verb"`
	Args json.RawMessage `json:"args,omitempty"`
}

// Identity is who asks.
type Identity struct {
	User string
	// Admin may do everything in every project.
	Admin bool
	// Projects are those that somebody who is no Admin may use.
	Projects []vnet.ID
}

// Config is what a Control works with.
type Config struct {
	Store Store
	Asker Asker
	// Host is the host that is meant when none is named.
	Host    string
	Version string
	Now     func() time.Time
	Log     *slog.Logger
	// Rand is where random numbers come from; nil: the system's.
	Rand io.Reader
}

// Control does the verbs.
type Control struct {
	store   Store
	asker   Asker
	host    string
	version string
	now     func() time.Time
	log     *slog.Logger
	rand    io.Reader

	// admit is held from reading a scope's prefixes to writing them, so that
	// the writers of this process do not make each other start again. It is
	// the generation in the store that keeps them right.
	admit    sync.Mutex
	prefixes map[vnet.Scope]*scopeCache

	numberLock sync.Mutex
	numbers    map[vnet.Kind]*numberCache
}

// New returns a Control. It does not touch the store: see Setup.
func New(cfg Config) (*Control, error) {
	if cfg.Store == nil {
		return nil, vnet.Errorf(vnet.ErrInternal, "control needs a store")
	}
	if cfg.Host == "" {
		return nil, vnet.Invalid("host", "the name of this host is not known")
	}
	c := &Control{
		store: cfg.Store, asker: cfg.Asker, host: cfg.Host, version: cfg.Version, now: cfg.Now, log: cfg.Log, rand: cfg.Rand,
		prefixes: map[vnet.Scope]*scopeCache{}, numbers: map[vnet.Kind]*numberCache{},
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.rand == nil {
		c.rand = rand.Reader
	}
	return c, nil
}

// Ask passes a question on to a host's agent; only an administrator may.
func (c *Control) Ask(ctx context.Context, who Identity, q Question) (json.RawMessage, error) {
	if err := adminOnly(who, q.Verb); err != nil {
		return nil, err
	}
	if c.asker == nil {
		return nil, vnet.Errorf(vnet.ErrUnavailable, "no agent can be asked").WithHint("see `sextant status`")
	}
	if q.Host == "" {
		q.Host = c.host
	}
	return c.asker.Ask(ctx, q)
}

// Backup writes everything that is wanted and claimed to w.
func (c *Control) Backup(ctx context.Context, who Identity, w io.Writer) error {
	if err := adminOnly(who, "backup"); err != nil {
		return err
	}
	return c.store.Backup(ctx, w)
}

// Restore replaces what the store holds by a backup; everything is checked
// before anything is written. A store in which somebody made networks is not
// replaced: ErrExists.
func (c *Control) Restore(ctx context.Context, who Identity, r io.Reader) error {
	if err := adminOnly(who, "restore"); err != nil {
		return err
	}
	pristine, err := c.pristine(ctx)
	if err != nil {
		return err
	}
	if !pristine {
		return vnet.Errorf(vnet.ErrExists, "the store is in use: it has networks").
			WithHint("restore into a new one: start with an empty --state-dir and --no-default-network, or delete the networks")
	}
	c.admit.Lock()
	defer c.admit.Unlock()
	clear(c.prefixes)
	c.numberLock.Lock()
	clear(c.numbers)
	c.numberLock.Unlock()
	return c.store.Restore(ctx, r, true)
}

// pristine reports whether the store holds nothing but what Setup made.
func (c *Control) pristine(ctx context.Context) (bool, error) {
	for _, k := range []vnet.Kind{vnet.KindNetwork, vnet.KindRouter, vnet.KindPool} {
		l, err := c.store.List(ctx, vnet.Query{Kind: k, Limit: 2})
		if err != nil {
			return false, err
		}
		for _, o := range l.Items {
			if o.GetMeta().Tags[madeBySetup] == "" || o.GetMeta().Generation > 1 {
				return false, nil
			}
		}
	}
	for _, k := range []vnet.Kind{vnet.KindPort, vnet.KindUplink} {
		l, err := c.store.List(ctx, vnet.Query{Kind: k, Limit: 1})
		if err != nil || len(l.Items) > 0 {
			return false, err
		}
	}
	return true, nil
}
