package link_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// attach opens a tap as a hypervisor does, with the given flags.
func attach(name string, flags uint16) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	req.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// TestAttach: what a hypervisor may ask of a tap of ours, and that its
// attaching changes nothing that we look at.
func TestAttach(t *testing.T) {
	h := newHost(t)
	items := []plan.Item{
		plan.Bridge{Name: "sx-web", Owner: owner, MAC: mac},
		plan.Tap{Name: "sxt1", Owner: port, User: "nobody"},
		plan.Member{Link: "sxt1", Bridge: "sx-web", Owner: port},
	}
	h.apply(items, nil)
	const plain = unix.IFF_TAP | unix.IFF_NO_PI
	err := h.ns.Do(func() error {
		f, err := attach("sxt1", plain|unix.IFF_VNET_HDR)
		if err != nil {
			return err
		}
		defer f.Close()
		if out := h.ns.Run("ip", "-d", "link", "show", "sxt1"); !strings.Contains(out, "vnet_hdr on") || !strings.Contains(out, "LOWER_UP") {
			t.Errorf("attached: %s", out)
		}
		h.settled(items) // also while it is open
		if _, err := attach("sxt1", plain); !errors.Is(err, unix.EBUSY) {
			t.Errorf("attached twice: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if out := h.ns.Run("ip", "-d", "link", "show", "sxt1"); !strings.Contains(out, "persist on") {
		t.Errorf("after the guest: %s", out)
	}
	h.settled(items)
	err = h.ns.Do(func() error {
		f, err := attach("sxt1", plain|unix.IFF_MULTI_QUEUE)
		if err == nil {
			f.Close()
		}
		return err
	})
	if !errors.Is(err, unix.EINVAL) {
		t.Errorf("several queues of a tap made with one: %v", err)
	}
}

// TestAdopted: a link that is not ours can be a member; it is let go, not
// removed, and its settings are given back.
func TestAdopted(t *testing.T) {
	h := newHost(t)
	h.ns.Run("ip", "link", "add", "vnet0", "type", "veth", "peer", "name", "guest0")
	h.ns.Run("ip", "link", "add", "br0", "type", "bridge")
	items := []plan.Item{
		plan.Bridge{Name: "sx-web", Owner: owner, MAC: mac},
		plan.Sysctl{Path: "net/ipv6/conf/vnet0/disable_ipv6", Value: "1"},
		plan.Member{Link: "vnet0", Bridge: "sx-web", Owner: port},
	}
	h.apply(items, nil)
	h.settled(items)
	// Somebody takes it away; it is brought back.
	h.ns.Run("ip", "link", "set", "vnet0", "master", "br0")
	if got := h.actual(items)[items[2].Key()]; got == items[2] {
		t.Error("not seen that it is in another bridge")
	}
	h.apply(items[2:], nil)
	h.settled(items)
	// A restarted agent that knows nothing of the port lets it be.
	h.restart()
	if got := h.actual(items[:1]); got[items[2].Key()] != nil {
		t.Errorf("somebody else's port would be pruned: %v", got)
	}
	h.apply(nil, []plan.Item{items[2], items[1], items[0]})
	out := h.ns.Run("ip", "link", "show", "vnet0")
	if strings.Contains(out, "master") {
		t.Errorf("still a member: %s", out)
	}
	if got := h.sysctl("net/ipv6/conf/vnet0/disable_ipv6"); got != "0" {
		t.Errorf("disable_ipv6 = %s", got)
	}
	h.fails(plan.Member{Link: "vnet0", Bridge: "guest0"}, vnet.ErrInvalid, "guest0")
}
