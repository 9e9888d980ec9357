package scenario

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sextant-net/sextant/lab/topo"
)

// TestRestart: guests' connections live on and nothing of ours changes in the
// kernel when the processes are killed and come back, one by one and all.
func TestRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2*time.Minute, topo.HostConfig{})
	w.serve()
	guest := w.guest("alpha", "default")
	w.answers(guest)
	w.settled(guest)
	var held []*topo.Proc
	for i, a := range []netip.Addr{topo.Server4, topo.Server6} {
		to := netip.AddrPortFrom(a, 7).String()
		if _, err := w.up.Start("echo"+itoa(i), peerBinary, "echo", to); err != nil {
			t.Fatal(err)
		}
		w.eventually(5*time.Second, "echo on "+to, func() error {
			_, err := guest.Sh(w.ctx, fmt.Sprintf("nc -z -w 2 %s 7", a))
			return err
		})
		p, err := guest.Start("hold"+itoa(i), peerBinary, "hold", to)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, p)
	}
	links := w.follow("ip-monitor", "ip", "monitor", "link", "address", "route", "rule")
	rules := w.follow("nft-monitor", "nft", "monitor")
	for _, victims := range [][]string{{"control"}, {"agent"}, {"serve"}, {"control", "agent"}, {"serve", "control", "agent"}} {
		was := make(map[string]int)
		for _, v := range victims {
			was[v] = w.pid(v)
		}
		for _, v := range victims {
			w.kill(v)
		}
		if was["serve"] != 0 {
			_ = w.daemon.Wait(w.ctx)
			w.serve(w.flags...)
		}
		for _, v := range victims {
			w.eventually(40*time.Second, v+" is back", func() error {
				if now := w.pid(v); now == was[v] {
					return fmt.Errorf("%s is still process %d", v, now)
				}
				return nil
			})
		}
		if err := w.host.Ready(w.ctx, w.daemon); err != nil {
			t.Fatal(err)
		}
		// The network works again in full: its servers answer.
		w.eventually(10*time.Second, "DNS after "+strings.Join(victims, ", "), func() error {
			_, err := guest.Sh(w.ctx, "dig +short +time=1 +tries=1 alpha.default.internal | grep -q .")
			return err
		})
	}
	for _, p := range held {
		if err := p.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(w.ctx, 20*time.Second)
		if err := p.Wait(ctx); err != nil {
			t.Errorf("a guest's connection broke: %v", err)
		}
		cancel()
	}
	// Advertised routes of the host itself are refreshed all the time, and so is
	// its address, which is never to go.
	refreshed := func(line string) bool {
		return strings.Contains(line, " dynamic mngtmpaddr") && !strings.HasPrefix(line, "Deleted")
	}
	if lines := slices.DeleteFunc(links("proto ra", "valid_lft", "router ", "dadfailed", "expires"), refreshed); len(lines) > 0 {
		t.Errorf("links, addresses or routes changed:\n%s", strings.Join(lines, "\n"))
	}
	if lines := rules("# new generation"); len(lines) > 0 {
		t.Errorf("rules changed:\n%s", strings.Join(lines, "\n"))
	}
}
