package scenario

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/lab/topo"
)

// prefix4 is the network's IPv4 prefix now.
func (w *world) prefix4(network string) netip.Prefix {
	w.t.Helper()
	out := w.sh("ip -4 -o addr show dev " + w.bridge(network) + " scope global")
	for f := range strings.FieldsSeq(out) {
		if p, err := netip.ParsePrefix(f); err == nil {
			return p.Masked()
		}
	}
	return netip.Prefix{}
}

// TestDefaultAvoidsWhatIsThere: the default network's range clashes with no
// route of any table.
func TestDefaultAvoidsWhatIsThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Minute, topo.HostConfig{})
	taken := netip.MustParsePrefix("192.168.0.0/16")
	w.sh("ip route add " + taken.String() + " via " + topo.UpstreamLink4.Addr().String() +
		"; ip route add 172.16.0.0/12 dev " + w.host.Uplink + " table 77")
	w.serve()
	got := w.prefix4("default")
	if !got.IsValid() || got.Overlaps(taken) || got.Overlaps(netip.MustParsePrefix("172.16.0.0/12")) {
		t.Errorf("the default network has %v", got)
	}
	w.answers(w.guest("alpha", "default"))
}

// TestDefaultMoves: the host joins a network that clashes; the default network
// moves, and a guest with a live dhclient follows. A network with a fixed
// range warns.
func TestDefaultMoves(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2*time.Minute, topo.HostConfig{})
	w.serve()
	// dhclient does not look at the carrier, but it renews at T1.
	w.sh("sextant network set default leaseTime=20s")
	guest := w.guest("alpha", "default")
	old := w.prefix4("default")
	w.sh("sextant network create fixed ipv4=nat ipv4.address=10.77.0.1/24 ipv6=none")
	// As when a laptop joins another Wi-Fi.
	w.sh("ip addr add " + netip.PrefixFrom(old.Addr().Next().Next(), old.Bits()).String() + " dev " + w.host.Uplink +
		"; ip route add 10.77.0.0/16 via " + topo.UpstreamLink4.Addr().String())
	w.eventually(10*time.Second, "the default network moves", func() error {
		if now := w.prefix4("default"); !now.IsValid() || now.Overlaps(old) {
			return fmt.Errorf("it has %v", now)
		}
		return nil
	})
	moved := w.prefix4("default")
	w.eventually(60*time.Second, "the guest follows", func() error {
		out, err := guest.Sh(w.ctx, "ip -4 -o addr show dev eth0 scope global")
		if err != nil {
			return err
		}
		for f := range strings.FieldsSeq(out) {
			if p, err := netip.ParsePrefix(f); err == nil && moved.Contains(p.Addr()) {
				return nil
			}
		}
		return fmt.Errorf("it has %s, the network %v", out, moved)
	})
	w.eventually(10*time.Second, "the fixed network warns", func() error {
		out, err := w.host.Sh(w.ctx, "sextant status")
		if err == nil && (!strings.Contains(out, "fixed") || !strings.Contains(out, "10.77.0.0/16")) {
			err = fmt.Errorf("status says\n%s", out)
		}
		return err
	})
}
