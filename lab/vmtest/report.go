package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
)

// report reads the machine's output line by line, passes on what a reader
// wants, and remembers which tests passed.
type report struct {
	suites  []*suite
	verbose bool
	out     io.Writer

	rest    []byte
	kernel  string
	current string          // directory of the suite that runs
	passed  map[string]bool // "dir Test"
	seen    map[string]bool
}

// Write takes a piece of output.
func (r *report) Write(b []byte) (int, error) {
	r.rest = append(r.rest, b...)
	for {
		line, rest, ok := bytes.Cut(r.rest, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		r.rest = rest
		if err := r.line(strings.TrimRight(string(line), "\r")); err != nil {
			return 0, err
		}
	}
}

func (r *report) line(line string) error {
	if r.passed == nil {
		r.passed, r.seen = make(map[string]bool), make(map[string]bool)
	}
	if _, k, ok := strings.Cut(line, kernelMark); ok {
		r.kernel = k
		return nil
	}
	if dir, ok := strings.CutPrefix(line, suiteMark); ok {
		r.current = dir
		return nil
	}
	if word, rest, ok := strings.Cut(strings.TrimPrefix(line, "--- "), ": "); ok && strings.HasPrefix(line, "--- ") {
		name, _, _ := strings.Cut(rest, " ")
		r.seen[r.current+" "+name] = true
		r.passed[r.current+" "+name] = word == "PASS"
	}
	noise := strings.HasPrefix(line, "=== ") || strings.HasPrefix(strings.TrimLeft(line, " "), "--- PASS") || line == "PASS" ||
		strings.HasSuffix(line, "reboot: Restarting system")
	if noise && !r.verbose {
		return nil
	}
	_, err := fmt.Fprintln(r.out, line)
	return err
}

// verdict prints a line per suite and returns what did not pass.
func (r *report) verdict(took time.Duration) error {
	var failed []string
	for _, s := range r.suites {
		var bad []string
		for _, t := range s.tests {
			key := s.dir + " " + t
			switch {
			case !r.seen[key]:
				bad = append(bad, t+" did not end")
			case !r.passed[key]:
				bad = append(bad, t+" did not pass")
			}
		}
		word := "ok  "
		if len(bad) > 0 {
			word = "FAIL"
			failed = append(failed, bad...)
		}
		fmt.Fprintf(r.out, "%s\t%s\t(%d tests on Linux %s)\n", word, s.dir, len(s.tests), r.kernel)
	}
	fmt.Fprintf(r.out, "virtual machine: %.1fs\n", took.Seconds())
	if len(failed) > 0 {
		return fmt.Errorf("%s", strings.Join(failed, ", "))
	}
	return nil
}
