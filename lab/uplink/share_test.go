package uplink

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/lab/topo"
)

// TestSharedDelegated: sharing a NIC and taking that back moves what is
// delegated on it to the bridge and back. To the provider it is the same
// client; guests keep their prefix, and what they began.
func TestSharedDelegated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2*time.Minute, "eth3")
	isp := w.access(first, w.host.Uplink, &topo.Advert{Prefixes: []string{onLink(first)}})
	w.delegates(isp, topo.Delegator{Software: "kea", Pool: pool1})
	w.settled(isp)
	alpha := w.guest("alpha", "default")
	w.stands("default", "delegated", pool1.String())
	old := w.holds("default", pool1, "active")
	w.usable(alpha, old)
	conn := w.hold(alpha, topo.Server6)
	nic := isp.link
	carried := func(link string) {
		t.Helper()
		w.eventually(patience, "the delegation is on "+link, func() error {
			out, err := w.host.Sh(w.ctx, "sextant uplink show "+link)
			if err == nil && !strings.Contains(out, pool1.String()) {
				err = fmt.Errorf("%s", out)
			}
			return err
		})
		if now := w.holds("default", pool1, "active"); now != old {
			t.Errorf("on %s the network has %v, before %v", link, now, old)
		}
		w.usable(alpha, old)
	}
	w.shared(isp)
	carried(w.bridgeOf(nic))

	w.sh("sextant uplink set " + nic + " shared=false --confirm 60s")
	w.eventually(patience, nic+" is no port any more", func() error {
		_, err := w.host.Sh(w.ctx, "! ip -o link show dev "+nic+" | grep -q ' master '")
		return err
	})
	w.online(nic, true)
	w.sh("sextant confirm")
	carried(nic)
	conn.lives("the NIC is shared and taken back")
	if n := w.count("may be used for guests"); n != 1 {
		t.Errorf("the same delegation is told of %d times: %q", n, w.events())
	}
}
