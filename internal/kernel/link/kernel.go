package link

import (
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// kernelAtLeast reports whether the running kernel calls itself that version
// or a later one.
func kernelAtLeast(major, minor int) bool {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return false
	}
	a, b := release(unix.ByteSliceToString(u.Release[:]))
	return a > major || a == major && b >= minor
}

// release reads the first two numbers of a kernel's release.
func release(s string) (major, minor int) {
	parts := strings.SplitN(s, ".", 3)
	number := func(i int) int {
		if i >= len(parts) {
			return 0
		}
		digits := parts[i]
		if n := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); n >= 0 {
			digits = digits[:n]
		}
		n, _ := strconv.Atoi(digits)
		return n
	}
	return number(0), number(1)
}
