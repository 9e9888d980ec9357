package listen

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// TestLinks: what comes, goes and is renamed is told in its namespace, to all
// who watch there and nobody else.
func TestLinks(t *testing.T) {
	netnstest.NeedRoot(t)
	box, other := netnstest.New(t, "links"), netnstest.New(t, "links-other")
	box.Run("ip", "link", "add", "br0", "type", "bridge")
	all := NewLinks()
	told, elsewhere := make(chan string, 1000), make(chan string, 1000)
	var stops []func()
	for name, to := range map[string]chan string{"a": told, "b": told} {
		stop, err := all.Watch(box.Do, func() { to <- name })
		if err != nil {
			t.Fatal(err)
		}
		stops = append(stops, stop)
	}
	stop, err := all.Watch(other.Do, func() { elsewhere <- "c" })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if len(all.spaces) != 2 {
		t.Errorf("%d sockets for two namespaces", len(all.spaces))
	}
	for _, command := range [][]string{
		{"link", "add", "eth0", "type", "veth", "peer", "name", "eth1"},
		{"link", "set", "eth1", "name", "eth7"},
		{"link", "del", "eth0"},
	} {
		for len(told) > 0 {
			<-told
		}
		box.Run("ip", command...)
		seen := map[string]bool{}
		netnstest.Eventually(t, 10*time.Second, command[1], func() error {
			for len(told) > 0 {
				seen[<-told] = true
			}
			if len(seen) < 2 {
				return errors.New("not told")
			}
			return nil
		})
	}
	for _, stop := range stops {
		stop()
	}
	if n := len(elsewhere); n != 0 || len(all.spaces) != 1 {
		t.Errorf("told %d times in another namespace; %d sockets are left", n, len(all.spaces))
	}
}

// linkMessage is a message about a link.
func linkMessage(kind uint16, family byte, index uint32, name string) []byte {
	attr := append(make([]byte, unix.SizeofRtAttr), name+"\x00"...)
	binary.NativeEndian.PutUint16(attr, uint16(len(attr)))
	binary.NativeEndian.PutUint16(attr[2:], ifNameAttr)
	b := make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg, 100)
	b = append(b, attr...)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	b[unix.SizeofNlMsghdr] = family
	binary.NativeEndian.PutUint32(b[unix.SizeofNlMsghdr+4:], index)
	return append(b, make([]byte, (4-len(b)%4)%4)...)
}

func TestLinkChanges(t *testing.T) {
	w := &linkWatch{names: map[int32]string{}}
	for _, tt := range []struct {
		what   string
		b      []byte
		change bool
	}{
		{"a link", linkMessage(unix.RTM_NEWLINK, 0, 7, "br0"), true},
		{"the same", linkMessage(unix.RTM_NEWLINK, 0, 7, "br0"), false},
		{"as a port of a bridge", linkMessage(unix.RTM_NEWLINK, unix.AF_BRIDGE, 8, "tap0"), false},
		{"no longer one", linkMessage(unix.RTM_DELLINK, unix.AF_BRIDGE, 7, "br0"), false},
		{"another name", linkMessage(unix.RTM_NEWLINK, 0, 7, "br1"), true},
		{"gone", linkMessage(unix.RTM_DELLINK, 0, 7, "br1"), true},
		{"again", linkMessage(unix.RTM_NEWLINK, 0, 9, "br1"), true},
		{"two at once", append(linkMessage(unix.RTM_NEWLINK, 0, 9, "br1"), linkMessage(unix.RTM_NEWLINK, 0, 10, "br2")...), true},
		{"cut off", linkMessage(unix.RTM_NEWLINK, 0, 9, "br1")[:20], true},
		{"nothing", nil, false},
	} {
		if got := w.changed(tt.b); got != tt.change {
			t.Errorf("%s: %v", tt.what, got)
		}
	}
}

func FuzzLinkChanges(f *testing.F) {
	f.Add(linkMessage(unix.RTM_NEWLINK, 0, 7, "br0"))
	f.Add(append(linkMessage(unix.RTM_DELLINK, 0, 7, "br0"), linkMessage(unix.RTM_NEWLINK, 0, 8, "br0")...))
	f.Fuzz(func(_ *testing.T, b []byte) {
		w := &linkWatch{names: map[int32]string{7: "br0"}}
		w.changed(b)
	})
}
