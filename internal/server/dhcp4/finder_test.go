package dhcp4

import (
	"net"
	"testing"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// The kernel of another host answers for the address that it has, and for none
// else; all who ask are told, and nobody after the end.
func TestKernelFinder(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	other := netnstest.New(t, "dhcp4-o")
	netnstest.Veth(l.router, "p-other", other, "eth0")
	l.router.Run("ip", "link", "set", "p-other", "master", "br0")
	other.Run("ip", "addr", "add", "192.0.2.50/24", "dev", "eth0")
	var f *finder
	index, owner := 0, vnet.MAC{}
	if err := l.router.Do(func() (err error) {
		if f, err = openFinder(); err == nil {
			index, err = indexOf("br0")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	// Guests speak ARP among themselves and with us meanwhile: no answers.
	l.router.Run("ping", "-c", "1", "-W", "2", "192.0.2.50")
	src := l.mac("br0")
	type word struct {
		address string
		by      vnet.MAC
	}
	told := make(chan word, 8)
	if err := other.Do(func() error {
		i, err := net.InterfaceByName("eth0")
		if err == nil {
			copy(owner[:], i.HardwareAddr)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{"192.0.2.50", "192.0.2.51", "192.0.2.50", "192.0.2.51", "192.0.2.1"} {
		f.find(index, src, ip(a), func(by vnet.MAC) { told <- word{a, by} })
	}
	for range 5 {
		// Our own kernel does not answer us, and could not say more than we know.
		want := vnet.MAC{}
		got := <-told
		if got.address == "192.0.2.50" {
			want = owner
		}
		if got.by != want {
			t.Errorf("%s: %v answered, want %v", got.address, got.by, want)
		}
	}
	// A link that is gone has nobody.
	f.find(1<<20, src, ip("192.0.2.50"), func(by vnet.MAC) { told <- word{"gone", by} })
	if got := <-told; !got.by.IsZero() {
		t.Errorf("a link that is gone: %+v", got)
	}
	f.find(index, src, ip("192.0.2.51"), func(vnet.MAC) { t.Error("told after the end") })
	if err := f.close(); err != nil {
		t.Error(err)
	}
	f.find(index, src, ip("192.0.2.50"), func(vnet.MAC) { t.Error("told after the end") })
	if f.asked != nil {
		t.Errorf("%d are still looked for", len(f.asked))
	}
}

// indexOf is the index of a link of the calling thread's namespace.
func indexOf(link string) (int, error) {
	i, err := net.InterfaceByName(link)
	if err != nil {
		return 0, err
	}
	return i.Index, nil
}
