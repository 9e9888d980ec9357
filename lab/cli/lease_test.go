package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// dnsmasqLeases is a file as dnsmasq writes it: two guests, one of them whose
// address a port has here, one elsewhere, one that ended.
const dnsmasqLeases = `4102444800 52:54:00:00:00:01 192.168.150.21 printer 01:52:54:00:00:00:01
4102444800 52:54:00:00:00:02 192.168.150.22 * *
4102444800 52:54:00:00:00:03 192.168.150.30 vm1 *
4102444800 52:54:00:00:00:04 192.168.150.1 * *
4102444800 52:54:00:00:00:05 10.77.0.9 * *
1000000000 52:54:00:00:00:06 192.168.150.26 * *
`

// listed is a line of `sextant lease list -o json`.
type listed struct {
	Address, MAC, Name, Port, How string
	Expires                       time.Time
}

func (h *host) leases(args string) []listed {
	h.t.Helper()
	var out []listed
	if err := json.Unmarshal([]byte(h.sh("sextant lease list "+args+" -o json")), &out); err != nil {
		h.t.Fatal(err)
	}
	return out
}

// TestLeases: leases of another server are taken over, followed, given back and
// remembered, also by a daemon that was killed.
func TestLeases(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	daemon := h.serve()
	h.sh(`sextant network create web ipv4=nat ipv4.address=192.168.150.1/24 ipv6=none
sextant network create idle ipv4=nat ipv4.address=192.168.151.1/24 ipv6=none started=no
sextant port create vm1 network=web mac=52:54:00:00:00:03 addresses=192.168.150.30
sextant port create vm2 network=web addresses=192.168.150.22`)
	file := filepath.Join(h.Dir(), "dnsmasq.leases")
	if err := os.WriteFile(file, []byte(dnsmasqLeases), 0o644); err != nil {
		t.Fatal(err)
	}
	watched, err := h.Start("watch", filepath.Join(h.bin, "sextant"), "lease", "list", "--watch", "network=web", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	said := func() string {
		text, err := os.ReadFile(filepath.Join(h.Dir(), "watch.log"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	follows := func(what string) {
		t.Helper()
		netnstest.Eventually(t, 10*time.Second, "the stream says "+what, func() error {
			if text := said(); !strings.Contains(text, what) {
				return fmt.Errorf("so far:\n%s", text)
			}
			return nil
		})
	}
	imported := func(flags, summary string) {
		t.Helper()
		r := h.run(append([]string{"sextant", "lease", "import", file, "network=web"}, strings.Fields(flags)...)...)
		for _, want := range []string{
			"192.168.150.22: it is port vm2's",
			"192.168.150.1: it is a gateway of network web",
			"10.77.0.9: it is in no subnet of network web; see `sextant subnet list network=web`",
			summary,
		} {
			if !strings.Contains(r.stdout, want+"\n") {
				t.Errorf("lease import %s lacks %q:\n%s%s", flags, want, r.stdout, r.stderr)
			}
		}
		if want := "sextant: lease import: 3 leases of " + file + " could not be taken over\n"; r.code != 1 || r.stderr != want {
			t.Errorf("lease import %s: code %d, %s", flags, r.code, r.stderr)
		}
	}
	h.unchanged(t, func() { imported("--dry-run", "network web: 2 leases would be imported, 3 refused, 1 ended before") })
	if got := h.leases("network=web"); len(got) != 0 {
		t.Errorf("a dry run left %+v", got)
	}
	// Streams begin with what there is, of which there is nothing yet: wait until
	// this one has begun by what it says of a lease that comes and goes.
	netnstest.Eventually(t, 20*time.Second, "the stream has begun", func() error {
		h.run("sh", "-c", "echo '4102444800 52:54:00:00:00:09 192.168.150.99 * *' | sextant lease import - network=web --format=dnsmasq && sextant lease release 192.168.150.99")
		if !strings.Contains(said(), "192.168.150.99") {
			return fmt.Errorf("nothing")
		}
		return nil
	})
	imported("", "network web: 2 leases imported, 3 refused, 1 ended before")
	imported("--format=dnsmasq", "network web: 2 leases imported, 3 refused, 1 ended before") // once more: a renewal
	got := h.leases("network=web")
	if len(got) != 2 || got[0].Address != "192.168.150.21" || got[0].Name != "printer" || got[0].MAC != "52:54:00:00:00:01" || got[0].How != "dhcpv4" ||
		got[0].Expires.Unix() != 4102444800 || got[0].Port != "" || got[1].Address != "192.168.150.30" || got[1].Port != "vm1" {
		t.Errorf("leases %+v", got)
	}
	follows(`"address":"192.168.150.21"`)
	if text := said(); !strings.Contains(text, `{"what":"new","lease":`) {
		t.Errorf("the stream:\n%s", text)
	}

	for _, tc := range []struct {
		command string
		code    int
		stderr  string
	}{
		{"import " + file, 64, "into which network\\? say network=NAME"},
		{"import " + file + " network=nowhere", 1, "there is no network \"nowhere\""},
		{"import " + file + " network=idle", 1, "network idle does not run, so that nobody knows which of its addresses are free; start it: sextant network start idle"},
		{"import /nowhere network=web", 1, "open /nowhere: no such file or directory"},
		{"import /etc/passwd network=web", 1, "no lease file of a kind that is known"},
		{"release 192.168.150.77", 1, "there is no lease \"192.168.150.77\""},
		{"release", 64, "needs a name"},
		{"history nobody network=web", 1, "there is no port \"nobody\""},
		{"list --watch -o yaml", 64, "say -o table, wide or json"},
	} {
		h.unchanged(t, func() {
			h.run(append([]string{"sextant", "lease"}, strings.Fields(tc.command)...)...).refused(t, tc.code, tc.stderr)
		})
	}

	if r := h.run("sextant", "lease", "release", "192.168.150.21", "network=web"); r.code != 0 || r.stdout != "lease 192.168.150.21 released\n" {
		t.Errorf("release: %+v", r)
	}
	follows(`{"what":"ended","lease":{`)
	if err := watched.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := watched.Wait(h.ctx); err != nil {
		t.Errorf("the end of following: %v", err)
	}
	history := func() string {
		return h.sh("sextant lease history 192.168.150.21 network=web; sextant lease history vm1")
	}
	remembered := func() error {
		out := history()
		if strings.Count(out, "192.168.150.21") != 1 || !strings.Contains(out, "printer") || strings.Count(out, "192.168.150.30") != 1 {
			return fmt.Errorf("history:\n%s", out)
		}
		return nil
	}
	netnstest.Eventually(t, 20*time.Second, "the released lease is in the history", remembered)
	before := history()
	for _, name := range []string{"serve", "control", "agent"} {
		p, err := os.FindProcess(h.pid(name))
		if err == nil {
			err = p.Kill()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	_ = daemon.Wait(h.ctx)
	h.serve()
	if after := history(); after != before {
		t.Errorf("history after SIGKILL:\n%s\nbefore\n%s", after, before)
	}
	if got := h.leases("network=web"); len(got) != 1 || got[0].Port != "vm1" {
		t.Errorf("leases after SIGKILL: %+v", got)
	}
}
