// Command demo shows the whole product on real guests, without touching the
// machine's own network: in private namespaces it makes an upstream router and
// a host that runs the daemon, plugs guests into two networks, and checks what
// a user relies on. It prints the commands that a user would type, and ends
// with 0 only if every check held.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sextant-net/sextant/lab/topo"
)

// demoPrefix marks everything that a demo makes.
const demoPrefix = "sxt-demo-"

// options are the variants.
type options struct {
	prefix string // marks everything that this demo makes
	store  string // "embedded" or "etcd"
	noIPv4 bool   // the host has none
	noVM   bool
	uplink bool   // show how networks follow the provider, in place of what guests have
	bin    string // directory of the sextant binary
	peer   string // the lab's peer, built if empty
	out    io.Writer
}

func main() {
	o := options{prefix: demoPrefix, out: os.Stdout}
	down := flag.Bool("down", false, "only remove what an earlier demo left behind")
	flag.StringVar(&o.store, "store", "embedded", "embedded, or etcd: a cluster of its own beside the daemon")
	flag.BoolVar(&o.noIPv4, "no-ipv4", false, "on a host without any IPv4")
	flag.BoolVar(&o.noVM, "no-vm", false, "without the virtual machine")
	flag.BoolVar(&o.uplink, "uplink", false, "how networks follow their provider: prefixes delegated, changed, lost, shared")
	flag.StringVar(&o.bin, "bin", "bin", "directory of the sextant binary")
	timeout := flag.Duration("timeout", 5*time.Minute, "for all of it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if *down {
		if err := topo.Down(o.prefix); err != nil {
			fail(err)
		}
		_ = os.Remove(lockFile(o.prefix))
		return
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	if err := show(ctx, o); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "demo:", err)
	os.Exit(1)
}

// errFailed says that not all checks held.
var errFailed = errors.New("not all checks held")

// show makes the world, runs the demo in it and removes it again, however the
// demo ends.
func show(ctx context.Context, o options) (err error) {
	if o.store != "embedded" && o.store != "etcd" {
		return fmt.Errorf("-store %s: say embedded or etcd", o.store)
	}
	if o.bin, err = filepath.Abs(o.bin); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(o.bin, "sextant")); err != nil {
		return fmt.Errorf("%w: run `make build`", err)
	}
	unlock, err := lock(o.prefix)
	if err != nil {
		return err
	}
	defer unlock()
	if err := topo.Down(o.prefix); err != nil {
		return fmt.Errorf("remove what an earlier demo left: %w", err)
	}
	lab, err := topo.New(o.prefix)
	if err != nil {
		return err
	}
	d := &demo{options: o, lab: lab, begun: time.Now()}
	defer func() {
		if err != nil && ctx.Err() == nil {
			fmt.Fprintf(o.out, "\n%s\n", lab.Logs(40))
		}
		if closeErr := lab.Close(); closeErr != nil {
			err = errors.Join(err, fmt.Errorf("remove the demo: %w", closeErr))
		}
		if ctx.Err() != nil {
			err = fmt.Errorf("interrupted: %w; everything was removed", context.Cause(ctx))
		}
	}()
	return d.run(ctx)
}

func lockFile(prefix string) string {
	return filepath.Join(os.TempDir(), prefix[:len(prefix)-1]+".lock")
}

// lock keeps two demos apart.
func lock(prefix string) (func(), error) {
	f, err := os.OpenFile(lockFile(prefix), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another demo is running: %w", err)
	}
	return func() { os.Remove(f.Name()); f.Close() }, nil
}
