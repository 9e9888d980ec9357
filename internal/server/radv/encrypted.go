package radv

import (
	"encoding/binary"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// encryptedOption is an encrypted resolver (RFC 9463 section 6.1). One without
// an IPv6 address is told by its name alone, which guests resolve themselves
// (RFC 9463 section 3.1): what follows the name is then not there.
func encryptedOption(e vnet.EncryptedDNS, lifetime time.Duration) []byte {
	if !isDomain(e.Name) {
		return nil
	}
	name := vnet.AppendName(nil, e.Name)
	b := binary.BigEndian.AppendUint16([]byte{optEncrypted, 0}, e.Priority)
	b = binary.BigEndian.AppendUint32(b, seconds(lifetime))
	b = binary.BigEndian.AppendUint16(b, uint16(len(name)))
	b = append(b, name...)
	var addresses []byte
	for _, a := range e.Addresses {
		if a.Is6() && !a.Is4In6() && len(addresses) < maxServers*16 {
			addresses = append(addresses, a.AsSlice()...)
		}
	}
	if len(addresses) > 0 {
		if len(e.ALPN) == 0 {
			e.ALPN = []string{"dot"} // what is spoken must be said: section 3.1
		}
		params := e.Params()
		b = binary.BigEndian.AppendUint16(b, uint16(len(addresses)))
		b = append(b, addresses...)
		b = binary.BigEndian.AppendUint16(b, uint16(len(params)))
		b = append(b, params...)
	}
	return finish(b)
}
