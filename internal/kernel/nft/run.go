package nft

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/vnet"
)

// program is the command that everything here goes through.
const program = "nft"

// run runs nft in the namespace and returns what it printed. What it refuses
// is a *refusal.
func run(ctx context.Context, spaces *netns.Set, ns, script string, args ...string) ([]byte, error) {
	var out, said bytes.Buffer
	err := spaces.Do(ns, func() error {
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(script), &out, &said
		cmd.Env = append(cmd.Environ(), "LC_ALL=C")
		return cmd.Run()
	})
	var exit *exec.ExitError
	switch {
	case err == nil:
		return out.Bytes(), nil
	case errors.Is(err, exec.ErrNotFound):
		return nil, noProgram()
	case ctx.Err() != nil:
		return nil, vnet.Errorf(vnet.ErrUnavailable, "nft: %w", ctx.Err())
	case errors.As(err, &exit):
		return nil, parseRefusal(said.String(), script)
	}
	return nil, err
}

// refusal is what nft said when it refused a script.
type refusal struct {
	line   int    // of the script, from 1; 0: it did not say
	text   string // what was wrong
	source string // the line it pointed at
}

// Error words the refusal on one line.
func (r *refusal) Error() string {
	s := "nft: " + r.text
	if r.source != "" {
		s += " in line " + strconv.Itoa(r.line) + ", `" + strings.TrimSpace(r.source) + "`"
	}
	return s
}

// missing reports whether what the line names is not there.
func (r *refusal) missing() bool {
	return strings.Contains(r.text, "No such file or directory") || strings.Contains(r.text, "does not exist")
}

var position = regexp.MustCompile(`^[^:\s]*:(\d+):\d+(?:-\d+)?: (?:Error: )?(.*)$`)

// parseRefusal finds the first error, with its line, in what nft printed.
func parseRefusal(said, script string) *refusal {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	for _, l := range lines {
		m := position.FindStringSubmatch(l)
		if m == nil {
			continue
		}
		r := &refusal{text: strings.TrimPrefix(m[2], "Could not process rule: ")}
		r.line, _ = strconv.Atoi(m[1])
		source := strings.Split(script, "\n")
		if r.line > 0 && r.line <= len(source) {
			r.source = source[r.line-1]
		}
		return r
	}
	text := strings.TrimPrefix(lines[0], "Error: ")
	if text == "" {
		text = "it failed and did not say why"
	}
	return &refusal{text: text}
}

// hostError makes a refusal, or whatever went wrong, one error of ours.
func hostError(what string, err error) error {
	var own *vnet.Error
	if err == nil || errors.As(err, &own) {
		return err
	}
	e := vnet.Errorf(vnet.ErrHost, "%s: %w", what, err)
	var r *refusal
	if errors.As(err, &r) {
		switch {
		case strings.Contains(r.text, "Operation not permitted"), strings.Contains(r.text, "you must be root"):
			return e.WithHint("run as root, or with CAP_NET_ADMIN")
		case strings.Contains(r.text, "not supported"), strings.Contains(r.text, "Protocol error"):
			e.Kind = vnet.ErrUnsupported
			return e.WithHint("this kernel does not have it")
		}
	}
	return e
}
