package ipam

import (
	"crypto/sha1" // RFC 4193 section 3.2.2 names it; nothing is protected by it
	"encoding/binary"
	"net/netip"
	"time"
)

// NewULA makes a unique local /48 by the algorithm of RFC 4193 section 3.2.2:
// the last 40 bits of the SHA-1 of the time of day in NTP's 64 bits and an
// EUI-64 of the machine. Where there is no EUI-64, 64 random bits are as good.
func NewULA(now time.Time, eui64 uint64) netip.Prefix {
	var key [16]byte
	binary.BigEndian.PutUint64(key[:8], ntpTime(now))
	binary.BigEndian.PutUint64(key[8:], eui64)
	sum := sha1.Sum(key[:])
	a := [16]byte{0: 0xfd}
	copy(a[1:6], sum[len(sum)-5:])
	return netip.PrefixFrom(netip.AddrFrom16(a), 48)
}

// ntpTime is the 64-bit timestamp of RFC 5905 section 6: seconds since 1900
// and their fraction in 2^-32. It begins anew in 2036.
func ntpTime(t time.Time) uint64 {
	const since1900 = 2208988800 // at the Unix epoch
	return uint64(t.Unix()+since1900)<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}
