package attach

import (
	"encoding/json"
	"maps"
	"net/netip"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"
)

// FuzzMessage: no message of the kernel, however broken, does more than make an
// error; and what moves there and back is what it was.
func FuzzMessage(f *testing.F) {
	head := make([]byte, unix.SizeofRtMsg)
	head[routeFamily] = unix.AF_INET
	f.Add(paste(head, []attribute{{unix.RTA_OIF, asWord(2)}, {unix.RTA_MULTIPATH, []byte{8, 0, 0, 0, 2, 0, 0, 0}}}))
	f.Add(paste(make([]byte, unix.SizeofIfAddrmsg), []attribute{{unix.IFA_LOCAL, []byte{192, 0, 2, 1}}, {unix.IFA_LABEL, []byte("eth0:1\x00")}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := swap{2, 3, "eth0", "br-eth0"}
		if m, err := moveRoute(b, s); err == nil {
			there, err := readRoute(m)
			if err != nil {
				t.Fatalf("moved, and not readable: %v", err)
			}
			before, _ := readRoute(b)
			if before.over(2) && !there.over(3) || there.over(2) {
				t.Fatalf("%+v moved to %+v", before, there)
			}
			again, err := moveRoute(m, s.back())
			if back, err2 := readRoute(again); err != nil || err2 != nil || !before.over(3) && before.over(2) != back.over(2) {
				t.Fatalf("back: %v %v", err, err2)
			}
		}
		if m, err := apart(b, 2); err == nil {
			_, _ = moveRoute(m, s) // a hop may hold anything
		}
		_, _ = moveAddress(b, s, true)
		_, _ = sameAddress(b, 3)
		_, _, _ = moveRule(b, s)
		_, _, _ = moveNexthop(b, s)
		_, _, _ = moveNeighbour(b, s)
		_, _ = readDevice(b)
		readNeighbour(b)
		lifetime(b)
	})
}

// TestBridgeName: short names are kept readable, long ones and taken ones get
// another, each its own.
func TestBridgeName(t *testing.T) {
	free := func(string) bool { return false }
	for nic, want := range map[string]string{"en0": "br-en0", "enp130s0f1x1": "br-enp130s0f1x1"} {
		if got := BridgeName(nic, free); got != want {
			t.Errorf("%s: %s", nic, got)
		}
	}
	seen := map[string]bool{}
	for _, nic := range []string{"enp130s0f1x1n", "enx00155d0a1b2c", "enx00155d0a1b2d"} {
		got := BridgeName(nic, free)
		if len(got) > maxName || seen[got] {
			t.Errorf("%s: %s", nic, got)
		}
		seen[got] = true
		if other := BridgeName(nic, func(n string) bool { return n == got }); other == got || len(other) > maxName {
			t.Errorf("%s, taken: %s", nic, other)
		}
	}
	if got := BridgeName("eth0", func(n string) bool { return n == "br-eth0" }); got == "br-eth0" || len(got) > maxName {
		t.Errorf("taken: %s", got)
	}
}

// TestClientOf: DHCP clients are known by their command lines.
func TestClientOf(t *testing.T) {
	for line, want := range map[string]string{
		"/sbin/dhclient\x00-4\x00-pf\x00/run/x.pid\x00eth0\x00": "dhclient",
		"dhclient\x00eth1\x00":            "",
		"dhcpcd\x00-b\x00":                "dhcpcd",
		"dhcpcd: eth0 [ip4] [ip6]":        "dhcpcd",
		"udhcpc\x00-i\x00eth0":            "udhcpc",
		"bash\x00-c\x00dhclient eth0\x00": "",
		"":                                "",
	} {
		if got := clientOf(line, "eth0"); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// exampleFlags is what the kernel says of a route from an advertisement, of one
// by hand and of one over another link.
const exampleFlags = `00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00450003     eth0
20010db8007700000000000000000000 30 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00c40003     eth0
20010db8000500000000000000000000 30 00000000000000000000000000000000 00 20010db8000100000000000000000001 00000005 00000001 00000000 00000003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000002 00000400 00000001 00000000 00450003     eth1
`

// TestAdvertisedIn: the kernel's own routes are known by their flags.
func TestAdvertisedIn(t *testing.T) {
	router := netip.MustParseAddr("fe80::1")
	want := map[ownRoute]bool{
		{netip.MustParsePrefix("::/0"), router, 1024}:             true,
		{netip.MustParsePrefix("2001:db8:77::/48"), router, 1024}: true,
	}
	if got := advertisedIn(exampleFlags, "eth0"); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// FuzzRecord: whatever is in the file, of another boot only what was never
// confirmed counts, and as over.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"boot":"a","nics":{"eth0":{"phase":"moving","bridge":"br-eth0","mac":"02:00:00:00:00:01","until":"2026-11-20T12:00:00Z"},"eth1":null}}`))
	f.Add([]byte(`{"boot":"b","nics":{"eth0":{"phase":"shared","bridge":"br-eth0","settings":{"x":"1"},"was":null}}}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		const now = "now"
		said := record{Boot: now}
		bad := json.Unmarshal(b, &said) != nil
		r, err := readRecord(b, now)
		if (err != nil) != bad {
			t.Fatal(err)
		}
		if bad {
			return
		}
		for nic, e := range r.NICs {
			if e == nil || r.Boot != now || said.Boot != now && e.Phase != phaseOver {
				t.Fatalf("%s: %+v", nic, e)
			}
		}
	})
}

// FuzzFiles: what other programs write under /run and /proc.
func FuzzFiles(f *testing.F) {
	f.Add("ADMIN_STATE=configured\n", "eth0")
	f.Add(exampleFlags, "eth0")
	f.Fuzz(func(t *testing.T, text, nic string) {
		root := fstest.MapFS{"network/ifstate": {Data: []byte(text)}}
		says(root, "network/ifstate", "ADMIN_STATE=", "configured")
		interfaces(root, nic)
		clientOf(text, nic)
		for r := range advertisedIn(text, nic) {
			if !r.dst.IsValid() || !r.gateway.Is6() {
				t.Errorf("%v", r)
			}
		}
	})
}
