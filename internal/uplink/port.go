package uplink

import (
	"encoding/hex"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// holdPort binds UDP port 546 in the calling thread's namespace, so that the
// kernel does not tell servers that nobody is there; what comes is read from
// packet sockets, and dropped here. held is false where another client has the
// port: it answers for it.
//
// Another client may come later. It must be able to bind, and what is for it
// must reach it: the socket is bound to the least exact address, which any
// exacter one beats, and to the head of the list of equal ones goes who comes
// later; where equal ones share by SO_REUSEPORT, the program lets the second.
// What is left (one with SO_REUSEPORT, and for IPv4, too) is found by portShared.
func holdPort() (fd int, held bool, err error) {
	if b, err := os.ReadFile("/proc/thread-self/net/udp6"); err == nil && portHolders(string(b), clientPort) > 0 {
		return -1, false, nil
	}
	fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, false, os.NewSyscallError("socket", err)
	}
	if err := setUpPort(fd); err != nil {
		unix.Close(fd)
		return -1, false, err
	}
	return fd, true, nil
}

func setUpPort(fd int) error {
	nothing, err := assemble([]bpf.Instruction{bpf.RetConstant{Val: 0}})
	if err != nil {
		return err
	}
	second, err := assemble([]bpf.Instruction{bpf.RetConstant{Val: 1}})
	if err != nil {
		return err
	}
	for _, o := range []struct{ level, opt int }{
		{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY}, {unix.SOL_SOCKET, unix.SO_REUSEADDR}, {unix.SOL_SOCKET, unix.SO_REUSEPORT},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.opt, 1); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing[0]}); err != nil {
		return os.NewSyscallError("attach filter", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet6{Port: clientPort}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	// Without it (Linux before 4.5) such a client's answers are shared out.
	_ = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &unix.SockFprog{Len: 1, Filter: &second[0]})
	return nil
}

// portShared reports whether another client has come beside our socket.
func portShared() bool {
	b, err := os.ReadFile("/proc/thread-self/net/udp6")
	return err == nil && portHolders(string(b), clientPort) > 1
}

// portHolders reads from the kernel's socket table how many sockets are bound
// to a port.
func portHolders(table string, port int) (n int) {
	want := strings.ToUpper(strconv.FormatInt(int64(port)+0x10000, 16)[1:])
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) > 1 {
			if _, p, ok := strings.Cut(f[1], ":"); ok && p == want {
				n++
			}
		}
	}
	return n
}

// Flags of an address in the kernel's table (linux/if_addr.h).
const (
	flagDADFailed = 0x08
	flagTentative = 0x40
)

// localAddress reads the link-local address of a link that may be spoken from
// in the calling thread's namespace; invalid: none.
func localAddress(index int) netip.Addr {
	b, err := os.ReadFile("/proc/thread-self/net/if_inet6")
	if err != nil { // a kernel without IPv6
		return netip.Addr{}
	}
	return parseLocal(string(b), index)
}

// parseLocal reads /proc/net/if_inet6: address, index, prefix length, scope,
// flags and link of each line. An address that is still being checked for
// duplicates must not be spoken from (RFC 4862 section 5.4).
func parseLocal(table string, index int) netip.Addr {
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 6 {
			continue
		}
		n, err1 := strconv.ParseUint(f[1], 16, 31)
		flags, err2 := strconv.ParseUint(f[4], 16, 32)
		raw, err3 := hex.DecodeString(f[0])
		if err1 != nil || err2 != nil || err3 != nil || len(raw) != 16 || int(n) != index {
			continue
		}
		a := netip.AddrFrom16([16]byte(raw))
		if a.IsLinkLocalUnicast() && flags&(flagDADFailed|flagTentative) == 0 {
			return a
		}
	}
	return netip.Addr{}
}

// identity is the IAID of an uplink (RFC 9915 section 12): the same as long as
// the link has its name.
func identity(link string) uint32 {
	h := uint32(2166136261) // FNV-1a
	for _, c := range []byte(link) {
		h = (h ^ uint32(c)) * 16777619
	}
	return h
}
