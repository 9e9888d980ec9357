package clients

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// wire sends frames and datagrams that no client would, from a guest's card.
type wire struct {
	fd    int // packet socket
	index int
	udp4  *net.UDPConn // from port 68, to anywhere
	udp6  *net.UDPConn // from port 546
	rand  *rand.Rand
}

// wire opens the sockets in the guest. The random numbers are the same in each
// run.
func (g *guest) wire() *wire {
	g.t.Helper()
	w := &wire{fd: -1, rand: rand.New(rand.NewPCG(1, uint64(g.net.number())))}
	err := netnstest.Do("/run/netns/"+g.Netns, func() (err error) {
		link, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		w.index = link.Index
		if w.fd, err = syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, 0); err != nil {
			return os.NewSyscallError("socket", err)
		}
		if w.udp6, err = net.ListenUDP("udp6", &net.UDPAddr{Port: 546, IP: net.IPv6unspecified}); err != nil {
			return err
		}
		w.udp4, err = net.ListenUDP("udp4", &net.UDPAddr{Port: 68})
		return err
	})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() {
		_ = syscall.Close(w.fd)
		_ = w.udp4.Close()
		_ = w.udp6.Close()
	})
	return w
}

// to6 sends a datagram to a group or an address on the link. The kernel cuts
// what does not fit into a frame.
func (w *wire) to6(t *testing.T, addr string, port int, b []byte) {
	t.Helper()
	_, err := w.udp6.WriteToUDP(b, &net.UDPAddr{IP: net.ParseIP(addr), Port: port, Zone: fmt.Sprint(w.index)})
	sent(t, err)
}

// to4 is to6 for IPv4.
func (w *wire) to4(t *testing.T, addr string, port int, b []byte) {
	t.Helper()
	_, err := w.udp4.WriteToUDP(b, &net.UDPAddr{IP: net.ParseIP(addr), Port: port})
	sent(t, err)
}

// frame sends a whole frame.
func (w *wire) frame(t *testing.T, b []byte) {
	t.Helper()
	sent(t, syscall.Sendto(w.fd, b, 0, &syscall.SockaddrLinklayer{Ifindex: w.index, Halen: 6}))
}

// sent judges the sending: what finds no room is lost, as on any network.
func sent(t *testing.T, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, syscall.ENOBUFS) && !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EMSGSIZE) {
		t.Fatal(err)
	}
}

// mac is a random unicast MAC.
func (w *wire) mac() [6]byte {
	var m [6]byte
	binary.BigEndian.PutUint16(m[:], uint16(w.rand.Uint32()))
	binary.BigEndian.PutUint32(m[2:], w.rand.Uint32())
	m[0] = m[0]&^1 | 2
	return m
}

// linkLocal is the address made of a MAC (RFC 4291 appendix A).
func linkLocal(m [6]byte) [16]byte {
	return [16]byte{0xfe, 0x80, 8: m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]}
}

// ipv6 is a frame to a group.
func ipv6(m [6]byte, from, group [16]byte, protocol, hops byte, payload []byte, checksum int) []byte {
	b := append([]byte{0x33, 0x33, group[12], group[13], group[14], group[15]}, m[:]...)
	b = append(b, 0x86, 0xdd, 0x60, 0, 0, 0, byte(len(payload)>>8), byte(len(payload)), protocol, hops)
	b = append(append(b, from[:]...), group[:]...)
	sum := uint32(len(payload)) + uint32(protocol)
	add := func(b []byte) {
		for i := 0; i+1 < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
		if len(b)%2 == 1 {
			sum += uint32(b[len(b)-1]) << 8
		}
	}
	add(b[22:54])
	add(payload)
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	b = append(b, payload...)
	binary.BigEndian.PutUint16(b[54+checksum:], max(^uint16(sum), 1))
	return b
}

var (
	allServers = [16]byte{0xff, 2, 13: 1, 15: 2} // ff02::1:2
	allRouters = [16]byte{0xff, 2, 15: 2}        // ff02::2
	anyAddress [16]byte
)

// solicitFrame is a Solicit of a client.
func solicitFrame(m [6]byte, from [16]byte, message []byte) []byte {
	udp := append([]byte{546 >> 8, 546 & 255, 547 >> 8, 547 & 255, byte((len(message) + 8) >> 8), byte(len(message) + 8), 0, 0}, message...)
	return ipv6(m, from, allServers, 17, 1, udp, 6)
}

// discoverFrame is a broadcast of a client with the MAC that has no address.
func discoverFrame(m [6]byte, message []byte) []byte {
	b := append([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, m[:]...)
	b = append(b, 8, 0)
	length := 28 + len(message)
	ip := []byte{0x45, 0, byte(length >> 8), byte(length), 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255}
	sum := uint32(0)
	for i := 0; i < len(ip); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(ip[10:], ^uint16(sum))
	b = append(b, ip...)
	b = append(b, 0, 68, 0, 67, byte((length-20)>>8), byte(length-20), 0, 0) // no checksum
	return append(b, message...)
}

// option6 and option4 are options of both DHCPs.
func option6(code uint16, body ...byte) []byte {
	return append([]byte{byte(code >> 8), byte(code), byte(len(body) >> 8), byte(len(body))}, body...)
}

func option4(code byte, body ...byte) []byte { return append([]byte{code, byte(len(body))}, body...) }

// solicit is a Solicit; more goes behind its options.
func solicit(xid uint32, duid []byte, iaid uint32, more ...byte) []byte {
	b := []byte{1, byte(xid >> 16), byte(xid >> 8), byte(xid)}
	b = append(b, option6(1, duid...)...)
	b = append(b, option6(8, 0, 0)...)
	b = append(b, option6(6, 0, 23, 0, 24)...)
	ia := binary.BigEndian.AppendUint32(nil, iaid)
	b = append(b, option6(3, append(ia, make([]byte, 8)...)...)...)
	return append(b, more...)
}

// discover is a DISCOVER that wants its answer broadcast; more goes behind its
// options.
func discover(xid uint32, m [6]byte, more ...byte) []byte {
	b := make([]byte, 236, 300)
	b[0], b[1], b[2], b[10] = 1, 1, 6, 0x80
	binary.BigEndian.PutUint32(b[4:], xid)
	copy(b[28:], m[:])
	b = append(b, 0x63, 0x82, 0x53, 0x63)
	b = append(b, option4(53, 1)...)
	b = append(b, option4(55, 1, 3, 6, 15, 51)...)
	return append(append(b, more...), 255)
}
