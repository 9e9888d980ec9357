// Package cli is the command line: sextant <noun> <verb> [NAME] [key=value …].
// What belongs to the object is key=value, how the command behaves is a --flag.
// It speaks to the daemon through the native API only, and knows the keys of a
// noun from its JSON form.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sextant-net/sextant/internal/dialect/native/client"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Config is what Command needs.
type Config struct {
	Version string
	Stdout  io.Writer
	Stderr  io.Writer
	// Cleanup removes everything of Sextant's from this host while the daemon
	// does not run; empty directories are the default ones. nil: that cannot be
	// done.
	Cleanup func(ctx context.Context, stateDir, runDir string) (json.RawMessage, error)
	// Extra are further commands: serve, and what dialects bring.
	Extra []*cobra.Command
}

// The exit codes.
const (
	exitDone    = 0
	exitFailed  = 1
	exitChanges = 2 // plan and diff found changes
	exitUsage   = 64
)

// app is what the commands share.
type app struct {
	Config
	server  string
	project string
	output  string
}

// usageError is a command line that cannot be understood.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// Command returns the command tree. Its errors are for Fail.
func Command(c Config) *cobra.Command {
	if c.Stdout == nil {
		c.Stdout = os.Stdout
	}
	if c.Stderr == nil {
		c.Stderr = os.Stderr
	}
	a := &app{Config: c}
	root := &cobra.Command{
		Use:   "sextant",
		Short: "Networks for guests, with IPv4 and IPv6",
		Long: "Sextant gives every guest on a Linux host (virtual machine, container, namespace) a network\n" +
			"that has IPv4 and IPv6, correct and safe by default.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       c.Version,
		Args:          cobra.ArbitraryArgs,
		RunE:          unknownSub("command"),
	}
	root.SetOut(c.Stdout)
	root.SetErr(c.Stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.SetVersionTemplate("sextant {{.Version}}\n")
	flags := root.PersistentFlags()
	server := os.Getenv("SEXTANT_SERVER")
	flags.StringVar(&a.server, "server", server, "`URL` of the daemon; default $SEXTANT_SERVER, else "+client.DefaultServer)
	if server != "" {
		// A value from the environment must not end up in the manual.
		flags.Lookup("server").DefValue = ""
	}
	flags.StringVar(&a.project, "project", "", "`NAME` or ID of the project (default \""+vnet.DefaultProject+"\")")
	flags.VarP((*format)(&a.output), "output", "o", "`FORMAT` of what is shown: table, wide, json, yaml or csv")
	for i := range nouns {
		root.AddCommand(a.nounCommand(&nouns[i]))
	}
	root.AddCommand(a.statusCommand(), a.whyCommand(), a.prefixCommand(), a.confirmCommand(), a.eventsCommand(),
		a.backupCommand(), a.restoreCommand(), a.cleanupCommand(), a.versionCommand(), a.manWriter())
	for _, l := range later {
		root.AddCommand(l.command())
	}
	root.AddCommand(c.Extra...)
	for _, cmd := range c.Extra {
		argsAreUsage(cmd)
	}
	return root
}

// argsAreUsage makes wrong arguments of commands that others bring errors of
// usage.
func argsAreUsage(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return &usageError{err}
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		argsAreUsage(sub)
	}
}

// format is the value of -o. It is checked before anything is done.
type format string

var formats = []string{"table", "wide", "json", "yaml", "csv"}

func (f *format) String() string { return string(*f) }

// Type is the word for the value in help texts.
func (f *format) Type() string { return "format" }

// Set takes one of formats.
func (f *format) Set(s string) error {
	if !slices.Contains(formats, s) {
		return fmt.Errorf("say %s", strings.Join(formats, ", "))
	}
	*f = format(s)
	return nil
}

// unknownSub answers for a command that has only subcommands.
func unknownSub(what string) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			if cmd.HasParent() {
				return usagef("%s: say what to do: %s", cmd.CommandPath(), strings.Join(subNames(cmd), ", "))
			}
			return cmd.Help()
		}
		names := subNames(cmd)
		e := vnet.Errorf(vnet.ErrInvalid, "unknown %s %q", what, args[0])
		if near := vnet.Nearest(args[0], names); near != "" {
			return &usageError{e.WithHint("did you mean %s?", near)}
		}
		return &usageError{e.WithHint("it is one of %s", strings.Join(names, ", "))}
	}
}

func subNames(cmd *cobra.Command) []string {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	return names
}

// ExitCode is the process's exit code for an error of Command's Execute.
func ExitCode(err error) int {
	var usage *usageError
	var code *exitError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &code):
		return code.code
	}
	return exitFailed
}

// exitError ends with a code and says nothing.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// Fail writes the error as one line, "sextant: …", and returns the exit code.
func Fail(stderr io.Writer, err error) int {
	var quiet *exitError
	if err != nil && !errors.As(err, &quiet) {
		// A client that went away in the middle has nobody to tell.
		_, _ = fmt.Fprintln(stderr, Line(err))
	}
	return ExitCode(err)
}

// Line is how an error is shown: one line.
func Line(err error) string {
	s := strings.Join(strings.Fields(err.Error()), " ")
	switch {
	case errors.Is(err, context.Canceled):
		s = "interrupted"
	case errors.Is(err, context.DeadlineExceeded):
		s = "no answer in time; see sextant status"
	}
	return "sextant: " + s
}

// client connects to the daemon.
func (a *app) client() (*client.Client, error) {
	c, err := client.New(a.server)
	if err != nil {
		return nil, &usageError{err}
	}
	return c, nil
}

// later are the nouns and commands whose place is kept.
var later = []placeholder{
	{"forward", "Ways in: ports of the host that lead to a guest"},
	{"group", "Security groups"},
	{"rule", "Rules of security groups"},
	{"address-set", "Named sets of addresses"},
	{"plan", "Show what a file would change"},
	{"apply", "Make it as a file says"},
	{"diff", "Show how the host differs from what is wished"},
	{"explain", "Say whether one address can reach another, and why"},
	{"doctor", "Look for what is in the way"},
}

// placeholder is a command that is not in this version.
type placeholder struct{ name, short string }

func (p placeholder) command() *cobra.Command {
	return &cobra.Command{
		Use: p.name, Short: p.short + " (not in this version)", Hidden: true, DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error {
			return vnet.Errorf(vnet.ErrUnsupported, "%s: not in this version", p.name)
		},
	}
}
