package ipam

import (
	"net/netip"
	"testing"

	"github.com/sextant-net/sextant/internal/vnet"
)

// TestBlocks: the parts of a range are as many as asked for at most, follow each
// other, and make up the range.
func TestBlocks(t *testing.T) {
	for _, c := range []struct {
		first, last string
		n, want     int
	}{
		{"10.0.0.0", "10.0.0.255", 64, 64},
		{"10.0.0.1", "10.0.3.250", 64, 64},
		{"10.0.0.5", "10.0.0.5", 64, 1},
		{"10.0.0.1", "10.0.0.10", 64, 10},
		{"255.255.255.0", "255.255.255.255", 3, 3},
		{"fd00::", "fd00::ffff:ffff:ffff:ffff", 64, 64},
		{"fd00::1:0:0", "fd00::1:ffff:ffff", 64, 64},
		{"::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 4, 4},
		{"10.0.0.9", "10.0.0.1", 4, 0},
		{"10.0.0.0", "10.0.0.255", 0, 0},
	} {
		r := vnet.Range{First: netip.MustParseAddr(c.first), Last: netip.MustParseAddr(c.last)}
		got := Blocks(r, c.n)
		if len(got) != c.want {
			t.Errorf("%v in %d: %d parts, want %d", r, c.n, len(got), c.want)
			continue
		}
		if joined := Merge(got); c.want > 0 && (len(joined) != 1 || joined[0] != r) {
			t.Errorf("%v in %d: together %v", r, c.n, joined)
		}
		for i := 1; i < len(got); i++ {
			if Meet(got[i-1], got[i]) {
				t.Errorf("%v in %d: %v meets %v", r, c.n, got[i-1], got[i])
			}
		}
	}
}
