package vnet

import (
	"encoding/hex"
	"strings"
)

// MAC is an EUI-48 link-layer address.
type MAC [6]byte

// ParseMAC reads a MAC with colons, dashes or dots (aa:bb:cc:dd:ee:ff,
// aa-bb-cc-dd-ee-ff, aabb.ccdd.eeff).
func ParseMAC(s string) (MAC, error) {
	var m MAC
	bad := func() (MAC, error) {
		return MAC{}, Invalid("mac", "%s is no MAC address", quote(s)).WithHint("write it as 52:54:00:aa:00:01")
	}
	var sep string
	var groups, size int
	switch {
	case len(s) == 17 && (s[2] == ':' || s[2] == '-'):
		sep, groups, size = s[2:3], 6, 2
	case len(s) == 14 && s[4] == '.':
		sep, groups, size = ".", 3, 4
	default:
		return bad()
	}
	parts := strings.Split(s, sep)
	if len(parts) != groups {
		return bad()
	}
	for _, p := range parts {
		if len(p) != size {
			return bad()
		}
	}
	if _, err := hex.Decode(m[:], []byte(strings.Join(parts, ""))); err != nil {
		return bad()
	}
	return m, nil
}

// String returns the colon form in lower case.
func (m MAC) String() string { return string(m.Append(make([]byte, 0, 17))) }

// Append appends what String returns.
func (m MAC) Append(b []byte) []byte {
	const digits = "0123456789abcdef"
	for i, x := range m {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, digits[x>>4], digits[x&15])
	}
	return b
}

// IsZero reports whether m is all zero, which means "not set".
func (m MAC) IsZero() bool { return m == MAC{} }

// IsUnicast reports whether m may be a station's address.
func (m MAC) IsUnicast() bool { return m[0]&1 == 0 && !m.IsZero() }

// MarshalText returns String's form, empty for the zero MAC.
func (m MAC) MarshalText() ([]byte, error) {
	if m.IsZero() {
		return nil, nil
	}
	return []byte(m.String()), nil
}

// UnmarshalText parses what ParseMAC takes; empty means not set.
func (m *MAC) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*m = MAC{}
		return nil
	}
	v, err := ParseMAC(string(b))
	if err != nil {
		return err
	}
	*m = v
	return nil
}
