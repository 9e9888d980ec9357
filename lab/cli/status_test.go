package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// TestReady: the daemon is ready while its agent answers, and says so in
// status and /readyz; the processes' death is noticed and mended.
func TestReady(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.serve()
	readyz := func() (int, string) {
		c := h.http()
		defer c.CloseIdleConnections()
		resp, err := c.Get("http://sextant/readyz")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	if code, body := readyz(); code != http.StatusOK || body != "ready\n" {
		t.Errorf("readyz: %d %s", code, body)
	}
	// An agent that hangs is no better than none.
	agent := h.pid("agent")
	if err := syscall.Kill(agent, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	h.run("sextant", "status").refused(t, 1, `not ready: the agent of host host does not answer; wait, or see`)
	if err := syscall.Kill(agent, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	h.ready()
	// Without a supervisor nobody starts it again.
	h.kill("serve", "agent")
	h.run("sextant", "status").refused(t, 1, `not ready: the agent of host host is away; wait, or see`)
	if code, body := readyz(); code != http.StatusServiceUnavailable || !strings.Contains(body, "is away") {
		t.Errorf("readyz: %d %s", code, body)
	}
}

// TestUnplug: a command that ends has done what it says: the device is gone
// when unplug returns, and whoever waits for a deletion sees nothing of it.
func TestUnplug(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.serve()
	h.sh(`sextant network create w
ip netns add guest
sextant port plug p1 network=w netns=guest device=eth0
ip -n guest link show eth0
sextant port plug p2 network=w tap=tap7
ip link show tap7`)
	state := func(port string) string {
		var o struct {
			Statuses []struct {
				Target struct{ Kind, ID string }
				State  string
			}
		}
		var p struct{ ID string }
		h.json(&p, "sextant port show "+port+" network=w")
		h.json(&o, "sextant status")
		for _, s := range o.Statuses {
			if s.Target.ID == p.ID {
				return s.State
			}
		}
		return "unknown"
	}
	if s := state("p1"); s != "running" {
		t.Errorf("plugged: %s", s)
	}
	h.sh(`sextant port unplug p1 network=w
! ip -n guest link show eth0 2>/dev/null
sextant port unplug p2 network=w
! ip link show tap7 2>/dev/null`)
	if s := state("p1"); s != "stopped" {
		t.Errorf("unplugged: %s", s)
	}
	h.sh(`sextant subnet create extra network=w prefix=10.9.0.0/24
ip -o addr | grep -q 10.9.0.1/24
sextant subnet delete extra network=w
! ip -o addr | grep 10.9.0.1/24
sextant port delete p1 network=w; sextant port delete p2 network=w
sextant network delete w
! ip -o link | grep sx-w`)
}

// TestEventsInOrder: events are listed by time.
func TestEventsInOrder(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.serve()
	h.sh(`for n in a b c d e; do sextant network create $n --no-wait; sextant network delete $n --no-wait; done
sextant network create w; ip link delete sx-w`)
	var events []struct {
		Time    time.Time
		What    string
		Message string
	}
	netnstest.Eventually(t, 10*time.Second, "an event about the lost bridge", func() error {
		_, err := h.Sh(h.ctx, "sextant events | grep mended")
		return err
	})
	h.json(&events, "sextant events")
	for i := range events {
		if i > 0 && events[i].Time.Before(events[i-1].Time) {
			t.Errorf("%d: %+v after %+v", i, events[i], events[i-1])
		}
	}
	if len(events) < 12 || !strings.Contains(events[0].Message, "network a created") {
		t.Errorf("%d events, the first %+v", len(events), events[0])
	}
}

// json runs a command that prints JSON and decodes it.
func (h *host) json(v any, command string) {
	h.t.Helper()
	out := h.sh(command + " -o json")
	if err := json.Unmarshal([]byte(out), v); err != nil {
		h.t.Fatalf("%s: %v in %s", command, err, out)
	}
}
