package cli

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sextant-net/sextant/internal/vnet"
)

// print writes one line to stdout.
func (a *app) print(format string, args ...any) error {
	_, err := fmt.Fprintf(a.Stdout, format+"\n", args...)
	return err
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: exactly(0, ""),
		RunE: func(*cobra.Command, []string) error { return a.print("sextant %s", a.Version) },
	}
}

var eventColumns = []column{
	col("TIME", "time"), col("HOST", "host"), col("WHAT", "what"), col("OBJECT", "target.kind"), col("MESSAGE", "message"),
}

func (a *app) eventsCommand() *cobra.Command {
	var follow bool
	var after int64
	cmd := &cobra.Command{
		Use: "events", Short: "List what happened, or follow what happens", Args: exactly(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := background(cmd)
			switch {
			case !follow && cmd.Flags().Changed("after"):
				return usagef("events: --after is for --follow")
			case !follow:
				return a.fetch(ctx, "events", eventColumns, "time")
			}
			cl, err := a.client()
			if err != nil {
				return err
			}
			if err := cl.Events(ctx, after, a.sayEvent); ctx.Err() == nil {
				return err
			}
			return nil // Ctrl-C is how one stops following
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "follow what happens from now on")
	cmd.Flags().Int64Var(&after, "after", -1, "follow from after the event of this `REVISION`; 0 is from the first that is kept (default: from now)")
	return cmd
}

// sayEvent writes one line: for people, or as JSON for programs.
func (a *app) sayEvent(e vnet.Event) error {
	if a.output == "json" {
		return a.writeLine(e)
	}
	return a.print("%s  %s  %s", e.Time.Local().Format("15:04:05"), e.What, printable(e.Msg))
}

func (a *app) backupCommand() *cobra.Command {
	return &cobra.Command{
		Use: "backup FILE", Short: "Write everything that is wished to a file", Args: exactly(1, "a file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			// Into a file of its own first: a backup that breaks off must not
			// replace the last good one.
			f, err := os.CreateTemp(filepath.Dir(args[0]), ".sextant-backup-*")
			if err != nil {
				return err
			}
			err = cl.Backup(background(cmd), f)
			if err == nil {
				err = f.Sync()
			}
			if err = errors.Join(err, f.Close()); err == nil {
				err = os.Rename(f.Name(), args[0])
			}
			if err != nil {
				return errors.Join(err, os.Remove(f.Name()))
			}
			return a.print("backup written to %s", args[0])
		},
	}
}

func (a *app) restoreCommand() *cobra.Command {
	return &cobra.Command{
		Use: "restore FILE", Short: "Replace everything that is wished by a backup", Args: exactly(1, "a file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer func() { _ = f.Close() }()
			if err := cl.Restore(background(cmd), f); err != nil {
				return err
			}
			return a.print("restored from %s", args[0])
		},
	}
}

func (a *app) cleanupCommand() *cobra.Command {
	var host, stateDir, runDir string
	cmd := &cobra.Command{
		Use: "cleanup", Short: "Remove everything that Sextant put on this host", Args: exactly(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			ctx := background(cmd)
			answer, err := cl.Cleanup(ctx, host)
			socket, local := a.socket()
			if vnet.Is(err, vnet.ErrUnavailable) && a.Cleanup != nil && local && host == "" && ctx.Err() == nil {
				answer, err = a.Cleanup(ctx, stateDir, cmp.Or(runDir, socket))
			}
			if err != nil {
				return err
			}
			return a.sayCleaned(answer)
		},
	}
	cmd.Flags().StringVar(&host, "host", "", "the host to clean; default: the only one")
	cmd.Flags().StringVar(&stateDir, "state-dir", "", "when the daemon does not run: its state `DIRECTORY`; default: as sextant.toml says")
	cmd.Flags().StringVar(&runDir, "run-dir", "", "when the daemon does not run: its run `DIRECTORY`; default: as sextant.toml says")
	return cmd
}

// socket returns the directory of the socket that the user named, empty if
// none was, and whether the daemon is one of this host.
func (a *app) socket() (dir string, local bool) {
	if a.server == "" {
		return "", true
	}
	path, local := strings.CutPrefix(a.server, "unix://")
	return filepath.Dir(path), local
}

func (a *app) sayCleaned(answer json.RawMessage) error {
	var done struct {
		Failed int    `json:"failed"`
		Why    string `json:"why"`
	}
	if err := json.Unmarshal(answer, &done); err != nil {
		return err
	}
	if done.Failed > 0 {
		return vnet.Errorf(vnet.ErrHost, "cleanup: %d objects cannot be removed: %s", done.Failed, done.Why).
			WithHint("mend that and try again")
	}
	switch a.output {
	case "json":
		return a.writeJSON(answer)
	case "yaml":
		return a.writeYAML(answer)
	}
	return a.print("everything of Sextant's is removed from the host; its definitions are kept")
}
