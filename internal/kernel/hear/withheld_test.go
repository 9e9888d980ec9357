package hear

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// TestHearsWithheldAdvertisements: what radvd says behind one port, and what
// the host itself says, is heard where it is kept from another port, with that
// port, and a third one gets it.
func TestHearsWithheldAdvertisements(t *testing.T) {
	netnstest.AlsoVM(t)
	netnstest.NeedCommands(t, "radvd", "rdisc6")
	b := newBridge(t, 3)
	l := b.listen(t)
	kept, in := indexOf(t, b.host, "port1"), indexOf(t, b.host, "port0")
	mac := macOf(t, b.guests[0], "eth0")

	radvd(t, b.guests[0], "eth0", "2001:db8:7::/64")
	h := withheld(t, l, func(h Heard) bool { return h.Link != 0 })
	if h.Out != kept || h.Link != in || h.MAC != mac {
		t.Errorf("link %d, out %d, MAC %v; want %d, %d, %v", h.Link, h.Out, h.MAC, in, kept, mac)
	}
	if from := netip.AddrFrom16([16]byte(h.Packet[8:24])); !from.IsLinkLocalUnicast() || h.Packet[40] != 134 {
		t.Errorf("from %v, type %d", from, h.Packet[40])
	}
	netnstest.Eventually(t, 10*time.Second, "the third guest hears radvd", func() error { // once its address is its
		out, err := b.guests[2].Try("rdisc6", "-1", "eth0")
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	if out, err := b.guests[1].Try("rdisc6", "-1", "-w", "1000", "-r", "1", "eth0"); err == nil {
		t.Errorf("it comes through: %s", out)
	}

	radvd(t, b.host, "br0", "2001:db8:8::/64")
	h = withheld(t, l, func(h Heard) bool { return h.Link == 0 })
	if h.Out != kept || h.MAC != (vnet.MAC{}) {
		t.Errorf("of the host itself: out %d, MAC %v", h.Out, h.MAC)
	}
}

// withheld waits for an advertisement that was kept back.
func withheld(t *testing.T, l *Listener, ok func(Heard) bool) Heard {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		select {
		case h := <-l.C():
			if h.Out != 0 && len(h.Packet) > 56 && ok(h) {
				return h
			}
		case <-limit:
			t.Fatal("no advertisement was heard that was kept back")
		}
	}
}

// radvd advertises a prefix on a link.
func radvd(t *testing.T, ns *netnstest.NS, link, prefix string) {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "radvd.conf")
	text := "interface " + link + " { AdvSendAdvert on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; prefix " + prefix + " { }; };\n"
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	ns.Run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
	ns.Start("radvd", "--nodaemon", "--logmethod=stderr", "--config="+conf, "--pidfile="+filepath.Join(dir, "pid"))
}
