// Command bench measures Sextant beside its peers: how long networks take to
// serve their guests and what they cost, how many ports a client can make, how
// soon everything works again after a crash. Each round runs every candidate
// once, on a fresh host in network namespaces of its own; the figures are
// medians with their spread. Absolute figures are the machine's: the ratios of
// one run are what counts.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		os.Exit(64)
	default:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// errUsage marks a bad command line; what is wrong has been printed.
var errUsage = errors.New("usage")

// options are what the command line says.
type options struct {
	parts   []string
	rounds  int
	sizes   []int // numbers of networks to compare with the peer
	large   int   // networks of the large parts
	ports   int   // ports of the parts that make ports
	clients int   // new clients of the open range
	flight  int   // exchanges at a time
	peers   bool  // run the peers, too
	binary  string
	dir     string // where the candidates keep their state
	logs    string // directory to keep the candidates' logs in
	debug   bool   // have Sextant log in detail
	write   bool
	page    string
}

// part is one section of the page.
type part struct {
	name  string
	about string // what it measures
	run   func(context.Context, *bench) (section, error)
}

// allParts are the parts in the page's order.
func allParts() []part {
	return []part{
		{"networks", "define and start networks until they serve, against libvirtd", runNetworks},
		{"scale", "a thousand networks, and the memory they take", runScale},
		{"ports", "ports made through the API by one client", runPorts},
		{"known", "addresses known beforehand, against Kea and dnsmasq", runKnown},
		{"open", "addresses of an open range, durable before the reply, against Kea and dnsmasq", runOpen},
		{"routers", "router discovery, against radvd", runRouters},
		{"leases", "a hundred thousand leases in a thousand networks", runLeases},
		{"restart", "kill all processes and start again", runRestart},
		{"uplink", "another uplink, until guests' packets leave by it", runUplink},
		{"idle", "processor time with nothing to do", runIdle},
		{"ndproxy", "guests in the uplink's prefix, against ndppd", runProxy},
	}
}

// bench is one run of the program.
type bench struct {
	options
	lab *lab
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	var names []string
	for _, p := range allParts() {
		names = append(names, p.name)
	}
	only := f.String("run", strings.Join(names, ","), "parts to run")
	sizes := f.String("sizes", "1,10,100", "numbers of networks to compare with the peer")
	f.IntVar(&o.rounds, "rounds", 3, "interleaved rounds")
	f.IntVar(&o.large, "large", 1000, "networks of the parts scale, leases and restart")
	f.IntVar(&o.ports, "ports", 2000, "ports of the parts ports and restart")
	f.IntVar(&o.clients, "clients", 20000, "clients for each load on an open range")
	f.IntVar(&o.flight, "flight", 128, "exchanges at a time")
	f.BoolVar(&o.peers, "peers", true, "measure the peers, too")
	f.StringVar(&o.binary, "bin", "bin/sextant", "the program to measure")
	f.StringVar(&o.dir, "dir", "/var/tmp", "directory for the candidates' state, on the disk that is to be measured")
	f.StringVar(&o.logs, "logs", "", "directory in which to keep the candidates' logs")
	f.BoolVar(&o.debug, "debug", false, "have Sextant log in detail, which takes time")
	f.BoolVar(&o.write, "write", false, "write the figures of the parts that ran to the page")
	f.StringVar(&o.page, "page", "docs/benchmarks.md", "the page")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, errUsage
	}
	o.parts = strings.Split(*only, ",")
	var err error
	if o.sizes, err = parseSizes(*sizes); err == nil {
		err = o.check(names, f.Args())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return o, errUsage
	}
	o.binary, err = filepath.Abs(o.binary)
	return o, err
}

func parseSizes(list string) ([]int, error) {
	var sizes []int
	for s := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxNetworks {
			return nil, fmt.Errorf("-sizes: %q is no number of networks from 1 to %d", s, maxNetworks)
		}
		sizes = append(sizes, n)
	}
	return sizes, nil
}

// check returns what is wrong with the options.
func (o *options) check(names, rest []string) error {
	for _, p := range o.parts {
		if !slices.Contains(names, p) {
			return fmt.Errorf("-run: there is no part %q; there are %s", p, strings.Join(names, ", "))
		}
	}
	switch {
	case len(rest) > 0:
		return fmt.Errorf("it takes no %q", rest[0])
	case o.rounds < 1:
		return errors.New("-rounds: at least 1")
	case o.large < 1 || o.large > maxNetworks:
		return fmt.Errorf("-large: from 1 to %d", maxNetworks)
	case o.ports < o.large || o.ports > maxPorts:
		return fmt.Errorf("-ports: from -large, one for each network, to %d", maxPorts)
	}
	return nil
}

func run(ctx context.Context, args []string) (err error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return errors.New("it needs root to make network namespaces")
	}
	if _, err := os.Stat(o.binary); err != nil {
		return fmt.Errorf("%w: run make build first", err)
	}
	l, err := newLab(o.dir, o.logs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	b := &bench{options: o, lab: l}
	var done []section
	for _, p := range allParts() {
		if !slices.Contains(o.parts, p.name) {
			continue
		}
		say("== %s: %s", p.name, p.about)
		begun := time.Now()
		s, err := p.run(ctx, b)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		s.part = p.name
		fmt.Println(s.text())
		say("== %s took %s", p.name, time.Since(begun).Round(time.Second))
		done = append(done, s)
	}
	if !o.write {
		return nil
	}
	if err := writePage(o.page, done); err != nil {
		return err
	}
	say("written to %s", o.page)
	return nil
}

// say tells the progress.
func say(format string, a ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", a...)
}
