package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/sextant-net/sextant/internal/agent"
	"github.com/sextant-net/sextant/internal/config"
	"github.com/sextant-net/sextant/internal/daemon"
	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/translate"
	"github.com/sextant-net/sextant/internal/vnet"
)

// dyingTime is how long a process that was killed may take to be gone.
const dyingTime = 2 * time.Second

// takeOver takes the name of a process of the daemon that is not there, or that
// goes this moment.
func takeOver(ctx context.Context, runDir, name string) (*daemon.Process, error) {
	for end := time.Now().Add(dyingTime); ; {
		hold, err := daemon.Enter(runDir, name)
		if !vnet.Is(err, vnet.ErrInUse) || time.Now().After(end) {
			return hold, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// cleanup removes everything that carries our mark from this host without a
// daemon, as before an uninstallation. It fails while one runs, whole or in
// part: that one would put everything back. Empty directories are those of the
// settings file.
func cleanup(ctx context.Context, stateDir, runDir string) (answer json.RawMessage, err error) {
	if os.Geteuid() != 0 {
		return nil, vnet.Errorf(vnet.ErrForbidden, "the daemon does not run, and without it only root can remove links and rules").
			WithHint("run it with sudo")
	}
	set := pflag.NewFlagSet("cleanup", pflag.ContinueOnError)
	flags := config.AddFlags(set)
	for name, dir := range map[string]string{"state-dir": stateDir, "run-dir": runDir} {
		if dir != "" {
			if err := set.Set(name, dir); err != nil {
				return nil, err
			}
		}
	}
	conf, err := flags.Load()
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"serve", roleAgent} {
		hold, err := takeOver(ctx, conf.RunDir, name)
		if vnet.Is(err, vnet.ErrInUse) {
			return nil, vnet.Errorf(vnet.ErrInUse, "the daemon's process %q runs and does not answer", name).
				WithHint("stop it first: systemctl stop sextant, or end the process in %s.pid", filepath.Join(conf.RunDir, name))
		}
		if err != nil {
			return nil, err
		}
		defer hold.Close()
	}
	spaces, err := netns.New()
	if err != nil {
		return nil, wrap("namespaces", err)
	}
	defer func() { err = errors.Join(err, spaces.Close()) }()
	kernel, err := agent.NewKernel(spaces, filepath.Join(conf.StateDir, "agent"))
	if err != nil {
		return nil, wrap("kernel", err)
	}
	done, err := agent.Clean(ctx, kernel)
	if err = errors.Join(err, translate.End(translatorDir(conf))); err != nil {
		return nil, err
	}
	return json.Marshal(done)
}
