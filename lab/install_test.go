package lab

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// TestInstall: make install puts everything where a distribution expects it,
// and make uninstall takes all of it away again.
func TestInstall(t *testing.T) {
	netnstest.NeedCommands(t, "make")
	binary, err := filepath.Abs("../bin/sextant")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(binary); err != nil {
		netnstest.Skip(t, "needs bin/sextant: run `make build`")
	}
	root := t.TempDir()
	args := []string{"-s", "-C", "..", "DESTDIR=" + root, "PREFIX=/usr"}
	run(t, "make", append(args, "install")...)
	got := files(t, root)
	pages, err := filepath.Glob("../docs/man/*.md")
	if err != nil || len(pages) < 10 {
		t.Fatal(pages, err)
	}
	want := []string{
		"usr/bin/sextant", "usr/lib/systemd/system/sextant.service", "usr/lib/systemd/system/sextant.socket",
		"usr/lib/sysusers.d/sextant.conf", "usr/share/bash-completion/completions/sextant",
		"usr/share/fish/vendor_completions.d/sextant.fish", "usr/share/zsh/site-functions/_sextant",
	}
	for _, p := range pages {
		want = append(want, "usr/share/man/man1/"+strings.TrimSuffix(filepath.Base(p), ".md")+".1")
	}
	for _, name := range []string{"dhcpcd-exit-hook", "networkd-prefixes", "networkmanager-dispatcher"} {
		want = append(want, "usr/share/sextant/hooks/"+name)
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("installed\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for name, words := range map[string][]string{
		"usr/lib/systemd/system/sextant.service":        {"Type=notify\n", "ExecStart=/usr/bin/sextant serve\n", "KillMode=process\n"},
		"usr/lib/systemd/system/sextant.socket":         {"ListenStream=/run/sextant/api.sock\n", "SocketGroup=sextant\n", "SocketMode=0660\n"},
		"usr/lib/sysusers.d/sextant.conf":               {"g sextant -"},
		"usr/share/bash-completion/completions/sextant": {"__start_sextant"},
		"usr/share/zsh/site-functions/_sextant":         {"#compdef sextant"},
		"usr/share/man/man1/sextant.1":                  {".TH SEXTANT 1", "cleanup"},
		"usr/share/man/man1/sextant-network.1":          {".TH SEXTANT-NETWORK 1", "nat66"},
		"usr/share/sextant/hooks/networkd-prefixes":     {"#!/bin/sh\n", "sextant uplink set"},
	} {
		for _, w := range words {
			if !strings.Contains(read(name), w) {
				t.Errorf("%s lacks %q", name, w)
			}
		}
	}
	if out := run(t, filepath.Join(root, "usr/bin/sextant"), "version"); !strings.HasPrefix(out, "sextant ") {
		t.Errorf("the installed binary says %q", out)
	}
	t.Run("units", func(t *testing.T) { verifyUnits(t, filepath.Join(root, "usr/lib/systemd/system"), binary) })
	run(t, "make", append(args, "uninstall")...)
	if left := files(t, root); len(left) > 0 {
		t.Errorf("make uninstall left %v", left)
	}
}

// verifyUnits asks systemd whether it understands the units.
func verifyUnits(t *testing.T, dir, binary string) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		netnstest.Skip(t, "needs systemd-analyze")
	}
	at := t.TempDir()
	var units []string
	for _, name := range []string{"sextant.service", "sextant.socket"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		// systemd looks whether the binary is there.
		there := strings.ReplaceAll(string(text), "/usr/bin/sextant", binary)
		units = append(units, filepath.Join(at, name))
		if err := os.WriteFile(units[len(units)-1], []byte(there), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command("systemd-analyze", append([]string{"verify", "--man=no"}, units...)...).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "sextant") { // other units of the machine have their own faults
			t.Errorf("systemd-analyze verify: %s", line)
		}
	}
	if err != nil && len(out) == 0 {
		t.Error(err)
	}
}

// files lists the files below a directory.
func files(t *testing.T, root string) []string {
	t.Helper()
	var out []string
	err := fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}
