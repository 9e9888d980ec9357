package attach

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// keptFlags are the flags of an address that may be given with it. Others are
// the kernel's own; that an address is a temporary one (RFC 8981) cannot be said
// again, so it goes on as an ordinary one until its time is over.
const keptFlags = unix.IFA_F_HOMEADDRESS | unix.IFA_F_MANAGETEMPADDR | unix.IFA_F_NOPREFIXROUTE | unix.IFA_F_MCAUTOJOIN

// The offsets of ifaddrmsg.
const (
	addrFlags = 2
	addrScope = 3
	addrIndex = 4
)

// addressOf is an address of a link in a form that can be compared.
type addressOf struct {
	prefix netip.Prefix
	peer   netip.Addr
}

// readAddress takes an RTM_NEWADDR message apart.
func readAddress(msg []byte) (index int, a addressOf, flags uint32, err error) {
	head, attrs, err := cut(msg, unix.SizeofIfAddrmsg)
	if err != nil {
		return 0, a, 0, err
	}
	flags = uint32(head[addrFlags])
	if v := find(attrs, unix.IFA_FLAGS); v != nil {
		flags = word(v)
	}
	local, _ := netip.AddrFromSlice(find(attrs, unix.IFA_LOCAL))
	other, _ := netip.AddrFromSlice(find(attrs, unix.IFA_ADDRESS))
	if !local.IsValid() {
		local = other
	}
	if other != local {
		a.peer = other
	}
	a.prefix = netip.PrefixFrom(local, int(head[1]))
	if !a.prefix.IsValid() {
		return 0, a, 0, errMessage
	}
	return int(binary.NativeEndian.Uint32(head[addrIndex:])), a, flags, nil
}

// lifetime is the valid lifetime of an address in seconds, all ones for ever.
func lifetime(msg []byte) uint32 {
	_, attrs, err := cut(msg, unix.SizeofIfAddrmsg)
	v := find(attrs, unix.IFA_CACHEINFO)
	if err != nil || len(v) < 8 {
		return ^uint32(0)
	}
	return binary.NativeEndian.Uint32(v[4:])
}

// moveAddress makes of an address of one link the same of another. Nobody else
// can have it, so there is no duplicate address detection. Where the link had no
// route to its prefix, none is made.
func moveAddress(msg []byte, s swap, route bool) ([]byte, error) {
	head, attrs, err := cut(msg, unix.SizeofIfAddrmsg)
	if err != nil {
		return nil, err
	}
	_, a, flags, err := readAddress(msg)
	if err != nil {
		return nil, err
	}
	flags &= keptFlags
	if a.prefix.Addr().Is6() {
		flags |= unix.IFA_F_NODAD
	}
	if !route {
		flags |= unix.IFA_F_NOPREFIXROUTE
	}
	head[addrFlags] = byte(flags)
	binary.NativeEndian.PutUint32(head[addrIndex:], uint32(s.toIndex))
	out := attrs[:0:0]
	for _, x := range attrs {
		switch x.typ() {
		case unix.IFA_FLAGS:
			continue
		case unix.IFA_LABEL:
			x.value = append([]byte(moveLabel(string(x.value), s)), 0)
		}
		out = append(out, x)
	}
	return paste(head, append(out, attribute{unix.IFA_FLAGS, asWord(flags)})), nil
}

// moveLabel follows the link in an IPv4 address's label, LINK or LINK:ALIAS.
func moveLabel(label string, s swap) string {
	label = strings.TrimRight(label, "\x00")
	rest, ok := strings.CutPrefix(label, s.from)
	if !ok || rest != "" && rest[0] != ':' {
		return label
	}
	if label = s.to + rest; len(label) > maxName {
		return s.to
	}
	return label
}

// sameAddress is the message that takes an address from a link.
func sameAddress(msg []byte, index int) ([]byte, error) {
	head, attrs, err := cut(msg, unix.SizeofIfAddrmsg)
	if err != nil {
		return nil, err
	}
	binary.NativeEndian.PutUint32(head[addrIndex:], uint32(index))
	out := attrs[:0:0]
	for _, x := range attrs {
		if t := x.typ(); t == unix.IFA_LOCAL || t == unix.IFA_ADDRESS {
			out = append(out, x)
		}
	}
	return paste(head, out), nil
}
