package scenario

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/lab/topo"
)

// told is what one router advertisement says of a prefix, as rdisc6 reads it.
type told struct{ valid, preferred int } // seconds

var prefixLines = regexp.MustCompile(`(?s)Prefix\s+: (\S+)\n(.*?)Valid time\s+:\s+(\d+).*?Pref\. time\s+:\s+(\d+)`)

// advertised asks for a router advertisement and returns what it says of each
// prefix.
func (w *world) advertised(n *topo.Node) (map[string]told, error) {
	w.t.Helper()
	out, err := n.Sh(w.ctx, "rdisc6 -1 -r 1 -w 2000 eth0")
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	all := map[string]told{}
	for _, m := range prefixLines.FindAllStringSubmatch(out, -1) {
		valid, err1 := strconv.Atoi(m[3])
		preferred, err2 := strconv.Atoi(m[4])
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("not numbers in\n%s", out)
		}
		all[m[1]] = told{valid, preferred}
	}
	return all, nil
}

// TestRetiredPrefix: a prefix that was edited away is told as deprecated with
// what is left of its time, also by a daemon that was killed in the meantime,
// and what a guest began from it goes on; until another network takes it.
func TestRetiredPrefix(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "rdisc6")
	w := newWorld(t, 3*time.Minute, topo.HostConfig{})
	w.serve("--no-default-network")
	const was, is = "2001:db8:5::/64", "2001:db8:6::/64"
	w.sh("sextant network create web ipv4=none ipv6=routed ipv6.address=2001:db8:5::1/64 ipv6.guests=slaac")
	guest := w.plug("alpha", "network=web")
	w.on(guest, "ip link set eth0 up")
	address := func(prefix string) string {
		out, err := guest.Sh(w.ctx, "ip -6 -o addr show dev eth0 scope global -tentative to "+prefix+" | sed 's/.*inet6 \\([^/]*\\).*/\\1/'")
		if err != nil {
			return ""
		}
		return strings.TrimSpace(out)
	}
	w.eventually(30*time.Second, "an address of the first prefix", func() error {
		if address(was) == "" {
			return fmt.Errorf("none")
		}
		return nil
	})
	old := address(was)

	w.sh("sextant network set web ipv6.address=2001:db8:6::1/64")
	changed := time.Now()
	check := func(when string) {
		t.Helper()
		w.eventually(20*time.Second, "both prefixes are told "+when, func() error {
			all, err := w.advertised(guest)
			if err != nil {
				return err
			}
			left := int((2*time.Hour - time.Since(changed)).Seconds())
			if now := all[is]; now.preferred == 0 || now.valid == 0 {
				return fmt.Errorf("the new prefix: %+v", all)
			}
			if then, ok := all[was]; !ok || then.preferred != 0 || then.valid == 0 || then.valid > left+2 {
				return fmt.Errorf("the old prefix, of which %d s are left: %+v", left, all)
			}
			return nil
		})
		if _, err := guest.Sh(w.ctx, "ping -6 -c1 -W2 -I "+old+" 2001:db8:5::1"); err != nil {
			t.Errorf("%s: the old gateway does not answer: %v", when, err)
		}
	}
	check("after the edit")
	w.eventually(10*time.Second, "the guest has deprecated the old address", func() error {
		_, err := guest.Sh(w.ctx, "ip -6 -o addr show dev eth0 deprecated | grep -q "+old)
		return err
	})

	for _, v := range []string{"serve", "control", "agent"} {
		w.kill(v)
	}
	_ = w.daemon.Wait(w.ctx)
	w.serve(w.flags...)
	check("after SIGKILL")
	if got := w.sh("sextant prefix list"); !strings.Contains(got, was) || !strings.Contains(got, "deprecated") {
		t.Errorf("prefix list:\n%s", got)
	}

	w.sh("sextant network create heir ipv4=none ipv6=routed ipv6.address=2001:db8:5::1/64")
	w.eventually(20*time.Second, "the old prefix is called back", func() error {
		all, err := w.advertised(guest)
		if err != nil {
			return err
		}
		if then, ok := all[was]; ok && then.valid != 0 {
			return fmt.Errorf("%+v", all)
		}
		return nil
	})
	if got := w.sh("ip -6 -o addr show to 2001:db8:5::1"); !strings.Contains(got, "sx-heir") || strings.Contains(got, "sx-web") {
		t.Errorf("the address of the old gateway is on\n%s", got)
	}
}
