package translate

import (
	"fmt"
	"strconv"
	"strings"
)

// record says which process the translator is: a number, and when the kernel
// began it, since numbers come again.
type record struct {
	pid   int
	begun uint64 // in ticks since boot
}

func (r record) String() string { return fmt.Sprintf("%d %d\n", r.pid, r.begun) }

// parseRecord reads what String wrote.
func parseRecord(s string) (record, bool) {
	f := strings.Fields(s)
	if len(f) != 2 {
		return record{}, false
	}
	pid, err := strconv.ParseInt(f[0], 10, 32)
	begun, err2 := strconv.ParseUint(f[1], 10, 64)
	return record{int(pid), begun}, err == nil && err2 == nil && pid > 1
}

// begunAt reads from /proc/PID/stat when the process began (proc(5), field 22)
// and whether it still runs. The name in field 2 may have anything in it.
func begunAt(stat string) (uint64, bool) {
	i := strings.LastIndexByte(stat, ')')
	if i < 0 {
		return 0, false
	}
	f := strings.Fields(stat[i+1:]) // from field 3 on
	if len(f) < 20 || f[0] == "Z" || f[0] == "X" {
		return 0, false
	}
	n, err := strconv.ParseUint(f[19], 10, 64)
	return n, err == nil
}
