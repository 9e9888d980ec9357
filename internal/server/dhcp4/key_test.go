package dhcp4

import (
	"testing"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/vnet"
)

// A client is found by its identifier, if that says more than the MAC, unless it
// is a port.
func TestKeyOfLease(t *testing.T) {
	for _, tc := range []struct {
		lease vnet.Lease
		want  string
	}{
		{vnet.Lease{MAC: mac(1)}, stationKey(mac(1))},
		{vnet.Lease{MAC: mac(1), Client: "ff0102"}, "id:ff0102"},
		{vnet.Lease{MAC: mac(1), Client: "odd"}, "id:odd"},
		{vnet.Lease{MAC: mac(1), Client: "ff0102", Port: "vm"}, stationKey(mac(1))},
		{vnet.Lease{MAC: vnet.MAC{0x52, 0x54, 0, 0, 0, 9}, Client: "01525400000009"}, "mac:52:54:00:00:00:09"},
		{vnet.Lease{MAC: vnet.MAC{0x52, 0x54, 0, 0, 0, 9}, Client: "06525400000009"}, "id:06525400000009"},
		{vnet.Lease{MAC: vnet.MAC{0x52, 0x54, 0, 0, 0, 8}, Client: "01525400000009"}, "id:01525400000009"},
	} {
		if got := string(appendClient([]byte("-"), pack.Of(&tc.lease))); got != "-"+tc.want {
			t.Errorf("%+v: %q, want %q", tc.lease, got, tc.want)
		}
	}
}
