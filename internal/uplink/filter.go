package uplink

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The filters see a packet from its IPv6 header on. They keep everything else
// that passes an uplink from ever being copied.

// toThisHost drops frames of other hosts, which a promiscuous link shows, and
// those that we send.
var toThisHost = []bpf.Instruction{
	bpf.LoadExtension{Num: bpf.ExtType},
	bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: unix.PACKET_MULTICAST, SkipTrue: 5},
}

// advertisements lets router advertisements by that come from a neighbour (RFC
// 4861 section 6.1.2).
func advertisements() []bpf.Instruction {
	return append(append([]bpf.Instruction{}, toThisHost...),
		bpf.LoadAbsolute{Off: 6, Size: 2}, // next header and hop limit
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protoICMPv6<<8 | 255, SkipTrue: 3},
		bpf.LoadAbsolute{Off: headerSize, Size: 2}, // type and code
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 134 << 8, SkipTrue: 1},
		bpf.RetConstant{Val: mostPacket},
		bpf.RetConstant{Val: 0},
	)
}

// answers lets DHCPv6 answers by.
func answers() []bpf.Instruction {
	return append(append([]bpf.Instruction{}, toThisHost...),
		bpf.LoadAbsolute{Off: 6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protoUDP, SkipTrue: 3},
		bpf.LoadAbsolute{Off: headerSize + 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: clientPort, SkipTrue: 1},
		bpf.RetConstant{Val: mostPacket},
		bpf.RetConstant{Val: 0},
	)
}

// assemble makes a program of the kernel's.
func assemble(in []bpf.Instruction) ([]unix.SockFilter, error) {
	raw, err := bpf.Assemble(in)
	if err != nil {
		return nil, err
	}
	out := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		out[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return out, nil
}
