// Command vmtest runs tests on the distribution's own kernel: it compiles the
// packages whose tests ask for it (netnstest.NeedVM, netnstest.AlsoVM), boots
// one virtual machine that runs them all, and prints what go test would print.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/sextant-net/sextant/lab/vm"
)

func main() {
	run := flag.String("run", "", "only tests whose name this regular expression finds")
	verbose := flag.Bool("v", false, "print everything")
	timeout := flag.Duration("timeout", 12*time.Minute, "for the whole machine")
	shell := flag.String("sh", "", "run this shell command instead of tests and exit with its status")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	if *shell != "" {
		code, err := vm.Run(ctx, vm.Command{Script: *shell, Output: os.Stdout, Debug: *verbose})
		if err != nil {
			fmt.Fprintln(os.Stderr, "vmtest:", err)
			code = 1
		}
		os.Exit(code)
	}
	if err := test(ctx, *run, *verbose); err != nil {
		fmt.Fprintln(os.Stderr, "vmtest:", err)
		os.Exit(1)
	}
}

// test runs the tests of the module in the working directory.
func test(ctx context.Context, run string, verbose bool) error {
	want, err := regexp.Compile(run)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	suites, err := find(".", want)
	if err != nil {
		return err
	}
	if len(suites) == 0 {
		return errors.New("no test asks for a virtual machine")
	}
	if os.Geteuid() != 0 {
		return errors.New("the virtual machine shows the host's files to its tests, which only root may read: run as root")
	}
	dir, err := filepath.Abs("bin/vmtest")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, s := range suites {
		if err := s.compile(ctx, dir); err != nil {
			return err
		}
	}
	if err := buildPeer(ctx); err != nil {
		return err
	}
	r := &report{suites: suites, verbose: verbose, out: os.Stdout}
	script, err := script(suites, dir)
	if err != nil {
		return err
	}
	begun := time.Now()
	_, err = vm.Run(ctx, vm.Command{
		Script: script,
		Env:    []string{"IN_VM=1", "SEXTANT_NO_SKIP=1"},
		Output: r,
	})
	return errors.Join(err, r.verdict(time.Since(begun)))
}

// compile makes the suite's test binary, static: the machine has the host's
// libraries, but tests must not depend on a C compiler.
func (s *suite) compile(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-o", s.binary(dir), "./"+s.dir)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("compile tests of %s: %w", s.dir, err)
	}
	return nil
}

// buildPeer makes bin/peer, the lab's server: nothing is built inside the
// machine.
func buildPeer(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", "bin/peer", "./lab/peer")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

func (s *suite) binary(dir string) string {
	return filepath.Join(dir, strings.ReplaceAll(s.dir, "/", "_")+".test")
}

// script runs every suite; what failed is told by what they print.
func script(suites []*suite, dir string) (string, error) {
	var b strings.Builder
	b.WriteString("uname -r | sed 's/^/" + kernelMark + "/'\n")
	for _, s := range suites {
		cwd, err := filepath.Abs(s.dir)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "echo '%s%s'\ncd '%s' && '%s' -test.v -test.timeout 5m -test.run '^(%s)$'\n",
			suiteMark, s.dir, cwd, s.binary(dir), strings.Join(s.tests, "|"))
	}
	b.WriteString("exit 0\n")
	return b.String(), nil
}

// Marks in the machine's output.
const (
	suiteMark  = "@@suite "
	kernelMark = "@@kernel "
)

var _ io.Writer = (*report)(nil)
