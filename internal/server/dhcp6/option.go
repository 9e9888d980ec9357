package dhcp6

import "encoding/binary"

// The message types (RFC 9915 section 7.3, RFC 9686).
const (
	kindSolicit     = 1
	kindAdvertise   = 2
	kindRequest     = 3
	kindConfirm     = 4
	kindRenew       = 5
	kindRebind      = 6
	kindReply       = 7
	kindRelease     = 8
	kindDecline     = 9
	kindReconfigure = 10
	kindInform      = 11
	kindRelayForw   = 12
	kindRelayRepl   = 13
	kindRegister    = 36 // ADDR-REG-INFORM
	kindRegistered  = 37 // ADDR-REG-REPLY
)

// The options that are read or written: RFC 9915 section 21 unless said
// otherwise.
const (
	optClientID      = 1
	optServerID      = 2
	optIANA          = 3
	optIATA          = 4 // obsolete (RFC 9915)
	optIAAddr        = 5
	optRequested     = 6
	optPreference    = 7
	optRelayMessage  = 9
	optAuth          = 11
	optStatus        = 13
	optRapidCommit   = 14
	optUserClass     = 15
	optVendorClass   = 16
	optInterfaceID   = 18
	optReconfigure   = 19
	optAccept        = 20 // reconfigure accept
	optDNS           = 23 // RFC 3646
	optSearch        = 24 // RFC 3646
	optIAPD          = 25
	optIAPrefix      = 26
	optSNTP          = 31 // RFC 4075
	optRefresh       = 32 // information refresh time
	optRemoteID      = 37 // RFC 4649
	optFQDN          = 39 // RFC 4704
	optNTP           = 56 // RFC 5908
	optBootURL       = 59 // RFC 5970
	optBootParams    = 60 // RFC 5970
	optArch          = 61 // RFC 5970
	optLinkAddress   = 79 // RFC 6939
	optSolMaxRT      = 82
	optInfMaxRT      = 83
	optPortal        = 103 // RFC 8910
	optRelayPort     = 135 // RFC 8357
	optEncryptedDNS  = 144 // RFC 9463
	optAddressReport = 148 // RFC 9686: ADDR_REG_ENABLE
)

// The status codes (RFC 9915 section 21.13).
const (
	statusSuccess   = 0
	statusNoAddrs   = 2
	statusNoBinding = 3
	statusNotOnLink = 4
	statusNoPrefix  = 6
)

// statusText is what people read in a packet capture.
var statusText = map[uint16]string{
	statusSuccess:   "done",
	statusNoAddrs:   "no address for this IA",
	statusNoBinding: "this IA has nothing here",
	statusNotOnLink: "this address does not fit this link",
	statusNoPrefix:  "no prefix for this IA",
}

// next splits the first option off; ok is false if it is cut short.
func next(b []byte) (code uint16, body, rest []byte, ok bool) {
	if len(b) < 4 {
		return 0, nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	if len(b) < 4+n {
		return 0, nil, nil, false
	}
	return binary.BigEndian.Uint16(b), b[4 : 4+n], b[4+n:], true
}

// fixedPart is how long the part before the options inside an option is; ok is
// false for options without any inside.
func fixedPart(code uint16) (n int, ok bool) {
	switch code {
	case optIANA, optIAPD:
		return 12, true
	case optIATA:
		return 4, true
	case optIAAddr:
		return 24, true
	case optIAPrefix:
		return 25, true
	}
	return 0, false
}

// checkOptions walks the options, and those inside IAs, without keeping them.
func checkOptions(b []byte, depth int, count *int) error {
	for len(b) > 0 {
		code, body, rest, ok := next(b)
		if *count++; *count > maxOptions || !ok {
			return errOptions
		}
		b = rest
		fixed, nested := fixedPart(code)
		switch {
		case !nested:
		case depth >= 2 || len(body) < fixed: // IA, address, status code
			return errOptions
		default:
			if err := checkOptions(body[fixed:], depth+1, count); err != nil {
				return err
			}
		}
	}
	return nil
}

// writer writes a message into one buffer. What is opened is closed in reverse
// order.
type writer struct {
	b    []byte
	open []int // where the lengths of open options go
}

// option writes an option of bytes.
func (w *writer) option(code uint16, body []byte) {
	w.b = binary.BigEndian.AppendUint16(w.b, code)
	w.b = binary.BigEndian.AppendUint16(w.b, uint16(len(body)))
	w.b = append(w.b, body...)
}

// begin opens an option whose body follows.
func (w *writer) begin(code uint16) {
	w.b = binary.BigEndian.AppendUint16(w.b, code)
	w.open = append(w.open, len(w.b))
	w.b = append(w.b, 0, 0)
}

// end closes the option that was opened last.
func (w *writer) end() {
	at := w.open[len(w.open)-1]
	w.open = w.open[:len(w.open)-1]
	binary.BigEndian.PutUint16(w.b[at:], uint16(len(w.b)-at-2))
}

func (w *writer) uint32(n uint32) { w.b = binary.BigEndian.AppendUint32(w.b, n) }

// status writes a status code option.
func (w *writer) status(code uint16) {
	text := statusText[code]
	w.b = binary.BigEndian.AppendUint16(w.b, optStatus)
	w.b = binary.BigEndian.AppendUint16(w.b, uint16(2+len(text)))
	w.b = binary.BigEndian.AppendUint16(w.b, code)
	w.b = append(w.b, text...)
}
