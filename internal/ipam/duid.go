package ipam

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// DUID is the identifier of a DHCPv6 client or server (RFC 9915 section 11):
// its raw bytes, the type code first. Two DUIDs are the same if they are equal;
// what is inside is for people and for the few who need the MAC. The zero DUID
// is none.
type DUID string

// DUIDType is the type code of a DUID.
type DUIDType uint16

// The types of RFC 9915 sections 11.2 to 11.5.
const (
	DUIDLLT  DUIDType = 1 // link-layer address plus time
	DUIDEN   DUIDType = 2 // assigned by a vendor
	DUIDLL   DUIDType = 3 // link-layer address
	DUIDUUID DUIDType = 4 // UUID (RFC 6355)
)

// String returns the name that RFC 9915 gives the type.
func (t DUIDType) String() string {
	switch t {
	case DUIDLLT:
		return "DUID-LLT"
	case DUIDEN:
		return "DUID-EN"
	case DUIDLL:
		return "DUID-LL"
	case DUIDUUID:
		return "DUID-UUID"
	}
	return "DUID of an unknown type"
}

// RFC 9915 section 11.1: a type code of 2 bytes, then 1 to 128 bytes.
const (
	leastDUID = 3
	mostDUID  = 130
)

// Hardware types (RFC 9915 section 11.2, the IANA ARP registry).
const hardwareEthernet = 1

// duidEpoch is where DUID-LLT counts its seconds from (section 11.2).
var duidEpoch = time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC)

// DUIDFromBytes takes a DUID from the wire. Any type is fine, since clients
// are known by the whole; only the length is checked.
func DUIDFromBytes(b []byte) (DUID, error) {
	if len(b) < leastDUID || len(b) > mostDUID {
		return "", vnet.Invalid("duid", "a DUID has %d to %d bytes, not %d", leastDUID, mostDUID, len(b))
	}
	return DUID(b), nil
}

// ParseDUID reads hex digits with colons or dashes between the bytes, of one or
// two digits each, or without anything between them.
func ParseDUID(s string) (DUID, error) {
	bad := vnet.Invalid("duid", "%.64q is no DUID", s).
		WithHint("write its %d to %d bytes in hex with colons, as 00:03:00:01:52:54:00:aa:00:01", leastDUID, mostDUID)
	t := strings.TrimSpace(s)
	if len(t) > mostDUID*3 {
		return "", bad
	}
	if strings.ContainsAny(t, ":-") {
		parts := strings.FieldsFunc(t, func(r rune) bool { return r == ':' || r == '-' })
		if len(parts) != strings.Count(t, ":")+strings.Count(t, "-")+1 || strings.Contains(t, ":") && strings.Contains(t, "-") {
			return "", bad
		}
		for i, p := range parts {
			if len(p) == 1 {
				parts[i] = "0" + p
			} else if len(p) != 2 {
				return "", bad
			}
		}
		t = strings.Join(parts, "")
	}
	b, err := hex.DecodeString(t)
	if err != nil {
		return "", bad
	}
	if d, err := DUIDFromBytes(b); err == nil {
		return d, nil
	}
	return "", bad
}

// NewDUIDLL makes a DUID of an Ethernet address (section 11.4).
func NewDUIDLL(m vnet.MAC) DUID {
	return DUID(append([]byte{0, byte(DUIDLL), 0, hardwareEthernet}, m[:]...))
}

// NewDUIDLLT makes a DUID of an Ethernet address and a time (section 11.2),
// which is kept in seconds modulo 2^32.
func NewDUIDLLT(m vnet.MAC, t time.Time) DUID {
	b := []byte{0, byte(DUIDLLT), 0, hardwareEthernet}
	b = binary.BigEndian.AppendUint32(b, uint32(t.Unix()-duidEpoch.Unix()))
	return DUID(append(b, m[:]...))
}

// NewDUIDEN makes a DUID of a private enterprise number and an identifier of 1
// to 124 bytes (section 11.3).
func NewDUIDEN(enterprise uint32, id []byte) (DUID, error) {
	b := binary.BigEndian.AppendUint32([]byte{0, byte(DUIDEN)}, enterprise)
	if len(id) == 0 {
		return "", vnet.Invalid("duid", "the identifier of a %s is empty", DUIDEN)
	}
	return DUIDFromBytes(append(b, id...))
}

// NewDUIDUUID makes a DUID of a UUID (section 11.5).
func NewDUIDUUID(u [16]byte) DUID {
	return DUID(append([]byte{0, byte(DUIDUUID)}, u[:]...))
}

// Bytes returns the bytes for the wire, a copy.
func (d DUID) Bytes() []byte { return []byte(d) }

// Type returns the type code, 0 for the zero DUID.
func (d DUID) Type() DUIDType {
	if len(d) < 2 {
		return 0
	}
	return DUIDType(d[0])<<8 | DUIDType(d[1])
}

// String returns lower-case hex with colons, the form in which Sextant stores
// and compares DUIDs.
func (d DUID) String() string {
	const digits = "0123456789abcdef"
	b := make([]byte, 0, 3*len(d))
	for i := range len(d) {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, digits[d[i]>>4], digits[d[i]&15])
	}
	return string(b)
}

// MAC returns the Ethernet address inside a DUID-LL or DUID-LLT. It is the
// address of some NIC that the client has or once had (section 11: not to be
// relied on), and says nothing about the NIC that a message came in on.
func (d DUID) MAC() (m vnet.MAC, ok bool) {
	skip := 4
	if d.Type() == DUIDLLT {
		skip = 8
	}
	switch t := d.Type(); {
	case t != DUIDLL && t != DUIDLLT, len(d) != skip+len(m), d[2] != 0, d[3] != hardwareEthernet:
		return vnet.MAC{}, false
	}
	copy(m[:], d[skip:])
	return m, true
}

// Time returns when a DUID-LLT was made.
func (d DUID) Time() (t time.Time, ok bool) {
	if d.Type() != DUIDLLT || len(d) < 8 {
		return time.Time{}, false
	}
	s := binary.BigEndian.Uint32([]byte(d[4:8]))
	return duidEpoch.Add(time.Duration(s) * time.Second), true
}

// Enterprise returns the private enterprise number of a DUID-EN.
func (d DUID) Enterprise() (n uint32, ok bool) {
	if d.Type() != DUIDEN || len(d) < 6 {
		return 0, false
	}
	return binary.BigEndian.Uint32([]byte(d[2:6])), true
}

// UUID returns the UUID inside a DUID-UUID.
func (d DUID) UUID() (u [16]byte, ok bool) {
	if d.Type() != DUIDUUID || len(d) != 2+len(u) {
		return u, false
	}
	copy(u[:], d[2:])
	return u, true
}
