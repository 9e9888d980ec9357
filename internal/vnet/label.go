package vnet

import "strings"

// DNSLabel turns an object's name into a DNS label (RFC 1123 section 2.1): in
// lower case, with a hyphen for every run of characters that are no letter or
// digit, none at either end, at most 63 octets: "VM_1.web" is "vm-1-web". It
// is empty if nothing remains, which happens to no valid name.
func DNSLabel(name string) string {
	b := make([]byte, 0, min(len(name), 63))
	for i := 0; i < len(name) && len(b) < 63; i++ {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		switch {
		case alnum(c):
			b = append(b, c)
		case len(b) > 0 && b[len(b)-1] != '-':
			b = append(b, '-')
		}
	}
	if n := len(b); n > 0 && b[n-1] == '-' {
		b = b[:n-1]
	}
	return string(b)
}

// HostLabel returns the first label of a host's name in lower case, "" if it is
// no DNS label.
func HostLabel(name string) string {
	label, _, _ := strings.Cut(name, ".")
	if label = strings.ToLower(label); !IsDNSLabel(label) {
		return ""
	}
	return label
}
