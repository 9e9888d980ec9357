package rpc

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// world is a server with networks in memory on two real sockets.
type world struct {
	*memory
	server       *Server
	dir          string
	pings, pongs chan struct{} // what clients sent
}

// tap is a connection on which the client's keep-alive messages are seen.
type tap struct {
	net.Conn
	w *world
}

func (c tap) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	for seen, m := range map[chan struct{}][]byte{c.w.pings: keepAliveMessage(procPing), c.w.pongs: keepAliveMessage(procPong)} {
		if bytes.Equal(b[:n], m) {
			select {
			case seen <- struct{}{}:
			default:
			}
		}
	}
	return n, err
}

type tapListener struct {
	net.Listener
	w *world
}

func (l tapListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return tap{c, l.w}, err
}

func newWorld(t *testing.T, o Options) *world {
	t.Helper()
	m, ok := o.Handler.(*memory)
	if !ok {
		m = &memory{}
		o.Handler = m
	}
	o.Log = quiet
	o.Peer = func(c net.Conn) (Peer, error) { return PeerOf(c.(tap).Conn) }
	s := NewServer(o)
	m.server = s
	w := &world{memory: m, server: s, dir: t.TempDir(), pings: make(chan struct{}, 8), pongs: make(chan struct{}, 8)}
	done := make(chan error, 2)
	for _, name := range []string{"sock", "sock-ro"} {
		l, err := net.Listen("unix", filepath.Join(w.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		go func() { done <- s.Serve(tapListener{l, w}, name == "sock-ro") }()
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		for range 2 {
			if err := <-done; !errors.Is(err, ErrClosed) {
				t.Errorf("serving ended with %v", err)
			}
		}
	})
	return w
}

// virsh prepares the unmodified program, in English.
func (w *world) virsh(ctx context.Context, args ...string) *exec.Cmd {
	sock := "sock"
	if len(args) > 0 && args[0] == "-r" {
		sock = "sock-ro"
	}
	cmd := exec.CommandContext(ctx, "virsh", append([]string{"-c", URI + "?socket=" + filepath.Join(w.dir, sock)}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	return cmd
}

// run runs virsh and returns what it prints, without trailing spaces.
func (w *world) run(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := w.virsh(ctx, args...).CombinedOutput()
	if err != nil && !strings.Contains(string(out), "error:") {
		t.Fatalf("virsh %q: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (w *world) file(t *testing.T, text string) string {
	t.Helper()
	f, err := os.CreateTemp(w.dir, "*.xml")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// TestVirsh lets Debian's virsh judge every call about networks that it has.
func TestVirsh(t *testing.T) {
	netnstest.NeedCommands(t, "virsh")
	w := newWorld(t, Options{})
	xml := w.file(t, "<network>\n  <name>web</name>\n</network>\n")
	port := w.file(t, "<networkport>p</networkport>\n")
	host := w.file(t, "<host ip='2001:db8::5' id='x'/>")
	webID, portID := uuidOf("web").String(), uuidOf("<networkport>p</networkport>\n").String()
	for _, step := range []struct {
		args string
		want []string
	}{
		{"uri", []string{URI}},
		{"net-list --all", []string{"Name   State   Autostart   Persistent"}},
		{"net-define " + xml, []string{"Network web defined from " + xml}},
		{"net-define --validate " + xml, []string{"Network web defined"}},
		{"net-list --all", []string{"web    inactive   no          yes"}},
		{"net-list", []string{"----"}},
		{"net-dumpxml web", []string{"<network>\n  <name>web</name>\n</network>"}},
		{"net-start web", []string{"Network web started"}},
		{"net-start web", []string{"error: Failed to start network web\nerror: Requested operation is not valid: network is already active"}},
		{"net-autostart web", []string{"Network web marked as autostarted"}},
		{"net-info web", []string{
			"UUID:           " + webID, "Active:         yes", "Persistent:     yes", "Autostart:      yes", "Bridge:         virbr-web",
		}},
		{"net-autostart --disable web", []string{"Network web unmarked as autostarted"}},
		{"net-uuid web", []string{webID}},
		{"net-name " + webID, []string{"web"}},
		{"net-dhcp-leases web", []string{
			"2100-01-01 00:00:00   52:54:00:aa:00:01   ipv4       192.0.2.10/24     web        -",
			"52:54:00:aa:00:01   ipv6       2001:db8::10/64   -          00:01:00:01",
		}},
		{"net-dhcp-leases web zz", []string{"error: invalid MAC address: zz"}},
		{"net-update web add ip-dhcp-host " + host + " --live --config --parent-index 1", []string{"Updated network web persistent config and live state"}},
		{"net-dumpxml web", []string{"<!-- command 3 section 4 parent 1 flags 3: <host ip='2001:db8::5' id='x'/> -->"}},
		{"net-port-create web " + port, []string{"Network port " + portID + " created from " + port}},
		{"net-port-list web", []string{portID}},
		{"net-port-dumpxml web " + portID, []string{"<networkport>p</networkport>"}},
		{"net-port-delete web " + portID, []string{"Network port " + portID + " deleted"}},
		{"net-port-dumpxml web " + portID, []string{"error: failed to get network port '" + portID + "'"}},
		{"net-destroy web", []string{"Network web destroyed"}},
		{"net-undefine web", []string{"Network web has been undefined"}},
		{"net-create " + xml, []string{"Network web created from " + xml}},
		{"net-info nothere", []string{"error: failed to get network 'nothere'", "error: Network not found: no network with matching name 'nothere'"}},
		{"net-define " + host, []string{"error: XML error: missing network name"}},
		{"net-define " + w.file(t, "<name>panic</name>"), []string{"error: internal error: virNetworkDefineXML failed by a fault of the server's"}},
		// What is not about networks: virsh tries the new list, then the old one.
		{"list", []string{"error: this function is not supported by the connection driver: virConnectNumOfDomains"}},
		{"pool-list", []string{"error: this function is not supported by the connection driver: virConnectNumOfStoragePools"}},
		{"hostname", []string{"error: this function is not supported by the connection driver: virConnectGetHostname"}},
		{"nodeinfo", []string{"error: this function is not supported by the connection driver: virNodeGetInfo"}},
		// Only reading.
		{"-r net-list", []string{"web    active   no          no"}},
		{"-r net-dumpxml web", []string{"<name>web</name>"}},
		{"-r net-destroy web", []string{"error: operation forbidden: read only access prevents virNetworkDestroy"}},
		{"-r net-define " + xml, []string{"error: operation forbidden: read only access prevents virNetworkDefineXML"}},
		{"-r net-undefine web", []string{"error: operation forbidden: read only access prevents virNetworkUndefine"}},
		{"-r net-start web", []string{"error: operation forbidden: read only access prevents virNetworkCreate"}},
		{"-r net-update web add ip-dhcp-host " + host, []string{"error: operation forbidden: read only access prevents virNetworkUpdate"}},
	} {
		got := w.run(t, strings.Fields(step.args)...)
		for _, want := range step.want {
			if !strings.Contains(got, want) {
				t.Errorf("virsh %s:\n%s\nwant\n%s", step.args, got, want)
			}
		}
	}
	for _, who := range w.callers {
		if who.UID != uint32(os.Getuid()) || who.PID == 0 || who.Forwarded != nil {
			t.Fatalf("a call came from %+v", who)
		}
	}
}

// TestVirshEvents lets virsh print what happens to networks.
func TestVirshEvents(t *testing.T) {
	netnstest.NeedCommands(t, "virsh")
	w := newWorld(t, Options{})
	xml := w.file(t, "<name>web</name>")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	w.run(t, "net-define", xml)
	events := w.virsh(ctx, "net-event", "--loop", "--event", "lifecycle")
	out, err := events.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := events.Start(); err != nil {
		t.Fatal(err)
	}
	netnstest.Eventually(t, 10*time.Second, "virsh to register", func() error {
		for _, c := range w.server.connections() {
			if len(c.wanting(eventLifecycle, uuidOf("web"))) == 1 {
				return nil
			}
		}
		return errors.New("virsh has not registered yet")
	})
	w.run(t, "net-start", "web")
	w.run(t, "net-destroy", "web")
	w.run(t, "net-undefine", "web")
	w.run(t, "net-define", xml)
	lines := bufio.NewScanner(out)
	for _, want := range []string{"Started", "Stopped", "Undefined", "Defined"} {
		if !lines.Scan() || lines.Text() != "event 'lifecycle' for network web: "+want {
			t.Errorf("%q, want %s", lines.Text(), want)
		}
	}
	if err := events.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = events.Wait()
}

// TestVirshKeepAlive lets virsh ask each second whether the server is there,
// while it waits for an answer.
func TestVirshKeepAlive(t *testing.T) {
	netnstest.NeedCommands(t, "virsh")
	m := &memory{hold: make(chan struct{}), begun: make(chan struct{}, 1)}
	w := newWorld(t, Options{Handler: m, KeepAliveInterval: 500 * time.Millisecond, KeepAliveCount: 2})
	w.run(t, "net-define", w.file(t, "<name>web</name>"))
	go func() {
		<-w.begun
		for range 3 {
			<-w.pings
			<-w.pongs
		}
		close(w.hold)
	}()
	// Without a pong for two seconds virsh would give up, and so would the
	// server.
	if got := w.run(t, "-k", "1", "-K", "1", "net-start web"); got != "Network web started" {
		t.Error(got)
	}
}
