package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"strings"

	"github.com/sextant-net/sextant/internal/dialect/native/client"
	"github.com/sextant-net/sextant/internal/vnet"
)

// edit lets the user change the YAML of an object. What somebody else changed
// meanwhile is not overwritten, and after an error the text is kept.
func edit(ctx context.Context, c *call, args []string) error {
	if err := noArgs(c, args); err != nil {
		return err
	}
	now, revision, err := c.read(ctx)
	if err != nil {
		return err
	}
	before, err := toYAML(now)
	if err != nil {
		return err
	}
	path, err := c.draft(before)
	if err != nil {
		return err
	}
	out, err := c.edited(ctx, path, before, revision)
	if err != nil {
		var e *vnet.Error
		if errors.As(err, &e) {
			kept := *e
			kept.Hint = strings.TrimPrefix(e.Hint+"; your text is in "+path, "; ")
			return &kept
		}
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	if out == nil {
		return c.say("%s %s: nothing changed", c.noun.name, c.name)
	}
	return c.done("changed", out)
}

// draft writes the text to a file of its own.
func (c *call) draft(text []byte) (path string, err error) {
	f, err := os.CreateTemp("", "sextant-"+c.noun.name+"-*.yaml")
	if err != nil {
		return "", err
	}
	_, err = f.Write(text)
	return f.Name(), errors.Join(err, f.Close())
}

// edited runs the editor and sends what it left; nil if that is what it got.
func (c *call) edited(ctx context.Context, path string, before []byte, revision int64) (json.RawMessage, error) {
	if err := runEditor(ctx, path); err != nil {
		return nil, err
	}
	after, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(before, after) {
		return nil, nil
	}
	doc, err := fromYAML(after)
	if err != nil {
		// The library's message is a picture of several lines.
		reason, _, _ := strings.Cut(err.Error(), "\n")
		return nil, vnet.Errorf(vnet.ErrInvalid, "%s edit: this is no YAML: %s", c.noun.name, reason)
	}
	var out json.RawMessage
	err = c.send(ctx, client.Request{
		Method: http.MethodPut, Path: c.path(), Body: doc, IfMatch: revision,
	}, &out)
	return out, err
}

// runEditor runs the user's editor, which may be a command with arguments.
func runEditor(ctx context.Context, path string) error {
	editor := "vi"
	for _, name := range []string{"EDITOR", "VISUAL"} {
		if v := strings.TrimSpace(os.Getenv(name)); v != "" {
			editor = v
		}
	}
	words := append(strings.Fields(editor), path)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return vnet.Errorf(vnet.ErrInvalid, "the editor %s failed: %w", words[0], err).
			WithHint("set EDITOR to the editor you want")
	}
	return nil
}
