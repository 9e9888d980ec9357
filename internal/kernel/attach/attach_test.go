package attach_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sextant-net/sextant/internal/kernel/attach"
	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// furnish gives the NIC one of everything that somebody may have put there.
func (w *world) furnish() {
	w.t.Helper()
	n, label := w.nic, ""
	if len(n) <= 10 { // what the bridge is called must have room for it, too
		label = " label " + n + ":1"
	}
	// A NIC beside it, which stays as it is.
	w.host.Run("ip", "link", "add", "beside0", "type", "veth", "peer", "name", "beside1")
	w.host.Run("ip", "link", "set", "beside0", "up")
	w.host.Run("ip", "link", "set", "beside1", "up")
	w.host.Run("ip", "address", "add", "198.18.0.1/24", "dev", "beside0")
	w.host.Run("ip", "address", "add", "2001:db8:9::1/64", "dev", "beside0", "nodad")
	for _, line := range []string{
		"address add 192.0.2.11/24 dev " + n + label,
		"address add 203.0.113.5/32 dev " + n + " noprefixroute",
		"address add 192.0.2.77 peer 192.0.2.78/32 dev " + n,
		"address add 2001:db8:1::99/128 dev " + n + " noprefixroute nodad preferred_lft 0",
		"route add 203.0.113.128/25 via 192.0.2.1 dev " + n + " metric 7 mtu 1400 advmss 1300 proto static",
		"route add 203.0.113.64/26 via 192.0.2.254 dev " + n + " onlink src 192.0.2.11",
		"route add 203.0.113.32/27 dev " + n + " scope link table 100",
		"route add default via 192.0.2.1 dev " + n + " table 100",
		"-6 route add 2001:db8:5::/48 via 2001:db8:1::1 dev " + n + " metric 5 mtu 1400",
		"-6 route add 2001:db8:6::/48 via fe80::1 dev " + n + " table 100",
		"route add 203.0.113.16/28 nexthop via 192.0.2.1 dev " + n + " nexthop via 192.0.2.2 dev " + n + " weight 3",
		"route add 203.0.113.24/29 nexthop via 192.0.2.1 dev " + n + " nexthop via 198.18.0.2 dev beside0",
		"-6 route add 2001:db8:8::/48 nexthop via 2001:db8:1::1 dev " + n + " nexthop via 2001:db8:1::2 dev " + n,
		"-6 route add 2001:db8:a::/48 nexthop via 2001:db8:1::1 dev " + n + " nexthop via 2001:db8:9::2 dev beside0",
		"nexthop add id 7 via 192.0.2.1 dev " + n,
		"route add 203.0.113.8/29 nhid 7",
		"rule add iif " + n + " table 100 priority 500",
		"-6 rule add oif " + n + " fwmark 7 table 100 priority 501",
		"neigh add 192.0.2.200 lladdr 02:00:00:00:00:c8 dev " + n + " nud permanent",
		"neigh add proxy 192.0.2.201 dev " + n,
		"-6 neigh add proxy 2001:db8:1::201 dev " + n,
	} {
		w.host.Run("ip", strings.Fields(line)...)
	}
	w.host.Run("sysctl", "-qw", "net.ipv4.conf."+n+".proxy_arp=1", "net.ipv6.conf."+n+".accept_ra=2", "net.ipv6.conf."+n+".use_tempaddr=0")
}

// TestShare: all that a NIC carries moves onto the bridge and back, for names of
// 3 to 15 characters, while the host's connections go on; a second time changes
// nothing.
func TestShare(t *testing.T) {
	netnstest.AlsoVM(t)
	for _, nic := range []string{"en0", "eth0", "enp0s31f6", "enx00155d0a1b2c"} {
		t.Run(nic, func(t *testing.T) {
			w := newWorld(t, nic)
			w.furnish()
			before := w.carried(nic)
			mac := strings.Fields(w.host.Run("cat", "/sys/class/net/"+nic+"/address"))[0]
			tcp4, tcp6 := w.talk(router4), w.talk(router6)
			tcp4("before")
			tcp6("before")
			ping4, ping6 := w.pings("198.51.100.1"), w.pings("2001:db8:ffff::1")
			h := w.attach(attach.Options{})
			if _, err := h.Recover(); err != nil {
				t.Fatal(err)
			}
			w.share(h, time.Time{})
			br := w.bridge()
			if br == "" || len(br) > 15 || len(nic) <= 12 && br != "br-"+nic {
				t.Fatalf("the bridge is called %q", br)
			}
			if now := strings.Fields(w.host.Run("cat", "/sys/class/net/"+br+"/address"))[0]; now != mac {
				t.Errorf("the bridge has the MAC %s, not %s", now, mac)
			}
			if d := cmp.Diff(before, w.carried(br)); d != "" {
				t.Errorf("the bridge does not carry what the NIC did:\n%s", d)
			}
			if left := w.carried(nic); left != "" {
				t.Errorf("the NIC still carries\n%s", left)
			}
			for _, rule := range []string{"500:\tfrom all iif " + br, "501:\tfrom all oif " + br} {
				if got := w.host.Run("ip", "rule") + w.host.Run("ip", "-6", "rule"); !strings.Contains(strings.Join(strings.Fields(got), " "), strings.Join(strings.Fields(rule), " ")) && !strings.Contains(got, "oif "+br) {
					t.Errorf("no rule %q in\n%s", rule, got)
				}
			}
			if got := w.host.Run("sysctl", "-n", "net.ipv4.conf."+br+".proxy_arp", "net.ipv6.conf."+br+".accept_ra"); got != "1\n2\n" {
				t.Errorf("settings: %q", got)
			}
			tcp4("shared")
			tcp6("shared")
			w.reaches("shared")
			w.share(h, time.Time{})
			if d := cmp.Diff(before, w.carried(br)); d != "" {
				t.Errorf("sharing twice changed something:\n%s", d)
			}
			if err := h.Unshare(nic, ""); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(before, w.carried(nic)); d != "" {
				t.Errorf("the NIC did not get back what it had:\n%s", d)
			}
			if w.bridge() != "" {
				t.Error("the bridge is still there")
			}
			tcp4("back")
			tcp6("back")
			ping4(3)
			ping6(3)
			w.reaches("back")
			if len(h.Shared()) != 0 {
				t.Errorf("remembered: %v", h.Shared())
			}
		})
	}
}

// TestSettings: the NIC gets back what is set for the bridge by then, and who
// has recorded settings hears of each move.
func TestSettings(t *testing.T) {
	w := newWorld(t, "eth0")
	w.host.Run("sysctl", "-qw", "net.ipv4.conf.eth0.forwarding=1", "net.ipv6.conf.eth0.accept_ra=2")
	var moved []string
	opt := attach.Options{Moved: func(from, to string) {
		// It has them already.
		moved = append(moved, from+" "+to+" "+strings.TrimSpace(w.host.Run("sysctl", "-n", "net.ipv4.conf."+to+".forwarding")))
	}}
	h := w.attach(opt)
	w.share(h, time.Time{})
	w.host.Run("sysctl", "-qw", "net.ipv4.conf.br-eth0.forwarding=0", "net.ipv6.conf.br-eth0.accept_ra=1", "net.ipv4.conf.br-eth0.rp_filter=2")
	if err := h.Unshare("eth0", ""); err != nil {
		t.Fatal(err)
	}
	if got := w.host.Run("sysctl", "-n", "net.ipv4.conf.eth0.forwarding", "net.ipv6.conf.eth0.accept_ra", "net.ipv4.conf.eth0.rp_filter", "net.ipv6.conf.eth0.autoconf"); got != "0\n1\n2\n1\n" {
		t.Errorf("the NIC has %q", got)
	}
	if want := []string{"eth0 br-eth0 1", "br-eth0 eth0 0"}; !slices.Equal(moved, want) {
		t.Errorf("told %q, want %q", moved, want)
	}
}

// TestAdvertised: on the bridge, the router's advertisements go on to be heard:
// its routes are refreshed, and go when it says so.
func TestAdvertised(t *testing.T) {
	w := newWorld(t, "eth0")
	h := w.attach(attach.Options{})
	w.share(h, time.Time{})
	br := w.bridge()
	if got := w.host.Run("ip", "-6", "route", "show", "dev", br); !strings.Contains(got, "2001:db8:77::/48") {
		t.Errorf("no route information:\n%s", got)
	}
	w.host.Run("sysctl", "-qw", "net.ipv6.conf."+br+".accept_ra=1")
	// The lifetimes are set anew by an advertisement, which comes every 5 s.
	w.host.Run("ip", "-6", "address", "show", "dev", br)
	w.router.Run("ip", "link", "set", "lan0", "address", "02:00:00:00:00:99")
	netnstest.Eventually(t, 20*time.Second, "one default route, and one only", func() error {
		if n := strings.Count(w.host.Run("ip", "-6", "route", "show", "default"), "default"); n != 1 {
			return fmt.Errorf("%d default routes:\n%s", n, w.look())
		}
		return nil
	})
}

// TestAdvertisedBack: after the way there and back the router's routes are still
// the kernel's: they have an end, and go when the router takes its leave.
func TestAdvertisedBack(t *testing.T) {
	w := newWorld(t, "eth0")
	h := w.attach(attach.Options{})
	for range 2 {
		w.share(h, time.Time{})
		if err := h.Unshare("eth0", ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, dst := range []string{"default", "2001:db8:77::/48"} {
		if out := w.host.Run("ip", "-6", "route", "show", dst); strings.Count(out, " via ") != 1 || !strings.Contains(out, "expires") {
			t.Errorf("%s:\n%s", dst, out)
		}
	}
	if err := w.radvd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	netnstest.Eventually(t, 10*time.Second, "the router's routes are gone", func() error {
		if out := w.host.Run("ip", "-6", "route"); strings.Contains(out, "default via fe80:") || strings.Contains(out, "2001:db8:77::/48") {
			return errors.New(out)
		}
		return nil
	})
}

// TestRollBack: an error at any step has everything as it was, at once.
func TestRollBack(t *testing.T) {
	w := newWorld(t, "eth0")
	w.furnish()
	before := w.carried("eth0")
	tcp := w.talk(router4)
	for _, at := range []string{"recorded", "made", "up", "joined", "addresses", "routes", "rules", "stripped", "settled", "verified"} {
		reached := false
		h := w.attach(attach.Options{Step: func(step string) error {
			if step == at {
				reached = true
				return errors.New("made to fail")
			}
			return nil
		}})
		err := h.Share(context.Background(), "eth0", time.Now().Add(time.Minute))
		if err == nil || !reached {
			t.Fatalf("%s: %v, reached %v", at, err, reached)
		}
		if d := cmp.Diff(before, w.carried("eth0")); d != "" {
			t.Errorf("%s: not as it was:\n%s", at, d)
		}
		if b := w.bridge(); b != "" {
			t.Errorf("%s: %s is still there", at, b)
		}
		tcp(at)
		if s := h.Shared(); len(s) != 1 || !s[0].Ended || !strings.Contains(s[0].Why, "made to fail") {
			t.Errorf("%s: remembered: %+v", at, s)
		}
	}
	w.reaches("after all")
}

// TestGatewaySilent: when the gateway does not answer on the bridge, the NIC has
// everything back.
func TestGatewaySilent(t *testing.T) {
	w := newWorld(t, "eth0")
	before := w.carried("eth0")
	h := w.attach(attach.Options{Step: func(step string) error {
		if step == "settled" {
			w.router.Run("ip", "link", "set", "lan0", "arp", "off")
			w.router.Run("ip", "address", "del", router4+"/24", "dev", "lan0")
		}
		return nil
	}})
	err := h.Share(context.Background(), "eth0", time.Time{})
	if err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Fatalf("%v", err)
	}
	if d := cmp.Diff(before, w.carried("eth0")); d != "" {
		t.Errorf("not as it was:\n%s", d)
	}
}

// TestDeadline: what is not confirmed is undone at the next start, by either
// clock; what is confirmed stays.
func TestDeadline(t *testing.T) {
	w := newWorld(t, "eth0")
	before := w.carried("eth0")
	until := time.Now().Add(time.Hour)
	w.share(w.attach(attach.Options{}), until)
	if ended, err := w.attach(attach.Options{}).Recover(); err != nil || len(ended) != 0 || w.bridge() == "" {
		t.Fatalf("ended early: %v %v", ended, err)
	}
	// The clock was set back by a day, but two hours went by.
	h := w.attach(attach.Options{
		Now:       func() time.Time { return time.Now().Add(-24 * time.Hour) },
		SinceBoot: func() time.Duration { return 1 << 60 },
	})
	if s := h.Shared(); !s[0].Lapsed {
		t.Error("the time since boot does not count")
	}
	ended, err := h.Recover()
	if err != nil || len(ended) != 1 || !ended[0].Until.Equal(until) {
		t.Fatalf("%v %v", ended, err)
	}
	if d := cmp.Diff(before, w.carried("eth0")); d != "" {
		t.Errorf("not as it was:\n%s", d)
	}
	if s := h.Shared(); len(s) != 1 || !s[0].Ended || !s[0].Until.Equal(until) {
		t.Errorf("remembered: %+v", s)
	}
	h = w.attach(attach.Options{})
	if err := h.Forget("eth0"); err != nil || len(h.Shared()) != 0 {
		t.Errorf("not forgotten: %v %v", err, h.Shared())
	}
	w.share(h, until)
	if err := h.Set(context.Background(), "eth0", attach.Want{Shared: true}); err != nil {
		t.Fatal(err)
	}
	h = w.attach(attach.Options{Now: func() time.Time { return until.Add(time.Hour) }, SinceBoot: func() time.Duration { return 1 << 60 }})
	if ended, err := h.Recover(); err != nil || len(ended) != 0 || w.bridge() == "" {
		t.Errorf("confirmed, and ended: %v %v", ended, err)
	}
	w.reaches("confirmed")
}

// TestReboot: the kernel forgot everything. What was confirmed is made again by
// who wishes it, what was not is remembered as ended.
func TestReboot(t *testing.T) {
	for _, confirmed := range []bool{true, false} {
		w := newWorld(t, "eth0")
		until := time.Now().Add(time.Hour)
		if confirmed {
			until = time.Time{}
		}
		w.share(w.attach(attach.Options{Boot: "one"}), until)
		w2 := newWorld(t, "eth0")
		w2.state = w.state
		before := w2.carried("eth0")
		h := w2.attach(attach.Options{Boot: "two"})
		if ended, err := h.Recover(); err != nil || len(ended) != 0 {
			t.Fatalf("%v %v", ended, err)
		}
		if d := cmp.Diff(before, w2.carried("eth0")); d != "" {
			t.Errorf("a reboot did something:\n%s", d)
		}
		s := h.Shared()
		if confirmed && len(s) != 0 || !confirmed && (len(s) != 1 || !s[0].Ended || !s[0].Until.Equal(until)) {
			t.Errorf("confirmed %v: %+v", confirmed, s)
		}
		w2.share(h, time.Time{})
		w2.reaches("again")
	}
}

// TestUnplugged: a NIC that comes back is put into its bridge again, and a bridge
// whose record was lost is known by its mark.
func TestUnplugged(t *testing.T) {
	w := newWorld(t, "eth0")
	w.share(w.attach(attach.Options{}), time.Time{})
	br := w.bridge()
	w.host.Run("ip", "link", "set", "eth0", "nomaster")
	if err := os.Remove(filepath.Join(w.state, "shared.json")); err != nil {
		t.Fatal(err)
	}
	h := w.attach(attach.Options{})
	if _, err := h.Recover(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := h.Mend("eth0"); err != nil {
			t.Fatal(err)
		}
	}
	if out := w.host.Run("ip", "link", "show", "eth0"); !strings.Contains(out, "master "+br) {
		t.Errorf("not in the bridge:\n%s", out)
	}
	w.reaches("plugged again")
	if err := h.Unshare("eth0", ""); err != nil {
		t.Fatal(err)
	}
	w.reaches("back")
}

// TestRefused: what cannot be shared is refused in the words of who manages it,
// and nothing changes.
func TestRefused(t *testing.T) {
	w := newWorld(t, "eth0")
	index := strings.TrimSpace(w.host.Run("cat", "/sys/class/net/eth0/ifindex"))
	before := w.carried("eth0")
	w.host.Run("ip", "link", "add", "br7", "type", "bridge")
	w.host.Run("ip", "link", "add", "port0", "master", "br7", "type", "veth", "peer", "name", "port1")
	file := func(path, text string) fstest.MapFS { return fstest.MapFS{path: {Data: []byte(text)}} }
	for name, tt := range map[string]struct {
		nic   string
		run   fstest.MapFS
		words []string
	}{
		"none":           {nic: "eth7", words: []string{"no link eth7"}},
		"a bridge":       {nic: "br7", words: []string{"is a bridge", "link=br7"}},
		"a port":         {nic: "port0", words: []string{"belongs to br7", "link=br7"}},
		"loopback":       {nic: "lo", words: []string{"no Ethernet"}},
		"networkd":       {run: file("systemd/netif/links/"+index, "ADMIN_STATE=configured\n"), words: []string{"systemd-networkd", "Kind=bridge", "MACAddress=", "IAID=", "networkctl status eth0"}},
		"NetworkManager": {run: file("NetworkManager/devices/"+index, "[device]\nmanaged=true\n"), words: []string{"NetworkManager", "nmcli connection add type bridge"}},
		"ifupdown":       {run: file("network/ifstate", "lo=lo\neth0=eth0\n"), words: []string{"ifupdown", "bridge_ports eth0"}},
	} {
		h := w.attach(attach.Options{Run: tt.run})
		nic := tt.nic
		if nic == "" {
			nic = "eth0"
		}
		err := h.Share(context.Background(), nic, time.Time{})
		var e *vnet.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, word := range tt.words {
			if !strings.Contains(e.Error()+e.Hint, word) {
				t.Errorf("%s: %q, hint %q do not name %q", name, e, e.Hint, word)
			}
		}
	}
	w.host.Run("ip", "address", "change", host4+"/24", "dev", "eth0", "valid_lft", "600", "preferred_lft", "600")
	if err := w.attach(attach.Options{}).Share(context.Background(), "eth0", time.Time{}); err == nil || !strings.Contains(err.Error(), "DHCP client") {
		t.Errorf("a leased address: %v", err)
	}
	w.host.Run("ip", "address", "change", host4+"/24", "dev", "eth0")
	if d := cmp.Diff(before, w.carried("eth0")); d != "" {
		t.Errorf("something changed:\n%s", d)
	}
}

// TestRecordRefused: without a record, nothing is touched.
func TestRecordRefused(t *testing.T) {
	w := newWorld(t, "eth0")
	before := w.carried("eth0")
	h := w.attach(attach.Options{})
	if err := os.RemoveAll(w.state); err != nil {
		t.Fatal(err)
	}
	if err := h.Share(context.Background(), "eth0", time.Time{}); err == nil || !strings.Contains(err.Error(), "record") {
		t.Errorf("%v", err)
	}
	if d := cmp.Diff(before, w.carried("eth0")); d != "" || w.bridge() != "" {
		t.Errorf("something changed:\n%s", d)
	}
}
