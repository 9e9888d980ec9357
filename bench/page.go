package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"time"
)

// section is what a part writes to the page.
type section struct {
	part    string
	title   string
	targets []string // a line each: the target, the figure, the verdict
	tables  []table  // ratios first
	how     string   // how it was measured
}

type table struct {
	head []string
	rows [][]string
}

// text is the section in Markdown.
func (s section) text() string {
	var w strings.Builder
	fmt.Fprintf(&w, "## %s\n\n", s.title)
	for _, t := range s.targets {
		fmt.Fprintf(&w, "- %s\n", t)
	}
	for _, t := range s.tables {
		fmt.Fprintf(&w, "\n| %s |\n|%s\n", strings.Join(t.head, " | "), strings.Repeat(" --- |", len(t.head)))
		for _, r := range t.rows {
			fmt.Fprintf(&w, "| %s |\n", strings.Join(r, " | "))
		}
	}
	fmt.Fprintf(&w, "\n%s Measured on %s: %s.\n", s.how, time.Now().Format("2 January 2006"), machine())
	return w.String()
}

// machine describes what was measured on.
func machine() string {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		release = []byte("of unknown release")
	}
	return fmt.Sprintf("%d processors (%s), Linux %s", runtime.NumCPU(), runtime.GOARCH, strings.TrimSpace(string(release)))
}

const pageHead = "# Benchmarks\n\n" +
	"Figures of `make bench`, which runs `go run ./bench`. Each part runs in interleaved rounds, every candidate on a\n" +
	"fresh host in network namespaces; a figure is the median, with the least and the most in brackets. Absolute figures\n" +
	"are the machine's. The ratios are of one run, taken round by round, and are what to read.\n"

// marker begins a part's section in the page, so that another run can replace
// it.
func marker(part string) string { return "<!-- part " + part + " -->\n" }

// writePage replaces the sections of the parts that ran and keeps the others.
func writePage(path string, done []section) error {
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	texts := splitPage(string(old))
	for _, s := range done {
		texts[s.part] = s.text()
	}
	return os.WriteFile(path, []byte(joinPage(texts)), 0o644)
}

// joinPage is the whole page of the parts' texts.
func joinPage(texts map[string]string) string {
	var w strings.Builder
	w.WriteString(pageHead)
	for _, p := range allParts() {
		if t := texts[p.name]; t != "" {
			w.WriteString("\n" + marker(p.name) + strings.TrimSpace(t) + "\n")
		}
	}
	return w.String()
}

// splitPage finds the sections by their markers.
func splitPage(page string) map[string]string {
	texts := map[string]string{}
	for _, p := range allParts() {
		_, text, found := strings.Cut(page, marker(p.name))
		if !found {
			continue
		}
		text, _, _ = strings.Cut(text, "<!-- part ")
		texts[p.name] = text
	}
	return texts
}
