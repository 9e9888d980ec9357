package dhcp6

import (
	"testing"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/vnet"
)

// The key of a client is the same whichever way its lease is kept.
func TestKeyOfPackedLease(t *testing.T) {
	for _, l := range []vnet.Lease{
		{Port: "vm", MAC: mac(1), DUID: "00:03:00:01", IAID: 7},
		{MAC: mac(1), DUID: "00:03:00:01", IAID: 1<<32 - 1},
		{DUID: "00:03:00:01"},
		{DUID: "odd", IAID: 1},
		{},
	} {
		if got, want := string(appendClient([]byte("-"), pack.Of(&l))), "-"+clientOf(&l); got != want {
			t.Errorf("%+v: %q, want %q", l, got, want)
		}
	}
}
