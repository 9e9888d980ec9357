package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// TestDemo runs what `make demo` runs, in its variants. What it prints is shown
// if it fails.
func TestDemo(t *testing.T) {
	for name, o := range map[string]options{
		"embedded": {store: "embedded"},
		"etcd":     {store: "etcd", noVM: true},
		"no-ipv4":  {store: "embedded", noVM: true, noIPv4: true},
		"uplink":   {store: "embedded", uplink: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			play(t, o)
		})
	}
}

// TestDemoOnStockKernel is the golden scenario: the same on the distribution's
// kernel, less the machine within the machine.
func TestDemoOnStockKernel(t *testing.T) {
	netnstest.NeedVM(t)
	play(t, options{store: "embedded", noVM: true})
}

var demos atomic.Int64

func play(t *testing.T, o options) {
	t.Helper()
	if testing.Short() {
		t.Skip("the lab is not for short runs")
	}
	netnstest.NeedRoot(t)
	netnstest.NeedCommands(t, "ip", "nsenter", "radvd", "dnsmasq", "dig", "nc", "dhclient", "dhcpcd", "kea-dhcp6")
	o.prefix = fmt.Sprintf("sxt-demotest%d-%d-", os.Getpid(), demos.Add(1))
	var out bytes.Buffer
	o.out = &out
	o.bin = filepath.Join("..", "..", "bin")
	if _, err := os.Stat(filepath.Join(o.bin, "sextant")); err != nil {
		netnstest.Skip(t, "needs bin/sextant: run `make build`")
	}
	if peer, err := filepath.Abs(filepath.Join(o.bin, "peer")); err == nil && netnstest.InVM() {
		o.peer = peer
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	if err := show(ctx, o); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
}
