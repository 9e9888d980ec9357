package uplink

import (
	"errors"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/vnet"
)

// packetSocket hears one kind of packet on one link, and sends on it. It works
// beside whoever else has the port or the protocol, in front of the host's
// packet filter, and without joining a group: every host is in ff02::1, and
// DHCPv6 answers come to our own address.
type packetSocket struct {
	file  *os.File
	raw   syscall.RawConn
	index int
}

// received is what came with a packet.
type received struct {
	n        int
	mac      vnet.MAC // zero: a link without
	unsummed bool     // the checksum is not put in yet
}

// openPacket opens a socket on a link, in the calling thread's namespace.
func openPacket(index int, filter []bpf.Instruction) (*packetSocket, error) {
	// Without a protocol nothing arrives before filter and link are set.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s, err := setUpPacket(fd, index, filter)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return s, nil
}

func setUpPacket(fd, index int, filter []bpf.Instruction) (*packetSocket, error) {
	prog, err := assemble(filter)
	if err != nil {
		return nil, err
	}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}); err != nil {
		return nil, os.NewSyscallError("attach filter", err)
	}
	// What a flood may make the kernel keep for us.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 128<<10)
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		return nil, os.NewSyscallError("ask for checksums' states", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_IPV6), Ifindex: index}); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	file := os.NewFile(uintptr(fd), "packets")
	raw, err := file.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &packetSocket{file: file, raw: raw, index: index}, nil
}

func networkOrder(n uint16) uint16 { return n<<8 | n>>8 }

// errOther is for a packet of another link: one with a VLAN tag is shown to
// those who listen below the VLAN, too.
var errOther = errors.New("a packet of another link")

// read waits for a packet.
func (s *packetSocket) read(b []byte) (r received, err error) {
	var oob [64]byte
	var n, oobn int
	var from unix.Sockaddr
	if e := s.raw.Read(func(fd uintptr) bool {
		n, oobn, _, from, err = unix.Recvmsg(int(fd), b, oob[:], 0)
		return !errors.Is(err, unix.EAGAIN)
	}); e != nil {
		return received{}, e
	}
	if err != nil {
		return received{}, os.NewSyscallError("recvmsg", err)
	}
	r.n = n
	ll, ok := from.(*unix.SockaddrLinklayer)
	if !ok || ll.Ifindex != s.index {
		return received{}, errOther
	}
	if ll.Halen == 6 {
		r.mac = vnet.MAC(ll.Addr[:6])
	}
	r.unsummed = unsummed(oob[:oobn])
	return r, nil
}

// unsummed reads from the auxiliary data whether a packet's checksum is not
// there yet, as those of this machine's own virtual links have it.
func unsummed(oob []byte) bool {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return false
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA && len(m.Data) >= int(unsafe.Sizeof(unix.TpacketAuxdata{})) {
			aux := (*unix.TpacketAuxdata)(unsafe.Pointer(&m.Data[0]))
			return aux.Status&unix.TP_STATUS_CSUMNOTREADY != 0
		}
	}
	return false
}

// send sends an IPv6 packet to a MAC; a link without MACs ignores it.
func (s *packetSocket) send(b []byte, to [6]byte) (err error) {
	sa := &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_IPV6), Ifindex: s.index, Halen: 6}
	copy(sa.Addr[:], to[:])
	if e := s.raw.Control(func(fd uintptr) { err = unix.Sendto(int(fd), b, 0, sa) }); e != nil {
		return e
	}
	return os.NewSyscallError("sendto", err)
}

func (s *packetSocket) close() { _ = s.file.Close() }
