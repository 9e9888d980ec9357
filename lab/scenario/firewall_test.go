package scenario

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/lab/topo"
)

// TestOtherFirewall: another program's rules that drop our guests' traffic are
// named in status, with the command that mends it; afterwards all is well.
func TestOtherFirewall(t *testing.T) {
	t.Parallel()
	for name, rules := range map[string]string{
		// As Docker leaves it.
		"docker": "table ip filter { chain FORWARD { type filter hook forward priority filter; policy drop; }; }",
		// As a firewall of the host's own that closes input.
		"input": `table inet guard { chain closed { type filter hook input priority filter; policy drop;
iifname lo accept; ct state established,related accept; icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept; }; }`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, time.Minute, topo.HostConfig{})
			w.sh("printf '%s\\n' '" + rules + "' | nft -f -")
			w.serve()
			f := strings.Fields(rules)
			table, chain := f[1]+" "+f[2], f[5]
			var said string
			w.eventually(10*time.Second, "status names "+table+" "+chain, func() error {
				out, err := w.host.Sh(w.ctx, "sextant status")
				said = out
				if err == nil && (!strings.Contains(out, table) || !strings.Contains(out, chain)) {
					err = fmt.Errorf("status says\n%s", out)
				}
				return err
			})
			command := mend(said)
			if command == "" {
				t.Fatalf("no command that mends it in\n%s", said)
			}
			w.sh(command)
			w.answers(w.guest("alpha", "default"))
		})
	}
}

// mend finds the command in a problem's line: what was wrong; what to type.
func mend(text string) string {
	for line := range strings.Lines(text) {
		i := strings.LastIndex(line, "; ")
		if i < 0 {
			continue
		}
		command := strings.Trim(strings.TrimSpace(line[i+2:]), "`")
		for _, tool := range []string{"nft ", "iptables ", "ip6tables ", "ufw ", "firewall-cmd "} {
			if strings.HasPrefix(command, tool) {
				return command
			}
		}
	}
	return ""
}
