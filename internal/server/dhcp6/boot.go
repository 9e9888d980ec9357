package dhcp6

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/vnet"
)

// What firmware calls itself: UEFI's HTTP boot in its vendor class (UEFI 2.5
// section 23.7), under the number that UEFI has there, and iPXE in its user
// class.
const (
	classHTTP      = "HTTPClient"
	enterpriseUEFI = 343
	classIPXE      = "iPXE"
)

// isIPXE reports whether the client is iPXE already (option 15: each class with
// its length).
func (r *request) isIPXE() bool {
	for b := r.user; len(b) >= 2; {
		n := int(binary.BigEndian.Uint16(b))
		if len(b) < 2+n {
			return false
		}
		if string(b[2:2+n]) == classIPXE {
			return true
		}
		b = b[2+n:]
	}
	return false
}

// isHTTP reports whether the client boots over HTTP (option 16: enterprise
// number, then each class with its length).
func (r *request) isHTTP() bool {
	if len(r.class) < 4 {
		return false
	}
	for b := r.class[4:]; len(b) >= 2; {
		n := int(binary.BigEndian.Uint16(b))
		if len(b) < 2+n {
			return false
		}
		if strings.HasPrefix(string(b[2:2+n]), classHTTP) {
			return true
		}
		b = b[2+n:]
	}
	return false
}

// bootFile returns what the client boots, or nil.
func (e *engine) bootFile(r *request) *vnet.BootFile {
	var arches []int
	for b := r.arch; len(b) >= 2; b = b[2:] {
		arches = append(arches, int(binary.BigEndian.Uint16(b)))
	}
	return dhcp.BootFile(e.Service().Boot.Files, r.isIPXE(), arches)
}

// bootURL is the URL of a file: itself if it is one, else one of TFTP (RFC
// 3617) on the boot server; "" if there is none of this family.
func (e *engine) bootURL(f *vnet.BootFile) string {
	if strings.Contains(f.File, "://") {
		return f.File
	}
	host := e.Service().Boot.Server
	a, err := netip.ParseAddr(host)
	if host == "" || err == nil && !a.Is6() {
		if e.Service().Boot.Root == "" {
			return ""
		}
		a, err, host = e.gateway(), nil, ""
	}
	switch {
	case err == nil && a.IsValid():
		host = "[" + a.String() + "]"
	case host == "":
		return ""
	}
	return "tftp://" + host + "/" + strings.TrimPrefix(f.File, "/")
}

// gateway is our address on the network, zero if we have none.
func (e *engine) gateway() netip.Addr {
	for i := range e.Service().Subnets {
		s := &e.Service().Subnets[i]
		if s.Family == vnet.IPv6 && s.Gateway.Is6() && !s.Deprecated {
			return s.Gateway
		}
	}
	return netip.Addr{}
}

// boot says what the client boots (RFC 5970), if it asks. UEFI's HTTP boot
// wants to be answered in kind, by vendor class, and takes URLs of HTTP alone.
func (e *engine) boot(w *writer, r *request) {
	if len(e.Service().Boot.Files) == 0 || e.isTold(optBootURL) || !r.wants(optBootURL, r.arch != nil) {
		return
	}
	f := e.bootFile(r)
	if f == nil {
		return
	}
	url := e.bootURL(f)
	http := r.isHTTP() && !r.isIPXE()
	if url == "" || http && !strings.HasPrefix(url, "http") {
		return
	}
	w.option(optBootURL, []byte(url))
	if params := e.Service().Boot.Params; len(params) > 0 && r.wants(optBootParams, true) && !e.isTold(optBootParams) {
		w.begin(optBootParams)
		for _, p := range params {
			w.b = binary.BigEndian.AppendUint16(w.b, uint16(len(p)))
			w.b = append(w.b, p...)
		}
		w.end()
	}
	if http && !e.isTold(optVendorClass) {
		w.begin(optVendorClass)
		w.uint32(enterpriseUEFI)
		w.b = binary.BigEndian.AppendUint16(w.b, uint16(len(classHTTP)))
		w.b = append(w.b, classHTTP...)
		w.end()
	}
}
