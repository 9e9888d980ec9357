package dhcp4

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/net/bpf"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Where an ARP packet for IPv4 on Ethernet has its parts (RFC 826).
const (
	arpOp   = 6
	arpSHA  = 8
	arpSPA  = 14
	arpTPA  = 24
	arpSize = 28

	arpRequest, arpReply = 1, 2
	etherARP, etherIPv4  = 0x0806, 0x0800
)

// arpProbe is the packet that asks who has an address without claiming it (RFC
// 5227 section 2.1.1: the sender has none).
func arpProbe(src vnet.MAC, a netip.Addr) []byte {
	p := make([]byte, arpSize)
	binary.BigEndian.PutUint16(p, ethernet)
	binary.BigEndian.PutUint16(p[2:], etherIPv4)
	p[4], p[5] = 6, 4
	binary.BigEndian.PutUint16(p[arpOp:], arpRequest)
	copy(p[arpSHA:], src[:])
	to := a.As4()
	copy(p[arpTPA:], to[:])
	return p
}

// arpAnswer reads the packet of somebody who answers a probe: its address and
// its MAC.
func arpAnswer(p []byte) (a netip.Addr, mac vnet.MAC, ok bool) {
	if len(p) < arpSize || binary.BigEndian.Uint16(p) != ethernet || binary.BigEndian.Uint16(p[2:]) != etherIPv4 ||
		p[4] != 6 || p[5] != 4 || binary.BigEndian.Uint16(p[arpOp:]) != arpReply {
		return netip.Addr{}, vnet.MAC{}, false
	}
	copy(mac[:], p[arpSHA:])
	a = addr(p[arpSPA : arpSPA+4])
	return a, mac, a.IsValid()
}

// arpFilter lets answers to probes through, which are to nobody's address, and
// nothing of the ARP that guests speak all day.
var arpFilter = []bpf.Instruction{
	bpf.LoadAbsolute{Off: arpOp, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: arpReply, SkipFalse: 3},
	bpf.LoadAbsolute{Off: arpTPA, Size: 4},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipFalse: 1},
	bpf.RetConstant{Val: arpSize},
	bpf.RetConstant{Val: 0},
}
