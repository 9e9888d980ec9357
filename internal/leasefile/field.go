package leasefile

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// longestID is the most bytes of an identifier: a DUID has up to 130, option 61
// up to 255.
const longestID = 255

// parseAddress reads an address that a guest can have.
func parseAddress(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.Is4In6() || a.IsUnspecified() || a.IsMulticast() {
		return netip.Addr{}, vnet.Invalid("", "%.60q is no address of a guest", s)
	}
	return a, nil
}

// checkLength checks the length of the delegated prefix that r begins.
func checkLength(r Record, n uint64) (int, error) {
	p := netip.PrefixFrom(r.Address, int(n))
	if n == 0 || n > 128 || !r.Address.Is6() || p.Masked() != p {
		return 0, vnet.Invalid("", "%s/%d is no prefix", r.Address, n)
	}
	return int(n), nil
}

// parseNumber reads a decimal number.
func parseNumber(what, s string, bits int) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, bits)
	if err != nil {
		return 0, vnet.Invalid("", "%.40q is no %s", s, what)
	}
	return n, nil
}

// parseHex reads bytes in hex: of one or two digits each with colons or dashes
// between them, or with nothing between them.
func parseHex(s string) ([]byte, error) {
	bad := vnet.Invalid("", "%.60q is no identifier in hex", s)
	if len(s) > 3*longestID {
		return nil, bad
	}
	if !strings.ContainsAny(s, ":-") {
		b, err := hex.DecodeString(s)
		if err != nil || len(b) > longestID {
			return nil, bad
		}
		return b, nil
	}
	var out []byte
	for p := range strings.SplitSeq(strings.ReplaceAll(s, "-", ":"), ":") {
		n, err := strconv.ParseUint(p, 16, 8)
		if err != nil || len(p) > 2 {
			return nil, bad
		}
		out = append(out, byte(n))
	}
	return out, nil
}

// formatDUID is the form of Record.DUID; "" if the bytes cannot be a DUID (RFC
// 9915 section 11.1).
func formatDUID(b []byte) string {
	if len(b) < 3 || len(b) > 130 {
		return ""
	}
	out := make([]byte, 0, 3*len(b))
	for i, x := range b {
		if i > 0 {
			out = append(out, ':')
		}
		out = hex.AppendEncode(out, []byte{x})
	}
	return string(out)
}

// parseDUID reads a DUID in hex.
func parseDUID(s string) (string, error) {
	b, err := parseHex(s)
	if err != nil {
		return "", err
	}
	d := formatDUID(b)
	if d == "" {
		return "", vnet.Invalid("", "%.60q is no DUID: it has %d bytes, not 3 to 130", s, len(b))
	}
	return d, nil
}

// parseClientID reads option 61 in hex (RFC 2132 section 9.14: at least two
// bytes).
func parseClientID(s string) (string, error) {
	b, err := parseHex(s)
	if err != nil {
		return "", err
	}
	return formatClientID(b)
}

func formatClientID(b []byte) (string, error) {
	if len(b) < 2 || len(b) > longestID {
		return "", vnet.Invalid("", "a client identifier has 2 to %d bytes, not %d", longestID, len(b))
	}
	return hex.EncodeToString(b), nil
}

// macOf reads an Ethernet address, of one or two digits a byte; zero for what
// is none.
func macOf(s string) vnet.MAC {
	b, err := parseHex(s)
	if err != nil || len(b) != 6 {
		return vnet.MAC{}
	}
	return vnet.MAC(b)
}

// lastSecond bounds times: later ones are never (year 9999, which JSON can
// carry).
const lastSecond = 253402300799

// unixTime returns the time; zero, which is never, for what is out of bounds.
func unixTime(seconds uint64) time.Time {
	if seconds > lastSecond {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0).UTC()
}
