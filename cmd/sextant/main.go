// Command sextant is the daemon and the command line of Sextant. Which role it
// plays is its first argument: serve (the supervisor), control and agent (the
// two processes it keeps), or a command for the user.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sextant-net/sextant/internal/build"
	"github.com/sextant-net/sextant/internal/cli"
	"github.com/sextant-net/sextant/internal/config"
	"github.com/sextant-net/sextant/internal/control"
	"github.com/sextant-net/sextant/internal/daemon"
	"github.com/sextant-net/sextant/internal/dialect/native/client"
	"github.com/sextant-net/sextant/internal/vnet"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	root := cli.Command(cli.Config{
		Version: build.Read().Version,
		Cleanup: cleanup,
		Extra: []*cobra.Command{
			role("serve", "Run the daemon: API, agent and store", false, serve),
			role(roleControl, "Run the control process alone", true, controlRole),
			role(roleAgent, "Run the agent process alone", true, agentRole),
		},
	})
	err := root.ExecuteContext(ctx)
	stop()
	os.Exit(cli.Fail(os.Stderr, err))
}

// The names of the two processes.
const (
	roleControl = "control"
	roleAgent   = "agent"
)

// Sockets within the run directory.
const (
	apiSocket   = "api.sock"
	storeSocket = "store.sock"
	askSocket   = "ask.sock"
)

// role makes the command of a role; all take the same flags.
func role(name, short string, hidden bool, run func(context.Context, config.Config, *slog.Logger) error) *cobra.Command {
	c := &cobra.Command{Use: name, Short: short, Hidden: hidden, Args: cobra.NoArgs}
	flags := config.AddFlags(c.Flags())
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		conf, err := flags.Load()
		if err != nil {
			return err
		}
		if os.Getenv("GOGC") == "" {
			daemon.Pace()
		}
		go daemon.GiveBack(cmd.Context())
		return run(cmd.Context(), conf, newLog(conf.LogLevel).With("role", name))
	}
	return c
}

func newLog(level string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		l = slog.LevelInfo // Load has validated it
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: l}))
}

// serve keeps control and agent alive, until ctx ends.
func serve(ctx context.Context, conf config.Config, log *slog.Logger) error {
	if os.Geteuid() != 0 {
		return vnet.Errorf(vnet.ErrForbidden, "the daemon needs root to make links and rules").WithHint("run it with sudo")
	}
	if _, err := daemon.RaiseFileLimit(fileLimit); err != nil {
		log.Warn("few files may be open", "error", err)
	}
	args := conf.Args()
	return daemon.Supervise(ctx, daemon.Config{
		RunDir: conf.RunDir, StateDir: conf.StateDir, Log: log,
		Children: []daemon.Child{
			{Name: roleControl, Args: append([]string{roleControl}, args...), Sockets: true, Ready: func(ctx context.Context) error {
				return apiReady(ctx, conf)
			}},
			{Name: roleAgent, Args: append([]string{roleAgent}, args...), Ready: func(ctx context.Context) error {
				return agentReady(ctx, conf)
			}},
		},
	})
}

// fileLimit is how many files each process may have open: about four sockets
// for each of some thousand networks.
const fileLimit = 1 << 17

// apiReady asks the control process whether it serves.
func apiReady(ctx context.Context, conf config.Config) error {
	c, err := client.New("unix://" + filepath.Join(conf.RunDir, apiSocket))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return c.Healthy(ctx)
}

// agentReady asks the agent whether it serves guests.
func agentReady(ctx context.Context, conf config.Config) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := newAsker(conf).Ask(ctx, control.Question{Host: conf.Host, Verb: "ready"})
	return err
}

// wrap names the part that failed to start.
func wrap(part string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", part, err)
}
