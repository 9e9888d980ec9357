package scenario

import (
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/lab/topo"
)

// repairTime is what the product promises, and what a busy machine adds.
const repairTime = 2 * time.Second

// TestDrift: what others remove comes back.
func TestDrift(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2*time.Minute, topo.HostConfig{})
	w.serve()
	guest := w.guest("alpha", "default")
	w.answers(guest)
	w.settled(guest)
	bridge := w.bridge("default")
	for _, tc := range []struct{ what, damage, look string }{
		{"rules", "nft flush ruleset", "nft list ruleset"},
		{"addresses", "ip addr flush dev " + bridge + " scope global", "ip -o addr show dev " + bridge + " scope global | sed 's/.*\\(inet6* [^ ]*\\).*/\\1/' | sort"},
		{"the bridge is down", "ip link set " + bridge + " down", "ip -o link show dev " + bridge + " | grep -o '<[^>]*>'"},
		{"the bridge is gone", "ip link delete " + bridge, "ip -o addr show dev " + bridge + " scope global | sed 's/.*\\(inet6* [^ ]*\\).*/\\1/' | sort"},
	} {
		before := w.sh(tc.look)
		w.sh(tc.damage)
		w.eventually(repairTime, tc.what+": repaired", func() error {
			after, err := w.host.Sh(w.ctx, tc.look)
			if err != nil {
				return err
			}
			if normal(after) != normal(before) {
				return &differs{before, after}
			}
			return nil
		})
		w.answers(guest)
		w.settled(guest)
	}
}

// differs says that something is not as it was.
type differs struct{ before, after string }

func (d *differs) Error() string { return "was\n" + d.before + "\nis\n" + d.after }

// normal leaves out what counts and what guests make: rules are the same with
// other counters and other meters.
func normal(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		if strings.Contains(line, " expires ") {
			continue
		}
		f := strings.Fields(line)
		for i := 0; i+3 < len(f); i++ {
			if f[i] == "packets" && f[i+2] == "bytes" {
				f[i+1], f[i+3] = "N", "N"
			}
		}
		lines = append(lines, strings.Join(f, " "))
	}
	return strings.Join(lines, "\n")
}

// TestCleanup: nothing of ours is left, and the host is as it was.
func TestCleanup(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Minute, topo.HostConfig{})
	look := "ip -o link | sed 's/@.*//; s/^[0-9]*: //' | sort; nft list ruleset; ip rule; " +
		"sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding net.ipv6.conf." + w.host.Uplink + ".accept_ra"
	before := w.sh(look)
	w.serve()
	w.guest("alpha", "default")
	if during := w.sh(look); during == before {
		t.Fatal("the daemon did nothing")
	}
	w.sh("sextant cleanup")
	w.eventually(10*time.Second, "as before", func() error {
		if after := w.sh(look); after != before {
			return &differs{before, after}
		}
		return nil
	})
}
