package cli

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// TestNotify: a service manager hears READY=1 once, when both processes serve,
// and STOPPING=1 at the end.
func TestNotify(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	path := filepath.Join(h.Dir(), "notify.sock")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	daemon := h.serve("env", "NOTIFY_SOCKET="+path)
	var said []string
	until := func(word string) {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 4096)
		for {
			n, err := conn.Read(b)
			if err != nil {
				t.Fatalf("%s is missing in %q: %v", word, said, err)
			}
			said = append(said, string(b[:n]))
			if strings.Contains(said[len(said)-1], word) {
				return
			}
		}
	}
	until("READY=1")
	if last := said[len(said)-1]; !strings.Contains(last, "control ready") || !strings.Contains(last, "agent ready") {
		t.Errorf("ready with %q", last)
	}
	h.kill("agent")
	until("agent restarting")
	until("control ready, agent ready")
	if err := daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	until("STOPPING=1")
	if all := strings.Join(said, "\n"); strings.Count(all, "READY=1") != 1 {
		t.Errorf("READY=1 not once:\n%s", all)
	}
}

// TestSocketActivation: the service manager's socket is served, with its
// owner and mode, and no client is refused while control is killed and comes
// back.
func TestSocketActivation(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "systemd-socket-activate")
	h := newHost(t)
	h.sh("mkdir -p /run/sextant")
	if _, err := h.Start("sextant", "systemd-socket-activate", "--listen=/run/sextant/api.sock", "--fdname=api", "--setenv=PATH",
		filepath.Join(h.bin, "sextant"), "serve", "--host=host", "--no-default-network", "--state-dir="+h.stateDir()); err != nil {
		t.Fatal(err)
	}
	netnstest.Eventually(t, 10*time.Second, "the socket", func() error {
		_, err := h.Sh(h.ctx, "test -S /run/sextant/api.sock")
		return err
	})
	before := h.sh("stat -c '%i %a %u:%g' /run/sextant/api.sock")
	h.ready() // the first caller starts the daemon
	h.sh("sextant network create w")
	for range 3 {
		h.kill("control")
		// Whoever comes now waits for the next process.
		if r := h.run("sextant", "network", "show", "w"); r.code != 0 && !strings.Contains(r.stderr, "closed the connection") {
			t.Errorf("while control comes back: %+v", r)
		}
		h.ready()
	}
	if now := h.sh("stat -c '%i %a %u:%g' /run/sextant/api.sock"); now != before {
		t.Errorf("the socket was %s, is %s", before, now)
	}
}
