package link

import (
	"net/netip"
	"testing"
)

// FuzzParse: no message makes us panic.
func FuzzParse(f *testing.F) {
	f.Add(make([]byte, 64))
	link := make([]byte, 16, 64)
	link = append(link, 9, 0, 3, 0, 'e', 't', 'h', '0', 0, 0, 0, 0) // IFLA_IFNAME
	link = append(link, 20, 0, 18, 0, 11, 0, 1, 0, 'b', 'r', 'i', 'd', 'g', 'e', 0, 0, 4, 0, 2, 0)
	f.Add(link)
	addr := []byte{2, 24, 0, 0, 1, 0, 0, 0, 8, 0, 2, 0, 10, 0, 0, 1}
	f.Add(addr)
	route := []byte{2, 8, 0, 0, 254, 83, 0, 1, 0, 0, 0, 0, 8, 0, 1, 0, 10, 0, 0, 0}
	f.Add(route)
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = parseDevice(b)
		if a, ok := parseAddress(b); ok && !a.prefix.IsValid() {
			t.Error("an address that is none")
		}
		if r, ok := parseRoute(b); ok && !r.prefix.IsValid() {
			t.Error("a route that is none")
		}
		ParseRule(b)
	})
}

func TestParse(t *testing.T) {
	a, ok := parseAddress([]byte{2, 24, 0, 0, 1, 0, 0, 0, 8, 0, 2, 0, 10, 0, 0, 1})
	if !ok || a.prefix != netip.MustParsePrefix("10.0.0.1/24") || a.index != 1 {
		t.Errorf("%+v %v", a, ok)
	}
	r, ok := parseRoute([]byte{2, 8, 0, 0, 254, 83, 0, 1, 0, 0, 0, 0, 8, 0, 1, 0, 10, 0, 0, 0})
	if !ok || r.prefix != netip.MustParsePrefix("10.0.0.0/8") {
		t.Errorf("%+v %v", r, ok)
	}
	if _, ok := parseRoute([]byte{2, 8, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0, 8, 0, 1, 0, 10, 0, 0, 0}); ok {
		t.Error("somebody else's route is ours")
	}
}

func TestRelease(t *testing.T) {
	for s, want := range map[string][2]int{"6.18.44-fc": {6, 18}, "5.14.0-427.el9": {5, 14}, "6.1": {6, 1}, "7": {7, 0}, "6.12-rc1": {6, 12}, "": {0, 0}} {
		if a, b := release(s); [2]int{a, b} != want {
			t.Errorf("%s: %d.%d", s, a, b)
		}
	}
}

func TestSysctlFile(t *testing.T) {
	for path, want := range map[string]string{
		"net/ipv6/conf/eth0.100/accept_ra": "/proc/sys/net/ipv6/conf/eth0.100/accept_ra",
		"../../etc/passwd":                 "/proc/sys/etc/passwd",
		"net/../../../x":                   "/proc/sys/x",
	} {
		if got := sysctlFile(path); got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
	for path, want := range map[string]string{
		"net/ipv6/conf/eth0.100/accept_ra": "eth0.100", "net/ipv6/conf/all/forwarding": "", "net/ipv4/ip_forward": "",
		"net/ipv4/neigh/br0/gc_stale_time": "br0", "net/bridge/bridge-nf-call-iptables": "",
	} {
		if got := linkName(path); got != want {
			t.Errorf("%s: %q", path, got)
		}
	}
}
