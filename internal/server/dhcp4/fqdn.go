package dhcp4

import (
	"bytes"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Flags of option 81 (RFC 4702 section 2.1).
const (
	fqdnS = 1 << iota // the server is to write the address record
	fqdnO             // the server overrides what the client said in S
	fqdnE             // the name is in the form of RFC 1035
	fqdnN             // no record is to be written
)

// fqdnName is the first label of the name in option 81, or more of it.
func fqdnName(f []byte) string {
	name := f[3:]
	if f[0]&fqdnE == 0 { // RFC 4702 section 2.3.1: ASCII
		return string(name)
	}
	if n := int(name[0]); n < 64 && len(name) > n {
		return string(name[1 : 1+n])
	}
	return ""
}

// fqdn is our answer to option 81 (RFC 4702 section 3.1): who writes the
// records, and under which name. Our own name server has both records of every
// guest with a name, so S is set unless the client wants none.
func (e *engine) fqdn(r *request, name string) []byte {
	f := r.opts.get(optFQDN)
	if len(f) < 3 {
		return nil
	}
	flags := f[0] & fqdnE
	switch {
	case f[0]&fqdnN != 0 || !e.Service().DNS.Serve:
		flags |= fqdnN | f[0]&fqdnS<<1 // S stays 0: say so if it was asked for
	default:
		flags |= fqdnS
		if f[0]&fqdnS == 0 {
			flags |= fqdnO
		}
	}
	out := []byte{flags, 255, 255} // RFC 4702 section 2.2: no code of a server's
	switch {
	case name == "": // as the client has it
		return append(out, f[3:]...)
	case e.Service().Domain != "":
		name += "." + e.Service().Domain
	}
	if flags&fqdnE == 0 {
		return append(out, name...)
	}
	full := vnet.AppendName(out, name)
	if e.Service().Domain == "" {
		return bytes.TrimSuffix(full, []byte{0}) // RFC 4702 section 2.3.1: a partial name has no end
	}
	return full
}
