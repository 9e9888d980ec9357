package dhcp4

import (
	"net"
	"testing"

	"github.com/sextant-net/sextant/internal/netnstest"
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
	index := 0
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
	told := make(chan [2]any, 8)
	for _, a := range []string{"192.0.2.50", "192.0.2.51", "192.0.2.50", "192.0.2.51", "192.0.2.1"} {
		f.find(index, src, ip(a), func(taken bool) { told <- [2]any{a, taken} })
	}
	for range 5 {
		// Our own kernel does not answer us, and could not say more than we know.
		if got := <-told; got[1] != (got[0] == "192.0.2.50") {
			t.Errorf("%v: taken %v", got[0], got[1])
		}
	}
	// A link that is gone has nobody.
	f.find(1<<20, src, ip("192.0.2.50"), func(taken bool) { told <- [2]any{"gone", taken} })
	if got := <-told; got[1] != false {
		t.Errorf("a link that is gone: %v", got)
	}
	f.find(index, src, ip("192.0.2.51"), func(bool) { t.Error("told after the end") })
	if err := f.close(); err != nil {
		t.Error(err)
	}
	f.find(index, src, ip("192.0.2.50"), func(bool) { t.Error("told after the end") })
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
