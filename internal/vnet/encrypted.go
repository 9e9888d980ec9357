package vnet

import "encoding/binary"

// Service parameters of RFC 9460 section 14.3.2 and RFC 9461.
const (
	svcALPN    = 1
	svcPort    = 3
	svcDoHPath = 7
)

// Params is the resolver's service parameters as options carry them (RFC 9463
// section 3.1: without hints of addresses), keys ascending; nil if it has none.
func (e EncryptedDNS) Params() []byte {
	var b []byte
	add := func(key uint16, value []byte) {
		b = binary.BigEndian.AppendUint16(b, key)
		b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
		b = append(b, value...)
	}
	if len(e.ALPN) > 0 {
		var list []byte
		for _, p := range e.ALPN {
			list = append(append(list, byte(len(p))), p...)
		}
		add(svcALPN, list)
	}
	if e.Port != 0 {
		add(svcPort, binary.BigEndian.AppendUint16(nil, e.Port))
	}
	if e.Path != "" {
		add(svcDoHPath, []byte(e.Path))
	}
	return b
}
