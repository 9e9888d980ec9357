package listen

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Table is a socket table of the kernel under /proc/net.
type Table string

// The socket tables.
const (
	UDP4 Table = "udp"
	UDP6 Table = "udp6"
	TCP4 Table = "tcp"
	TCP6 Table = "tcp6"
)

// Bound is one bound socket.
type Bound struct {
	Addr  netip.AddrPort
	inode string
}

// BoundTo returns the sockets of the calling thread's namespace that are bound
// to the port, TCP ones only if they listen.
func BoundTo(port uint16, tables ...Table) []Bound {
	var out []Bound
	for _, table := range tables {
		// thread-self: the process's other threads are in another namespace.
		f, err := os.Open("/proc/thread-self/net/" + string(table))
		if err != nil {
			continue // a kernel without the family
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			b, state, ok := parseSocketLine(lines.Text())
			if ok && b.Addr.Port() == port && (table == UDP4 || table == UDP6 || state == "0A") {
				out = append(out, b)
			}
		}
		_ = f.Close()
	}
	return out
}

// parseSocketLine reads a line of /proc/net/{udp,tcp}{,6}: number, local
// address, remote address, state, …, inode.
func parseSocketLine(line string) (b Bound, state string, ok bool) {
	f := strings.Fields(line)
	if len(f) < 10 {
		return Bound{}, "", false
	}
	host, port, _ := strings.Cut(f[1], ":")
	n, err := strconv.ParseUint(port, 16, 16)
	raw, err2 := hex.DecodeString(host)
	if err != nil || err2 != nil || len(raw)%4 != 0 {
		return Bound{}, "", false
	}
	for i := 0; i < len(raw); i += 4 {
		if littleEndian {
			slices.Reverse(raw[i : i+4])
		}
	}
	a, ok := netip.AddrFromSlice(raw)
	return Bound{netip.AddrPortFrom(a.Unmap(), uint16(n)), f[9]}, f[3], ok
}

// littleEndian tells how the kernel's socket tables write addresses: as
// numbers of this machine.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// InTheWay says which programs hold an address, or the wildcard beside it, in
// the calling thread's namespace.
func InTheWay(at netip.AddrPort, tables ...Table) string {
	inTheWay := slices.DeleteFunc(BoundTo(at.Port(), tables...), func(b Bound) bool {
		return b.Addr != at && !b.Addr.Addr().IsUnspecified()
	})
	if who := Holders(inTheWay); who != "" {
		return who
	}
	return "another program"
}

// Taken reports whether somebody holds the very address, rather than the
// wildcard.
func Taken(at netip.AddrPort, tables ...Table) bool {
	return slices.ContainsFunc(BoundTo(at.Port(), tables...), func(b Bound) bool { return b.Addr == at })
}

// Holders says which other programs have the sockets open, as "name (pid 123)"
// each, or "" if that cannot be told.
func Holders(sockets []Bound) string {
	if len(sockets) == 0 {
		return ""
	}
	inodes := make(map[string]bool, len(sockets))
	for _, b := range sockets {
		inodes["socket:["+b.inode+"]"] = true
	}
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		return ""
	}
	var found []string
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err != nil || pid == os.Getpid() || !holds(d.Name(), inodes) {
			continue
		}
		name, err := os.ReadFile("/proc/" + d.Name() + "/comm")
		if err != nil {
			continue // gone meanwhile
		}
		found = append(found, fmt.Sprintf("%s (pid %d)", strings.TrimSpace(string(name)), pid))
	}
	return strings.Join(found, ", ")
}

// holds reports whether the process has one of the sockets open.
func holds(pid string, inodes map[string]bool) bool {
	fds, err := os.ReadDir(filepath.Join("/proc", pid, "fd"))
	if err != nil {
		return false
	}
	target := make([]byte, 64)
	for _, fd := range fds {
		n, err := syscall.Readlink(filepath.Join("/proc", pid, "fd", fd.Name()), target)
		if err == nil && inodes[string(target[:n])] {
			return true
		}
	}
	return false
}
