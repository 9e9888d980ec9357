package dns

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
)

// bound is one line of the kernel's socket tables.
type bound struct {
	addr  netip.AddrPort
	inode string
}

// boundTo returns the sockets of the calling thread's namespace that are bound
// to the port, TCP ones only if they listen.
func boundTo(port uint16) []bound {
	var out []bound
	for _, table := range []string{"udp", "udp6", "tcp", "tcp6"} {
		f, err := os.Open("/proc/thread-self/net/" + table)
		if err != nil {
			continue // a kernel without the family
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			b, state, ok := parseSocketLine(lines.Text())
			if ok && b.addr.Port() == port && (strings.HasPrefix(table, "udp") || state == "0A") {
				out = append(out, b)
			}
		}
		_ = f.Close()
	}
	return out
}

// parseSocketLine reads a line of /proc/net/{udp,tcp}{,6}: number, local
// address, remote address, state, …, inode.
func parseSocketLine(line string) (b bound, state string, ok bool) {
	f := strings.Fields(line)
	if len(f) < 10 {
		return bound{}, "", false
	}
	host, port, _ := strings.Cut(f[1], ":")
	n, err := strconv.ParseUint(port, 16, 16)
	raw, err2 := hex.DecodeString(host)
	if err != nil || err2 != nil || len(raw)%4 != 0 {
		return bound{}, "", false
	}
	for i := 0; i < len(raw); i += 4 {
		if littleEndian {
			slices.Reverse(raw[i : i+4])
		}
	}
	a, ok := netip.AddrFromSlice(raw)
	return bound{netip.AddrPortFrom(a.Unmap(), uint16(n)), f[9]}, f[3], ok
}

// exactlyTaken reports whether somebody holds the very address, rather than
// the wildcard.
func exactlyTaken(at netip.AddrPort) bool {
	return slices.ContainsFunc(boundTo(at.Port()), func(b bound) bool { return b.addr == at })
}

// holder says which program is in the way of at.
func holder(at netip.AddrPort) string {
	inodes := map[string]bool{}
	for _, b := range boundTo(at.Port()) {
		if b.addr == at || b.addr.Addr().IsUnspecified() {
			inodes["socket:["+b.inode+"]"] = true
		}
	}
	pid := ownerOf(inodes)
	if pid == "" {
		return "another program"
	}
	name, err := os.ReadFile("/proc/" + pid + "/comm")
	if err != nil {
		return "process " + pid
	}
	return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), pid)
}

// ownerOf returns the first other process that has one of the sockets open.
func ownerOf(sockets map[string]bool) string {
	if len(sockets) == 0 {
		return ""
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return ""
	}
	self := strconv.Itoa(os.Getpid())
	for _, dir := range processes {
		if filepath.Base(dir) == self {
			continue
		}
		fds, err := os.ReadDir(dir + "/fd")
		if err != nil {
			continue // gone meanwhile
		}
		for _, fd := range fds {
			if to, err := os.Readlink(dir + "/fd/" + fd.Name()); err == nil && sockets[to] {
				return filepath.Base(dir)
			}
		}
	}
	return ""
}

// littleEndian tells how the kernel's socket tables write addresses: as
// numbers of this machine.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1
