package radv

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/mdlayher/ndp"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

// TestFrame compares our frames' checksums with the codec's.
func TestFrame(t *testing.T) {
	from := ipam.LinkLocal(alphaMAC)
	for _, to := range []netip.Addr{allNodes, netip.MustParseAddr("fe80::1")} {
		for _, ra := range []*ndp.RouterAdvertisement{{}, {CurrentHopLimit: 64, Options: []ndp.Option{ndp.NewMTU(1500)}}} {
			plain, err := ndp.MarshalMessage(ra)
			if err != nil {
				t.Fatal(err)
			}
			want, err := ndp.MarshalMessageChecksum(ra, from, to)
			if err != nil {
				t.Fatal(err)
			}
			f := frame(betaMAC, alphaMAC, from, to, plain)
			if got := f[etherLen+ipLen:]; !bytes.Equal(got, want) {
				t.Errorf("to %v: %x, want %x", to, got, want)
			}
			if vnet.MAC(f[:6]) != betaMAC || vnet.MAC(f[6:12]) != alphaMAC || f[12] != 0x86 || f[13] != 0xdd || int(f[etherLen+5]) != len(plain) {
				t.Errorf("header %x", f[:etherLen+ipLen])
			}
		}
	}
}
