package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sextant-net/sextant/internal/build"
	"github.com/sextant-net/sextant/internal/config"
	"github.com/sextant-net/sextant/internal/control"
	"github.com/sextant-net/sextant/internal/controller"
	"github.com/sextant-net/sextant/internal/daemon"
	"github.com/sextant-net/sextant/internal/dialect/native"
	"github.com/sextant-net/sextant/internal/store"
)

// controlRole runs the process that clients talk to: store, verbs, dialects. It
// has no network privileges.
func controlRole(ctx context.Context, conf config.Config, log *slog.Logger) (err error) {
	hold, err := daemon.Enter(conf.RunDir, roleControl)
	if err != nil {
		return err
	}
	defer hold.Close()
	if err := daemon.DropNetPrivileges(); err != nil {
		return wrap("drop network privileges", err)
	}

	db, died, err := openStore(ctx, conf, log)
	if err != nil {
		return wrap("store", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	verbs, err := control.New(control.Config{
		Store: db, Asker: newAsker(conf),
		Host: conf.Host, Version: build.Read().Version, Log: log,
	})
	if err != nil {
		return wrap("control", err)
	}
	if err := verbs.Setup(ctx, conf.DefaultNetwork); err != nil {
		return wrap("set up the installation", err)
	}

	listener, err := daemon.Listen(filepath.Join(conf.RunDir, apiSocket), daemon.Group)
	if err != nil {
		return wrap("api", err)
	}
	door := daemon.HTTP{
		Listener: listener, ConnContext: native.ConnContext, Log: log,
		Handler: native.New(native.Config{
			Verbs: verbs, Log: log, Metrics: promhttp.Handler(), Ready: verbs.Ready, Version: build.Read().Version,
		}),
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	go controller.Run(serving, db, log)
	served := make(chan error, 1)
	go func() { served <- door.Serve(serving) }()
	log.Info("serving", "socket", filepath.Join(conf.RunDir, apiSocket))

	select {
	case err := <-served:
		return wrap("api", err)
	case err := <-died:
		// etcd cannot be restarted inside a process: the supervisor does it.
		return wrap("store", err)
	}
}

// openStore starts the embedded store or connects to an external one. The
// channel says when the embedded one dies.
func openStore(ctx context.Context, conf config.Config, log *slog.Logger) (*store.Store, <-chan error, error) {
	if !conf.Store.Embedded() {
		db, err := store.Open(ctx, storeConfig(conf, log, false))
		return db, nil, err
	}
	e, err := store.StartEmbedded(ctx, store.EmbeddedConfig{
		Dir: filepath.Join(conf.StateDir, "store"), Socket: filepath.Join(conf.RunDir, storeSocket), Log: log,
	})
	if err != nil {
		return nil, nil, err
	}
	return e.Store, e.Err(), nil
}

// storeConfig is how a client reaches the store.
func storeConfig(conf config.Config, log *slog.Logger, lazy bool) store.Config {
	c := store.Config{
		Endpoints: conf.Store.Endpoints, CAFile: conf.Store.CA, CertFile: conf.Store.Cert, KeyFile: conf.Store.Key,
		Lazy: lazy, Log: log,
	}
	if conf.Store.Embedded() {
		c.Endpoints = []string{"unix://" + filepath.Join(conf.RunDir, storeSocket)}
	}
	return c
}
