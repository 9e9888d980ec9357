// Command bench measures Sextant beside its peers, each on a host of its own
// in a network namespace, in interleaved rounds, and writes the medians and
// their spread to docs/benchmarks.md. Absolute figures are the machine's;
// ratios of one run are what counts.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// prefix marks everything that a benchmark makes.
const prefix = "sxt-bench-"

func main() {
	var (
		rounds = flag.Int("rounds", 3, "interleaved rounds")
		sizes  = flag.String("sizes", "1,10,100", "numbers of networks to compare with")
		large  = flag.Int("large", 1000, "networks in the large runs, 0 to leave them out")
		ports  = flag.Int("ports", 2000, "ports to make")
		only   = flag.String("only", "", "compare only this subject: sextant or libvirtd")
		out    = flag.String("o", "docs/benchmarks.md", "file to write")
		bin    = flag.String("bin", "bin", "directory of the sextant binary")
	)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := &bench{rounds: *rounds, large: *large, ports: *ports, only: *only}
	var err error
	if b.bin, err = filepath.Abs(*bin); err == nil {
		b.sizes, err = parseSizes(*sizes)
	}
	if err == nil {
		err = b.run(ctx)
	}
	if err == nil {
		err = os.WriteFile(*out, []byte(b.page()), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	fmt.Println("written to", *out)
}

func parseSizes(list string) ([]int, error) {
	var sizes []int
	for s := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-sizes: %q is no number of networks", s)
		}
		sizes = append(sizes, n)
	}
	return sizes, nil
}

// bench is one run of everything.
type bench struct {
	rounds, large, ports int
	sizes                []int
	bin                  string
	only                 string // subject

	networks []sample // of every subject and size
	figures  []figure
	fsync    time.Duration // median of one fdatasync
}

// run measures in rounds: every subject once, then all again, so that a
// machine that gets busy hurts all alike.
func (b *bench) run(ctx context.Context) error {
	var err error
	if b.fsync, err = fsyncTime(100); err != nil {
		return err
	}
	for round := range b.rounds {
		for _, n := range b.sizes {
			for _, s := range []subject{&sextant{bin: b.bin}, &libvirt{}} {
				if b.only != "" && b.only != s.name() {
					continue
				}
				fmt.Fprintf(os.Stderr, "round %d: %s, %d networks\n", round+1, s.name(), n)
				m, err := measureNetworks(ctx, s, n)
				if err != nil {
					return fmt.Errorf("%s, %d networks: %w", s.name(), n, err)
				}
				b.networks = append(b.networks, m)
			}
		}
	}
	if b.large > 0 {
		for round := range b.rounds {
			fmt.Fprintf(os.Stderr, "round %d: large\n", round+1)
			f, err := measureLarge(ctx, &sextant{bin: b.bin}, b.large, b.ports)
			if err != nil {
				return fmt.Errorf("large: %w", err)
			}
			b.figures = append(b.figures, f...)
		}
	}
	return nil
}
