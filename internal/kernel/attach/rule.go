package attach

import (
	"encoding/binary"
	"strings"

	"golang.org/x/sys/unix"
)

// The attributes and flags of rules, linux/fib_rules.h, and of nexthop objects,
// linux/nexthop.h.
const (
	fraIIFName = 3
	fraPad     = 18
	fraOIFName = 17

	ruleInvert = 2
	sizeofRule = 12
	ruleFlags  = 8

	nhaOIF        = 5
	sizeofNexthop = 8
)

// moveRule makes of a policy rule that names one link the same with another; ok
// is false if it names neither.
func moveRule(msg []byte, s swap) (moved []byte, ok bool, err error) {
	head, attrs, err := cut(msg, sizeofRule)
	if err != nil {
		return nil, false, err
	}
	binary.NativeEndian.PutUint32(head[ruleFlags:], binary.NativeEndian.Uint32(head[ruleFlags:])&ruleInvert)
	out := attrs[:0:0]
	for _, a := range attrs {
		switch a.typ() {
		case fraPad:
			continue
		case fraIIFName, fraOIFName:
			if strings.TrimRight(string(a.value), "\x00") == s.from {
				a.value, ok = append([]byte(s.to), 0), true
			}
		}
		out = append(out, a)
	}
	return paste(head, out), ok, nil
}

// moveNexthop makes of a nexthop object over one link the same over another.
// Routes that go by it follow.
func moveNexthop(msg []byte, s swap) (moved []byte, ok bool, err error) {
	head, attrs, err := cut(msg, sizeofNexthop)
	if err != nil {
		return nil, false, err
	}
	head[1] = 0 // scope is the kernel's to find
	for i, a := range attrs {
		if a.typ() == nhaOIF && word(a.value) == uint32(s.fromIndex) {
			attrs[i].value, ok = asWord(uint32(s.toIndex)), true
		}
	}
	binary.NativeEndian.PutUint32(head[4:], binary.NativeEndian.Uint32(head[4:])&unix.RTNH_F_ONLINK)
	return paste(head, attrs), ok, nil
}

// The offsets of ndmsg.
const (
	neighIndex = 4
	neighState = 8
	neighFlags = 10
)

// moveNeighbour makes of a neighbour on one link the same on another. What was
// learnt is to be verified when it is next used, but is used at once.
func moveNeighbour(msg []byte, s swap) (moved []byte, ok bool, err error) {
	head, attrs, err := cut(msg, unix.SizeofNdMsg)
	if err != nil || binary.NativeEndian.Uint32(head[neighIndex:]) != uint32(s.fromIndex) {
		return nil, false, err
	}
	binary.NativeEndian.PutUint32(head[neighIndex:], uint32(s.toIndex))
	state := binary.NativeEndian.Uint16(head[neighState:])
	switch {
	case head[neighFlags]&unix.NTF_PROXY != 0, state&unix.NUD_PERMANENT != 0:
	case state&(unix.NUD_REACHABLE|unix.NUD_STALE|unix.NUD_DELAY|unix.NUD_PROBE) != 0:
		binary.NativeEndian.PutUint16(head[neighState:], unix.NUD_STALE)
	default:
		return nil, false, nil
	}
	head[neighFlags] &= unix.NTF_PROXY | unix.NTF_ROUTER
	out := attrs[:0:0]
	for _, a := range attrs {
		if t := a.typ(); t == unix.NDA_DST || t == unix.NDA_LLADDR {
			out = append(out, a)
		}
	}
	return paste(head, out), true, nil
}
