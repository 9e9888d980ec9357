package uplink

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/sextant-net/sextant/lab/topo"
)

// What is promised of renumbering.
const (
	renumbering = 5 * time.Second // from the agent's knowing a prefix to every guest's having an address
	reset       = time.Second     // from a prefix's end to that of connections over it
)

// network is how a network fares, as `sextant network show` says.
type network struct {
	Status struct {
		State    string
		Mode4    string
		Mode6    string
		Why6     string
		Gateways []netip.Prefix
		Bridge   string
		Problems []struct{ Field, Message, Hint string }
	}
}

// stands waits until the network stands on an IPv6 rung, and says why with
// those words.
func (w *world) stands(name, rung string, why ...string) network {
	w.t.Helper()
	var n network
	w.eventually(patience, name+" stands on "+rung, func() error {
		n = network{}
		if err := w.json(&n, "sextant network show "+name); err != nil {
			return err
		}
		for _, word := range append(why, rung) {
			if n.Status.Mode6 != rung || !strings.Contains(n.Status.Why6, word) {
				return fmt.Errorf("it stands on %s (want %s): %q (want %q)", n.Status.Mode6, rung, n.Status.Why6, word)
			}
		}
		return nil
	})
	return n
}

// holds waits until the host holds a prefix for a network, within a larger
// one, in that state, and returns it.
func (w *world) holds(name string, within netip.Prefix, state string) netip.Prefix {
	w.t.Helper()
	var found netip.Prefix
	w.eventually(patience, fmt.Sprintf("%s holds a prefix of %s that is %s", name, within, state), func() error {
		var list []struct {
			Network, State string
			Prefix         netip.Prefix
		}
		if err := w.json(&list, "sextant prefix list"); err != nil {
			return err
		}
		for _, p := range list {
			if p.Network == name && p.State == state && p.Prefix.Bits() >= within.Bits() && within.Contains(p.Prefix.Addr()) {
				found = p.Prefix
				return nil
			}
		}
		return fmt.Errorf("%+v", list)
	})
	return found
}

// usable waits no longer than is promised until the guest has an address in
// the prefix, speaks with it, and is seen by it.
func (w *world) usable(n *topo.Node, p netip.Prefix) netip.Addr {
	w.t.Helper()
	w.eventually(renumbering, fmt.Sprintf("%s has an address in %s", n.Name, p), func() error {
		if a := w.in(n, p); !a.IsValid() {
			return fmt.Errorf("it has %v", w.own(n))
		}
		return nil
	})
	w.seenIn(n, p)
	return w.in(n, p)
}

// seenIn waits until the internet sees the guest by an address of the prefix.
func (w *world) seenIn(n *topo.Node, p netip.Prefix) {
	w.t.Helper()
	to := topo.Server6
	if p.Addr().Is4() {
		to = topo.Server4
	}
	w.eventually(patience, fmt.Sprintf("%s is seen in %s", n.Name, p), func() error {
		out, err := n.Sh(w.ctx, fmt.Sprintf("nc -w 2 %s 80 </dev/null", to))
		if a, bad := netip.ParseAddr(strings.TrimSpace(out)); err != nil || bad != nil || !p.Contains(a) {
			return fmt.Errorf("seen as %q: %w", out, err)
		}
		return nil
	})
}

// unseen tests that the internet does not answer the guest.
func (w *world) unseen(n *topo.Node, to netip.Addr) {
	w.t.Helper()
	if out, err := n.Sh(w.ctx, fmt.Sprintf("nc -w 1 %s 80 </dev/null", to)); err == nil && out != "" {
		w.t.Errorf("%s reaches %s, and is seen as %s", n.Name, to, out)
	}
}

// reaches waits until one node gets an answer of an address.
func (w *world) reaches(n *topo.Node, to string) {
	w.t.Helper()
	w.eventually(patience, n.Name+" reaches "+to, func() error {
		_, err := n.Sh(w.ctx, "ping -n -c 1 -W 1 "+to)
		return err
	})
}

// held is a connection that is talked on all the time.
type held struct {
	w *world
	*topo.Proc
	what string
}

// hold has the guest hold a connection to somebody's echo, from an address if
// one is given.
func (w *world) hold(n *topo.Node, to netip.Addr) held {
	w.t.Helper()
	w.logs++
	name := fmt.Sprintf("hold%d", w.logs)
	p, err := n.Start(name, peerBinary, "hold", netip.AddrPortFrom(to, 7).String())
	w.ok(err)
	h := held{w, p, n.Name + "'s connection to " + to.String()}
	w.eventually(patience, h.what, func() error {
		if _, err := n.Sh(w.ctx, fmt.Sprintf("ss -Htn state established dst '[%s]' | grep -q .", to)); err != nil {
			return err
		}
		return nil
	})
	return h
}

// ended reports whether the connection ended within a time.
func (h held) ended(within time.Duration) bool {
	ctx, cancel := context.WithTimeout(h.w.ctx, within)
	defer cancel()
	_ = h.Wait(ctx)
	return ctx.Err() == nil
}

// lives tests that the connection never broke, and ends it.
func (h held) lives(when string) {
	h.w.t.Helper()
	if h.ended(time.Millisecond) {
		h.w.t.Errorf("%s: %s broke", when, h.what)
		return
	}
	_ = h.Signal(syscall.SIGTERM)
	if err := h.Wait(h.w.ctx); err != nil {
		h.w.t.Errorf("%s: %s broke: %v", when, h.what, err)
	}
}

// breaks waits for the connection's end, which must come at once and not by a
// time-out.
func (h held) breaks(when string) {
	h.w.t.Helper()
	if !h.ended(5 * reset) {
		h.w.t.Errorf("%s: %s hangs: a reset was promised", when, h.what)
	}
}

// told waits until the events have one with all of these words for each of the
// lines.
func (w *world) told(lines ...string) {
	w.t.Helper()
	w.eventually(patience, "the events tell the story", func() error {
		all := w.events()
		for _, words := range lines {
			if len(grep(all, strings.Fields(words)...)) == 0 {
				return fmt.Errorf("no event with %q:\n%s", words, strings.Join(all, "\n"))
			}
		}
		return nil
	})
}

// events are all that were recorded, a line each.
func (w *world) events() []string {
	w.t.Helper()
	var list []struct {
		Time          time.Time
		What, Message string
	}
	w.ok(w.json(&list, "sextant events"))
	var lines []string
	for _, e := range list {
		lines = append(lines, e.Time.Format("15:04:05.000 ")+e.What+": "+e.Message)
	}
	return lines
}

// count is how many events have all of the words.
func (w *world) count(words string) int {
	w.t.Helper()
	return len(grep(w.events(), strings.Fields(words)...))
}

// grep keeps the lines that contain all of the words.
func grep(lines []string, words ...string) []string {
	var out []string
next:
	for _, line := range lines {
		for _, word := range words {
			if !strings.Contains(line, word) {
				continue next
			}
		}
		out = append(out, line)
	}
	return out
}
