package topo

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// newLab makes a lab that ends with the test.
func newLab(t *testing.T) *Lab {
	t.Helper()
	netnstest.NeedRoot(t)
	netnstest.NeedCommands(t, "ip", "nsenter", "radvd", "dnsmasq", "dig", "nc")
	l, err := New("sxt-topo" + strconv.Itoa(os.Getpid()) + "-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(l.Logs(20))
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if left, _ := leftovers(l.Prefix); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		if _, err := os.Stat(l.Dir); err == nil {
			t.Errorf("left behind: %s", l.Dir)
		}
	})
	return l
}

// peer builds the server of the lab.
func peer(t *testing.T) []string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "peer")
	cmd := exec.Command("go", "build", "-o", bin, "../peer")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return []string{bin}
}

// TestUpstream: a host behind the upstream has both families, by the clients
// of the distribution.
func TestUpstream(t *testing.T) {
	if testing.Short() {
		t.Skip("the lab is not for short runs")
	}
	l := newLab(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	u, err := l.Upstream(ctx, UpstreamConfig{Peer: peer(t)})
	if err != nil {
		t.Fatal(err)
	}
	h, err := l.Host(ctx, HostConfig{Bin: "/nonexistent"}, u)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ command, want string }{
		{"nc -4 -w 5 " + ServerName + " 80 </dev/null", "192.0.2.2"},
		{"nc -6 -w 5 " + ServerName + " 80 </dev/null", "2001:db8:0:1:"},
		{"dig +short -x " + Server6.String(), ServerName + "."},
		{"cat /etc/hostname", "host"},
	} {
		err := Until(ctx, 10*time.Second, tc.command, func(ctx context.Context) error {
			out, err := h.Sh(ctx, tc.command)
			if err == nil && !strings.HasPrefix(out, tc.want) {
				t.Errorf("%s: %q, want %q", tc.command, out, tc.want)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	if out, err := exec.Command("cat", "/etc/resolv.conf").Output(); err == nil && strings.Contains(string(out), "192.0.2.1") {
		t.Error("the machine's own resolv.conf was changed")
	}
	g, err := l.Node("guest")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Show(ctx, g); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Sh(ctx, "ip link add x0 type veth peer name eth0 netns guest"); err != nil {
		t.Error(err)
	}
	if out, err := g.Run(ctx, "ip", "link", "show", "eth0"); err != nil {
		t.Errorf("%v %s", err, out)
	}
}

// TestDownAfterKill: what a killed program left is removed by prefix.
func TestDownAfterKill(t *testing.T) {
	l := newLab(t)
	n, err := l.Node("n")
	if err != nil {
		t.Fatal(err)
	}
	p, err := n.Start("sleep", "sleep", "1000")
	if err != nil {
		t.Fatal(err)
	}
	if err := Down(l.Prefix); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := p.Wait(ctx); err == nil || ctx.Err() != nil {
		t.Errorf("the process in the namespace lives: %v", err)
	}
}
