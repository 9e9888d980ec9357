package uplink

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/sextant-net/sextant/lab/topo"
)

// follow starts a program on the host; what it returns says what it printed.
func (w *world) follow(name string, args ...string) (*topo.Proc, func() []string) {
	w.t.Helper()
	w.logs++
	name += strconv.Itoa(w.logs)
	p, err := w.host.Start(name, args...)
	w.ok(err)
	file := filepath.Join(w.host.Dir(), name+".log")
	return p, func() []string {
		text, err := os.ReadFile(file)
		w.ok(err)
		return strings.Split(strings.TrimSpace(string(text)), "\n")
	}
}

// watch follows the host's own connectivity over a link: none of its default
// routes there goes, if only for a moment, and no packet of its own is lost.
// What it returns ends that and judges; a test that changes the link itself
// watches before and after.
func (w *world) watch(link string, to ...string) (done func(what string)) {
	w.t.Helper()
	monitor, routes := w.follow("routes", "ip", "monitor", "route")
	var pings []func() string
	for _, a := range to {
		pings = append(pings, w.ping(a))
	}
	return func(what string) {
		w.t.Helper()
		for _, end := range pings {
			if lost := end(); lost != "" {
				w.t.Errorf("%s: the host's own packets: %s", what, lost)
			}
		}
		_ = monitor.Stop()
		for _, line := range routes() {
			if strings.HasPrefix(line, "Deleted") && strings.Contains(line, "default") && strings.Contains(line, "dev "+link) {
				w.t.Errorf("%s: the host lost its route: %s", what, line)
			}
		}
	}
}

// ping speaks to somebody five times a second; what it returns ends that and
// says what was lost, but for the last packet, which may be on its way.
func (w *world) ping(to string) func() string {
	w.t.Helper()
	p, lines := w.follow("ping", "ping", "-n", "-i", "0.2", to)
	return func() string {
		w.t.Helper()
		w.ok(p.Signal(syscall.SIGINT))
		_ = p.Wait(w.ctx)
		all := lines()
		for _, line := range all {
			var sent, got int
			if n, _ := fmt.Sscanf(line, "%d packets transmitted, %d received", &sent, &got); n == 2 {
				if sent-got > 1 || got == 0 {
					return line
				}
				return ""
			}
		}
		return strings.Join(all[max(0, len(all)-5):], "\n")
	}
}
