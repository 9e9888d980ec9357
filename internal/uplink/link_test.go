package uplink

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/vnet"
)

// TestCannotListen: what keeps us from listening is told, once, but not that a
// link is gone, of which we are about to be told ourselves.
func TestCannotListen(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string // part of the note; "": none
	}{
		{unix.EPERM, "cannot listen on br0: socket: operation not permitted"},
		{unix.ENODEV, ""},
	} {
		t.Run(c.err.Error(), func(t *testing.T) {
			h := newHands()
			l := New(Config{Clock: h.clock, InNS: func(func() error) error { return os.NewSyscallError("socket", c.err) }})
			l.ctx = t.Context()
			l.Set([]Link{{Name: "br0", Index: 7, MAC: vnet.MAC{2, 0, 0, 0, 0, 1}, Up: true}})
			for range 5 {
				l.work(h.Instant)
				h.pass(2 * time.Second)
			}
			var notes []string
			for _, n := range l.tell.Notes {
				notes = append(notes, n.Text)
			}
			problem := l.Facts("br0").Problem
			if c.want == "" && (len(notes) > 0 || problem != "") || c.want != "" && (fmt.Sprint(notes) != "["+problem+"]" || !strings.Contains(problem, c.want)) {
				t.Errorf("notes %q, problem %q, want %q", notes, problem, c.want)
			}
		})
	}
}

// TestNoSuchLink: that is what the kernel says of a link that is gone.
func TestNoSuchLink(t *testing.T) {
	w := newWorld(t)
	w.link.Index += 1000
	w.start()
	w.traced("listening on an uplink link=up0 err=bind: no such device")
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.notes) > 0 {
		t.Errorf("notes %q", w.notes)
	}
}
