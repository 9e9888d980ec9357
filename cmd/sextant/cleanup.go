package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/sextant-net/sextant/internal/agent"
	"github.com/sextant-net/sextant/internal/config"
	"github.com/sextant-net/sextant/internal/daemon"
	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/vnet"
)

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
		hold, err := daemon.Enter(conf.RunDir, name)
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
	if err != nil {
		return nil, err
	}
	return json.Marshal(done)
}
