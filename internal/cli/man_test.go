package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

const manSources = "../../docs/man"

var (
	keyCells = regexp.MustCompile("(?m)^\\| ((?:`[^`]+`(?:, )?)+) \\|")
	quoted   = regexp.MustCompile("`([^`]+)`")
)

// documented returns the keys of the section Keys of a noun's page.
func documented(t *testing.T, noun string) []string {
	t.Helper()
	src, err := os.ReadFile(filepath.Join(manSources, "sextant-"+noun+".md"))
	if err != nil {
		t.Fatal(err)
	}
	_, keys, _ := strings.Cut(string(src), "\n## Keys\n")
	keys, _, _ = strings.Cut(keys, "\n## ")
	var out []string
	for _, row := range keyCells.FindAllStringSubmatch(keys, -1) {
		for _, k := range quoted.FindAllStringSubmatch(row[1], -1) {
			out = append(out, k[1])
		}
	}
	return out
}

// TestManNamesEveryKey: the manual has every key that can be set, and no
// other.
func TestManNamesEveryKey(t *testing.T) {
	for i := range nouns {
		n := &nouns[i]
		keys := documented(t, n.name)
		if n.readOnly {
			var shown []string
			for _, f := range n.keys().fields {
				shown = append(shown, f.Path)
			}
			for _, k := range keys {
				if !slices.ContainsFunc(shown, func(s string) bool { return s == k || strings.HasPrefix(s, k+".") }) {
					t.Errorf("%s: the manual has %s, which is not shown", n.name, k)
				}
			}
			continue
		}
		for _, k := range n.written().names() {
			if !slices.Contains(keys, k) {
				t.Errorf("%s: the manual lacks %s", n.name, k)
			}
		}
		for _, k := range keys {
			if !slices.Contains(n.written().names(), k) {
				t.Errorf("%s: the manual has %s, which cannot be set", n.name, k)
			}
		}
	}
}

// TestManExamplesParse: every example is a command that exists, with keys that
// exist.
func TestManExamplesParse(t *testing.T) {
	pages, err := filepath.Glob(manSources + "/*.md")
	if err != nil || len(pages) < 10 {
		t.Fatal(pages, err)
	}
	for _, page := range pages {
		src, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		_, examples, _ := strings.Cut(string(src), "## Examples\n\n```\n")
		examples, _, _ = strings.Cut(examples, "```")
		for _, line := range strings.Split(strings.TrimSpace(examples), "\n") {
			if err := parseExample(line); err != nil {
				t.Errorf("%s: %s: %v", page, line, err)
			}
		}
	}
}

func parseExample(line string) error {
	words := strings.Fields(line)
	cmd, rest, err := Command(Config{}).Find(words[1:])
	if err != nil || words[0] != "sextant" || !cmd.HasParent() {
		return fmt.Errorf("no such command: %w", err)
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	for i := range nouns {
		if nouns[i].name != cmd.Parent().Name() {
			continue
		}
		for _, arg := range cmd.Flags().Args() {
			key, _, ok := strings.Cut(arg, "=")
			if !ok || key == "network" || slices.Contains(nouns[i].filters, key) || cmd.Name() == "plug" && slices.Contains(plugKeys, key) {
				continue
			}
			if cmd.Name() == "list" {
				_, err = nouns[i].keys().shown(key)
			} else {
				_, err = nouns[i].written().parse(arg)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// TestWriteMan: the pages are such that man(1) formats them without a
// complaint.
func TestWriteMan(t *testing.T) {
	dir := t.TempDir()
	serve := &cobra.Command{Use: "serve", Short: "Run the daemon", Run: func(*cobra.Command, []string) {}}
	serve.Flags().String("state-dir", "/var/lib/sextant", "where the state is")
	if err := WriteMan(Command(Config{Extra: []*cobra.Command{serve}}), manSources, dir); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "sextant-network.1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{".TH SEXTANT-NETWORK 1", ".SH COMMANDS", "network create NAME", "--no-wait", "nat66"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("sextant-network.1 lacks %q", want)
		}
	}
	top, err := os.ReadFile(filepath.Join(dir, "sextant.1"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(top), "--state-dir") || !strings.Contains(string(top), "why ADDRESS") {
		t.Errorf("sextant.1 lacks commands:\n%s", top)
	}
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Skip("groff is not installed: the pages are not formatted")
	}
	pages, _ := filepath.Glob(dir + "/*.1")
	for _, p := range pages {
		out, err := exec.Command(groff, "-man", "-Kutf8", "-t", "-Tutf8", "-ww", "-z", p).CombinedOutput()
		if err != nil || len(out) > 0 {
			t.Errorf("%s: %v\n%s", p, err, out)
		}
	}
}
