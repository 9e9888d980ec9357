package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"github.com/sextant-net/sextant/internal/agent"
	"github.com/sextant-net/sextant/internal/ask"
	"github.com/sextant-net/sextant/internal/build"
	"github.com/sextant-net/sextant/internal/config"
	"github.com/sextant-net/sextant/internal/control"
	"github.com/sextant-net/sextant/internal/daemon"
	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/kernel/attach"
	"github.com/sextant-net/sextant/internal/kernel/hear"
	"github.com/sextant-net/sextant/internal/kernel/link"
	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/kernel/watch"
	"github.com/sextant-net/sextant/internal/kernel/wire"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/store"
	"github.com/sextant-net/sextant/internal/translate"
)

// agentRole runs the process that has the host's network in hand.
func agentRole(ctx context.Context, conf config.Config, log *slog.Logger) (err error) {
	hold, err := daemon.Enter(conf.RunDir, roleAgent)
	if err != nil {
		return err
	}
	defer hold.Close()
	state := filepath.Join(conf.StateDir, "agent")
	if err := os.MkdirAll(state, 0o700); err != nil {
		return wrap("state directory", err)
	}
	spaces, err := netns.New()
	if err != nil {
		return wrap("namespaces", err)
	}
	defer func() { err = errors.Join(err, spaces.Close()) }()
	links, err := link.New(spaces, state)
	if err != nil {
		return wrap("kernel", err)
	}
	features, list, err := watch.Probe(ctx)
	if err != nil {
		log.Warn("the packet filter cannot be probed", "error", err)
	}
	var a *agent.Agent // the finder runs only once there is one
	finder, err := watch.New(spaces, watch.Options{Features: features, Log: log, Named: func(ns string) bool { return a.Names(ns) }})
	if err != nil {
		return wrap("facts of the host", err)
	}

	db, err := store.Open(ctx, storeConfig(conf, log, true))
	if err != nil {
		return wrap("store", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	ears, err := openEars(spaces, log)
	if err != nil {
		// Guests work all the same: only what they do not ask us stays unknown.
		log.Warn("cannot hear guests", "error", err)
	}
	translator := translate.New(translate.Config{
		Dir: translatorDir(conf), Log: log, InNS: func(f func() error) error { return spaces.Do("", f) },
	})
	defer func() { err = errors.Join(err, translator.Close()) }()
	sharer, err := attach.New(spaces, state, attach.Options{Moved: func(from, to string) {
		if err := links.Follow(from, to); err != nil {
			log.Warn("original settings not carried over", "from", from, "to", to, "error", err)
		}
	}})
	if err != nil {
		return wrap("shared NICs", err)
	}
	a, err = agent.New(agent.Config{
		Host: conf.Host, Version: build.Read().Version, Kernel: agent.KernelOf(spaces, links), Finder: finder, Store: db, StateDir: state,
		InNS: spaces.Do, DUID: serverDUID(conf.Host), Log: log, Ears: ears,
		Translator: translator, Sharer: sharer, Speaker: wire.New(spaces),
		Features: list, Foreign: agent.ForeignRules(spaces, log),
	})
	if err != nil {
		return wrap("agent", err)
	}
	watched := make(chan error, 1)
	go func() {
		err := finder.Run(ctx)
		if ctx.Err() != nil {
			err = nil // it says that it was told to stop
		}
		watched <- err
	}()
	questions, err := net.Listen("unix", freshSocket(conf.RunDir, askSocket))
	if err != nil {
		return wrap("questions", err)
	}
	asked := make(chan error, 1)
	go func() { asked <- ask.Serve(ctx, questions, a) }()
	log.Info("working", "host", conf.Host)
	return errors.Join(a.Run(ctx), <-asked, <-watched)
}

// translatorDir is where the NAT64 translator has its configuration.
func translatorDir(conf config.Config) string { return filepath.Join(conf.RunDir, "nat64") }

// openEars opens the sockets by which guests are heard and asked.
func openEars(spaces *netns.Set, log *slog.Logger) (*agent.Ears, error) {
	l, err := hear.Listen(spaces.Do, "", plan.HearGroup, log)
	if err != nil {
		return nil, err
	}
	p, err := hear.NewProber(spaces.Do, "")
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	in := func(ns string) (*hear.Listener, error) { return hear.Listen(spaces.Do, ns, plan.HearGroup, log) }
	return &agent.Ears{C: l.C, Send: p.Send, In: in}, nil
}

// serverDUID identifies this host's DHCPv6 server for ever: a DUID-UUID (RFC
// 6355) made of the host's name in the installation.
func serverDUID(host string) []byte {
	u := uuid.NewSHA1(uuid.NameSpaceURL, []byte("urn:sextant:dhcp6:"+host))
	return ipam.NewDUIDUUID(u).Bytes()
}

// freshSocket removes a socket that a process left behind; the run directory
// is held by this one.
func freshSocket(dir, name string) string {
	path := filepath.Join(dir, name)
	_ = os.Remove(path)
	return path
}

// asker carries control's questions to this host's agent.
type asker struct{ client ask.Client }

func newAsker(conf config.Config) *asker {
	return &asker{ask.Client{Socket: filepath.Join(conf.RunDir, askSocket), Host: conf.Host}}
}

func (a *asker) Ask(ctx context.Context, q control.Question) (json.RawMessage, error) {
	return a.client.Ask(ctx, q.Host, q.Verb, q.Args)
}
