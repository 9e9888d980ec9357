package lease

import (
	"encoding/hex"
	"strings"

	"github.com/sextant-net/sextant/internal/vnet"
)

// LineBytes is how a relay names a line on the wire, of how a port has it
// (plan.Guest.Relay): text, or hex after 0x.
func LineBytes(relay string) string {
	if digits, ok := strings.CutPrefix(relay, "0x"); ok {
		if b, err := hex.DecodeString(strings.ReplaceAll(digits, ":", "")); err == nil {
			return string(b)
		}
	}
	return relay
}

// PortOfLine returns the port whose line a relay names so, or "".
func (b *Book) PortOfLine(id string) vnet.ID { return b.byLine[id] }
