package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/lab/topo"
)

// block is one fenced part of a document.
type block struct {
	lang  string
	line  int
	lines []string
}

// blocks returns the fenced parts of a document.
func blocks(t *testing.T, path string) []block {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out []block
	inside := false
	for i, line := range strings.Split(string(text), "\n") {
		lang, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && !inside:
			out = append(out, block{lang: lang, line: i + 1})
			inside = true
		case fence:
			inside = false
		case inside:
			b := &out[len(out)-1]
			b.lines = append(b.lines, line)
		}
	}
	return out
}

var comment = regexp.MustCompile(`(^|\s+)#( .*)?$`)

// commands returns what a reader would type.
func (b block) commands() []string {
	var out []string
	for _, line := range b.lines {
		if line = strings.TrimSpace(comment.ReplaceAllString(line, "")); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// targets are what make can make.
func targets(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z-]+):`).FindAllStringSubmatch(string(text), -1) {
		out[m[1]] = true
	}
	return out
}

var makeTarget = regexp.MustCompile("`make ([a-z-]+)")

// TestDocumentsNameTargets: every target of make that a document names is
// there.
func TestDocumentsNameTargets(t *testing.T) {
	known := targets(t)
	for _, doc := range []string{"../README.md", "../CONTRIBUTING.md", "../docs/guide/first-network.md", "../docs/guide/uplinks.md"} {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range makeTarget.FindAllStringSubmatch(string(text), -1) {
			if !known[m[1]] {
				t.Errorf("%s: there is no `make %s`", doc, m[1])
			}
		}
		for _, b := range blocks(t, doc) {
			for _, command := range b.commands() {
				if words := strings.Fields(command); words[0] == "make" && !known[words[1]] {
					t.Errorf("%s:%d: there is no %s", doc, b.line, command)
				}
			}
		}
	}
}

// host is a machine of its own that runs the documents' commands in the
// checkout, with the program on its PATH as after an installation.
type host struct {
	*topo.Node
	t    *testing.T
	ctx  context.Context
	root string
}

func newHost(t *testing.T, name string) *host {
	t.Helper()
	if testing.Short() {
		t.Skip("the lab is not for short runs")
	}
	netnstest.NeedRoot(t)
	netnstest.NeedCommands(t, "ip", "nft", "nsenter", "ping")
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "bin", "sextant")); err != nil {
		netnstest.Skip(t, "needs bin/sextant: run `make build`")
	}
	l, err := topo.New(fmt.Sprintf("sxt-doc%d-%s-", os.Getpid(), name))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(func() {
		cancel()
		if t.Failed() {
			t.Log(l.Logs(40))
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	n, err := l.Node("host")
	if err != nil {
		t.Fatal(err)
	}
	n.Env = append(n.Env, "SEXTANT_SERVER=", "PATH="+filepath.Join(root, "bin")+":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	h := &host{n, t, ctx, root}
	// The state must not end up in the machine's own /var.
	if _, err := h.Sh(ctx, "mkdir -p /etc/sextant"); err != nil {
		t.Fatal(err)
	}
	if err := h.WriteFile(ctx, "/etc/sextant/sextant.toml", fmt.Sprintf("state-dir = %q\n", filepath.Join(n.Dir(), "state"))); err != nil {
		t.Fatal(err)
	}
	return h
}

// ways are the commands of which a reader has to see something before the next
// one makes sense.
var ways = map[string]string{
	"status":     "ready",
	"lease list": "slaac",
}

// do types one command.
func (h *host) do(command string) string {
	h.t.Helper()
	if background, ok := strings.CutSuffix(command, " &"); ok {
		if _, err := h.Start("background", "sh", "-c", "cd "+h.root+" && exec "+background); err != nil {
			h.t.Fatal(err)
		}
		return ""
	}
	for part, want := range ways {
		if strings.Contains(command, "sextant "+part) {
			var out string
			netnstest.Eventually(h.t, 15*time.Second, command+" says "+want, func() (err error) {
				if out, err = h.Sh(h.ctx, "cd "+h.root+" && "+command); err == nil && !strings.Contains(out, want) {
					err = errors.New(out)
				}
				return err
			})
			return out
		}
	}
	out, err := h.Sh(h.ctx, "cd "+h.root+" && "+command)
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

// TestReadme: what the README tells to type works as it says, in the order in
// which it says so.
func TestReadme(t *testing.T) { follow(t, "readme", "../README.md") }

// TestGuide: so does the guide.
func TestGuide(t *testing.T) { follow(t, "guide", "../docs/guide/first-network.md") }

// TestGuideUplinks: and its part about uplinks, on a host whose only link is
// not one.
func TestGuideUplinks(t *testing.T) { follow(t, "uplinks", "../docs/guide/uplinks.md") }

// follow runs every command of a document but make's, which are tests of their
// own.
func follow(t *testing.T, name, path string) {
	t.Parallel()
	h := newHost(t, name)
	done := 0
	for _, b := range blocks(t, path) {
		if b.lang != "sh" {
			continue
		}
		for _, command := range b.commands() {
			if strings.HasPrefix(command, "make ") {
				continue
			}
			out := h.do(command)
			t.Logf("$ %s\n%s", command, out)
			done++
		}
	}
	if done < 5 {
		t.Errorf("%s has %d commands only", path, done)
	}
	if left := h.do("ip -o link; nft list ruleset; ip netns"); strings.Contains(left, "sextant") {
		t.Errorf("at the end of %s something of Sextant's is left:\n%s", path, left)
	}
}

// TestContributing: from a clone to a green lab it is four commands.
func TestContributing(t *testing.T) {
	first := blocks(t, "../CONTRIBUTING.md")[0].commands()
	if len(first) != 4 || !strings.HasPrefix(first[0], "git clone ") || first[2] != "make demo" || first[3] != "make test" {
		t.Errorf("the first commands of CONTRIBUTING.md are %q", first)
	}
}

// run runs a command of the machine itself.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}
