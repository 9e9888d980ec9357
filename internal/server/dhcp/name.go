package dhcp

import "strings"

// maxSearch bounds the search domains that clients are told.
const maxSearch = 6

// Label returns the first label of a name if it is a host's, in lower case,
// else "". Zero bytes at the end, which some clients send, do not count.
func Label(s string) string {
	s, _, _ = strings.Cut(strings.TrimRight(s, "\x00"), ".")
	s = strings.ToLower(s)
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return ""
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return ""
		}
	}
	return s
}

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
