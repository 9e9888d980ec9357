package dhcp4

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Vendor classes of firmware (PXE 2.1, UEFI 2.5 section 23.7), and what iPXE
// calls itself.
const (
	classPXE  = "PXEClient"
	classHTTP = "HTTPClient"
	classIPXE = "iPXE"
)

// pxeControl is option 43 for PXE: boot the file that is named, look for no
// boot server (PXE 2.1 section 2.2.1, PXE_DISCOVERY_CONTROL bit 3).
var pxeControl = []byte{6, 1, 8, 255}

func (r *request) class(prefix string) bool {
	return bytes.HasPrefix(r.opts.get(optClass), []byte(prefix))
}

// ipxe reports whether the client is iPXE already: by its user class, with or
// without the length that RFC 3004 wants, or by its own options.
func (r *request) ipxe() bool {
	return r.opts.get(optIPXE) != nil || bytes.Contains(r.opts.get(optUserClass), []byte(classIPXE))
}

// firmware reports whether the client boots: the system that it loads will ask
// again, under another name.
func (r *request) firmware() bool { return r.class(classPXE) || r.class(classHTTP) || r.ipxe() }

// arches are the architectures that the client may boot as (RFC 4578 section
// 2.1), else the one in its class; a client of PXE that says none is a BIOS.
func (r *request) arches() (out []int) {
	v := r.opts.get(optArch)
	for ; len(v) >= 2 && len(out) < 8; v = v[2:] {
		out = append(out, int(binary.BigEndian.Uint16(v)))
	}
	if len(out) > 0 || !r.class(classPXE) && !r.class(classHTTP) {
		return out
	}
	if _, rest, ok := strings.Cut(string(r.opts.get(optClass)), ":Arch:"); ok && len(rest) >= 5 {
		if n, err := strconv.Atoi(rest[:5]); err == nil && n >= 0 {
			return []int{n}
		}
	}
	return []int{0}
}

// bootFile returns what the client boots, or nil.
func (e *engine) bootFile(r *request) *vnet.BootFile {
	f := dhcp.BootFile(e.Service().Boot.Files, r.ipxe(), r.arches())
	if f != nil && f.Client == "any" && r.class(classHTTP) && !strings.Contains(f.File, "://") {
		return nil // it takes URLs only
	}
	return f
}

// boot says what the client boots and from where: in the fields siaddr, sname
// and file, and in options 66 and 67.
func (e *engine) boot(r *request, sub *plan.Subnet) {
	w := &e.writer
	if !r.firmware() && !r.asked.has(optTFTPServer) && !r.asked.has(optBootFile) {
		return
	}
	if v := r.opts.get(optMachine); len(v) > 0 && r.firmware() {
		w.add(optMachine, v) // RFC 4578 section 2.3: as it was sent
	}
	w.file, w.sname = -1, -1 // they have their own meaning now
	f := e.bootFile(r)
	if f == nil {
		return
	}
	server, name := e.bootServer(sub)
	file := f.File
	switch {
	case r.class(classHTTP) && !r.ipxe():
		server, name = netip.Addr{}, ""    // the URL says it
		e.own(optClass, []byte(classHTTP)) // answered in kind, or it is passed over
	case r.class(classPXE) && !r.ipxe():
		if host, path, ok := tftpURL(f.File); ok {
			server, name, file = addressOf(host), host, path
		}
		e.own(optClass, []byte(classPXE))
		e.own(optVendor, pxeControl)
	}
	w.setAddr(offSiaddr, server)
	if server.IsValid() {
		name = server.String()
	}
	e.tellBoot(r, server, name, file)
}

// tellBoot writes server and file: in the fields and, for who asks or where a
// field is too short, as options.
func (e *engine) tellBoot(r *request, server netip.Addr, name, file string) {
	w := &e.writer
	if own := e.told.own[optTFTPServer]; own != nil {
		name = string(own)
	}
	if own := e.told.own[optBootFile]; own != nil {
		file = string(own)
	}
	fits := true
	if !server.IsValid() {
		fits = w.setText(offSname, offFile-offSname, name)
	}
	if name != "" && (r.asked.has(optTFTPServer) || !fits) {
		w.add(optTFTPServer, []byte(name))
	}
	if fits = w.setText(offFile, offCookie-offFile, file); r.asked.has(optBootFile) || r.class(classHTTP) || !fits {
		w.add(optBootFile, []byte(file))
	}
}

// own writes an option of ours unless the operator wrote it.
func (e *engine) own(code byte, v []byte) {
	if o := e.told.own[code]; o != nil {
		v = o
	}
	e.writer.add(code, v)
}

// bootServer is the boot server's address or, if the network knows it by name,
// that: ours while we serve files and none of this family is set.
func (e *engine) bootServer(sub *plan.Subnet) (a netip.Addr, name string) {
	p := &e.Service().Boot
	set, err := netip.ParseAddr(p.Server)
	switch {
	case err == nil && set.Is4():
		return set, ""
	case err != nil && p.Server != "":
		return netip.Addr{}, p.Server
	case p.Root != "":
		return e.identifier(sub), ""
	}
	return netip.Addr{}, ""
}

// addressOf reads an IPv4 address; zero if it is none.
func addressOf(s string) netip.Addr {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return netip.Addr{}
	}
	return a
}

// tftpURL takes a URL of TFTP apart (RFC 3617).
func tftpURL(s string) (host, path string, ok bool) {
	rest, ok := strings.CutPrefix(s, "tftp://")
	if !ok {
		return "", "", false
	}
	host, path, _ = strings.Cut(rest, "/")
	path, _, _ = strings.Cut(path, ";mode=")
	return host, path, host != "" && path != ""
}
