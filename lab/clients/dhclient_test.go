package clients

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// told is what ISC dhclient's script was told when the client was bound.
type told map[string]string

func (e told) addr(key string) netip.Addr {
	a, _ := netip.ParseAddr(e[key])
	return a
}

// script writes down what dhclient tells it and configures nothing.
const script = `#!/bin/sh
case $reason in
BOUND | BOUND6 | REBOOT | RENEW6) env >/run/dhclient.told ;; # RENEW6: without an address, too
esac
exit 0
`

// fresh runs dhclient on a device as on a machine that was just installed, with
// no memory of an earlier lease, until it is bound, and ends it without a
// release. The configuration is dhclient.conf's.
func (g *guest) fresh(device, args, conf string) told {
	g.t.Helper()
	i := g.net.number()
	file := g.net.write("dhclient.conf", "initial-delay 0;\n"+conf+"\n")
	sf := g.net.write("dhclient.script", script)
	pid := fmt.Sprintf("/run/dhclient%d.pid", i)
	out := g.sh(fmt.Sprintf("rm -f /run/dhclient.told; dhclient %s -1 -v -cf %s -sf %s -lf /run/dhclient%d.leases -pf %s %s 2>&1; cat /run/dhclient.told",
		args, file, sf, i, pid, device))
	g.sh(fmt.Sprintf("until [ -s %[1]s ]; do sleep 0.1; done; p=$(cat %[1]s); kill $p; while kill -0 $p 2>/dev/null; do sleep 0.05; done", pid))
	e := told{}
	for line := range strings.Lines(out) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			e[k] = v
		}
	}
	if e["reason"] == "" {
		g.t.Errorf("%s: dhclient %s was not bound:\n%s", g.Name, args, out)
	}
	return e
}

// fresh4 and fresh6 return the address that a fresh dhclient got.
func (g *guest) fresh4(conf string) netip.Addr {
	g.t.Helper()
	return g.fresh("eth0", "-4", conf).addr("new_ip_address")
}

func (g *guest) fresh6(args, conf string) netip.Addr {
	g.t.Helper()
	return g.fresh("eth0", "-6 "+args, conf).addr("new_ip6_address")
}

// iaid is the one that dhclient uses for eth0: the last four octets of its MAC.
func (g *guest) iaid() string {
	g.t.Helper()
	n, err := strconv.ParseUint(strings.ReplaceAll(g.iaidHex(), ":", ""), 16, 32)
	if err != nil {
		g.t.Fatal(err)
	}
	return strconv.FormatUint(n, 10)
}

func (g *guest) iaidHex() string { return g.mac[len("00:00:"):] }
