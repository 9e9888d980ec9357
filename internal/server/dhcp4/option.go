package dhcp4

// Options that are read or sent: RFC 2132 unless said otherwise.
const (
	optPad             = 0
	optSubnetMask      = 1
	optRouter          = 3
	optDNS             = 6
	optHostname        = 12
	optDomain          = 15
	optMTU             = 26
	optBroadcast       = 28
	optNTP             = 42
	optVendor          = 43
	optRequested       = 50
	optLeaseTime       = 51
	optOverload        = 52
	optType            = 53
	optServer          = 54
	optAsked           = 55
	optMessage         = 56
	optMaxSize         = 57
	optRenew           = 58
	optRebind          = 59
	optClass           = 60
	optClient          = 61
	optTFTPServer      = 66
	optBootFile        = 67
	optUserClass       = 77  // RFC 3004
	optRapidCommit     = 80  // RFC 4039
	optFQDN            = 81  // RFC 4702
	optRelay           = 82  // RFC 3046
	optArch            = 93  // RFC 4578
	optMachine         = 97  // RFC 4578
	optV6Only          = 108 // RFC 8925
	optPortal          = 114 // RFC 8910
	optSearch          = 119 // RFC 3397
	optRoutes          = 121 // RFC 3442
	optEncryptedDNS    = 162 // RFC 9463
	optIPXE            = 175 // iPXE's own
	optRoutesMicrosoft = 249 // 121 under its old number
	optEnd             = 255
)

// read are the options that the server reads of a message.
var read = [...]byte{
	optHostname, optRequested, optLeaseTime, optOverload, optType, optServer, optAsked, optMaxSize, optClass, optClient,
	optUserClass, optRapidCommit, optFQDN, optRelay, optArch, optMachine, optIPXE,
}

// slots tells where in options a code's value is, counted from 1.
var slots = func() (t [256]byte) {
	for i, code := range read {
		t[code] = byte(i + 1)
	}
	return t
}()

// options are the values of the options that are read; nil: not there.
type options [len(read)]([]byte)

// get returns the value of one of read; nil: not there.
func (o *options) get(code byte) []byte { return o[slots[code]-1] }

// scan takes in the options of one field of a message, and returns how many
// there were. What comes in several pieces is joined (RFC 3396 section 7).
func (o *options) scan(b []byte, n int) (total int, ended bool, err error) {
	for len(b) > 0 {
		switch {
		case b[0] == optEnd:
			return n, true, nil
		case b[0] == optPad:
			b = b[1:]
			continue
		case n >= maxOptions || len(b) < 2 || len(b) < 2+int(b[1]):
			return n, false, errOptions
		}
		size := int(b[1])
		if s := slots[b[0]]; s > 0 {
			v := b[2 : 2+size : 2+size]
			if old := o[s-1]; old != nil {
				v = append(old[:len(old):len(old)], v...)
			}
			o[s-1] = v
		}
		b, n = b[2+size:], n+1
	}
	return n, false, nil
}

// readOptions takes in all options of a message: those behind the cookie and,
// as option 52 says, those in the fields file and sname, in this order (RFC
// 3396 section 5).
func (o *options) readOptions(b []byte) error {
	n, ended, err := o.scan(b[fixedSize:], 0)
	if err == nil && !ended {
		err = errOptions
	}
	over := o.get(optOverload)
	if err != nil || len(over) != 1 {
		return err
	}
	if over[0]&1 != 0 {
		if n, _, err = o.scan(b[offFile:offCookie], n); err != nil {
			return err
		}
	}
	if over[0]&2 != 0 {
		_, _, err = o.scan(b[offSname:offFile], n)
	}
	return err
}
