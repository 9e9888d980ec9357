package dhcp

import (
	"strings"

	"github.com/sextant-net/sextant/internal/vnet"
)

// maxSearch bounds the search domains that clients are told.
const maxSearch = 6

// Label returns the first label of a name if it is a host's, in lower case,
// else "". Zero bytes at the end, which some clients send, do not count.
func Label(s string) string { return vnet.HostLabel(strings.TrimRight(s, "\x00")) }

// SearchList returns the search domains that RFC 1035 labels can carry, at
// most six.
func SearchList(names []string) []string {
	var out []string
	for _, n := range names {
		n = strings.TrimSuffix(n, ".")
		ok := n != "" && len(n) <= 253 && len(out) < maxSearch
		for l := range strings.SplitSeq(n, ".") {
			ok = ok && l != "" && len(l) < 64
		}
		if ok {
			out = append(out, n)
		}
	}
	return out
}
