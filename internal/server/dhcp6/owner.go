package dhcp6

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// portOwners says which programs hold the UDP port in the namespace of the
// calling thread, as "name (pid 123)", or "" if that cannot be told.
func portOwners(port int) string {
	inodes := make(map[string]bool)
	for _, file := range []string{"udp", "udp6"} {
		// thread-self: the process's other threads are in another namespace.
		listInodes("/proc/thread-self/net/"+file, port, inodes)
	}
	if len(inodes) == 0 {
		return ""
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
			continue
		}
		found = append(found, fmt.Sprintf("%s (pid %d)", strings.TrimSpace(string(name)), pid))
	}
	return strings.Join(found, ", ")
}

// listInodes adds the inodes of the sockets on the port that a file like
// /proc/net/udp lists.
func listInodes(file string, port int, inodes map[string]bool) {
	f, err := os.Open(file)
	if err != nil {
		return
	}
	defer f.Close()
	suffix := fmt.Sprintf(":%04X", port)
	for sc := bufio.NewScanner(f); sc.Scan(); {
		// sl local_address rem_address st queues tr uid timeout … inode
		fields := strings.Fields(sc.Text())
		if len(fields) > 9 && strings.HasSuffix(fields[1], suffix) {
			inodes["socket:["+fields[9]+"]"] = true
		}
	}
}

// holds reports whether the process has one of the sockets open.
func holds(pid string, inodes map[string]bool) bool {
	fds, err := os.ReadDir(filepath.Join("/proc", pid, "fd"))
	if err != nil {
		return false
	}
	for _, fd := range fds {
		target := make([]byte, 64)
		n, err := syscall.Readlink(filepath.Join("/proc", pid, "fd", fd.Name()), target)
		if err == nil && inodes[string(target[:n])] {
			return true
		}
	}
	return false
}
