package daemon

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// When memory is given back: once what a start needs has been used, soon after
// much was allocated and all is quiet again, and now and then.
const (
	restFirst = 10 * time.Second
	restEvery = 5 * time.Minute
	// restMuch is how many bytes are much, restQuiet how few allocated within
	// restFirst are quiet, or what part of a large heap.
	restMuch      = 16 << 20
	restQuiet     = 8 << 20
	restQuietPart = 2
)

// rest says when to give memory back.
type rest struct {
	looked, given uint64    // bytes allocated until then
	at            time.Time // when memory was last given back
}

// due reports whether it is time, so many bytes having been allocated in all and
// so many of them in use.
func (r *rest) due(now time.Time, allocated, live uint64) bool {
	quiet := allocated-r.looked < max(restQuiet, live/restQuietPart)
	r.looked = allocated
	if !r.at.IsZero() && now.Sub(r.at) < restEvery && (!quiet || allocated-r.given < restMuch) {
		return false
	}
	r.at, r.given = now, allocated
	return true
}

// GiveBack returns memory that the process holds and does not use to the
// kernel, until ctx ends: free heap, and those pages of the program that only
// its start needed. The packages of a large program initialise themselves by
// touching most of it, in each of our processes; what is used again is mapped
// again from the page cache.
func GiveBack(ctx context.Context) {
	ticker := time.NewTicker(restFirst)
	defer ticker.Stop()
	var r rest
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			if r.due(now, metric("/gc/heap/allocs:bytes"), metric("/gc/heap/live:bytes")) {
				debug.FreeOSMemory()
				forgetProgram()
			}
		}
	}
}

// metric reads a number of the runtime's, 0 if there is no such.
func metric(name string) uint64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}

// forgetProgram unmaps the program's own pages that are as they are in the
// file.
func forgetProgram() {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return
	}
	for _, r := range cleanMappings(maps, exe) {
		// The range is one mapping of a file that is not written to: dropping
		// its pages loses nothing, and an error nothing either.
		_, _, _ = unix.Syscall(unix.SYS_MADVISE, r.start, r.end-r.start, unix.MADV_DONTNEED)
	}
}

// mapping is a range of addresses.
type mapping struct{ start, end uintptr }

// cleanMappings finds the mappings of the file in the text of proc_pid_smaps(5)
// that are not writable and have no page of their own (a relocated program's
// have), so that every page can be read again from the file.
func cleanMappings(smaps []byte, file string) []mapping {
	var out []mapping
	var now *mapping
	lines := bufio.NewScanner(bytes.NewReader(smaps))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) >= 5 && strings.Contains(f[0], "-") && !strings.HasSuffix(f[0], ":") {
			now = mappingOf(f, file)
			continue
		}
		if now != nil && len(f) >= 2 && f[0] == "Anonymous:" {
			if f[1] == "0" {
				out = append(out, *now)
			}
			now = nil
		}
	}
	return out
}

// mappingOf reads the head line of a mapping; nil if it is not a read-only one
// of the file.
func mappingOf(f []string, file string) *mapping {
	if len(f) < 6 || strings.Contains(f[1], "w") || f[5] != file {
		return nil
	}
	from, to, _ := strings.Cut(f[0], "-")
	start, err1 := strconv.ParseUint(from, 16, 64)
	end, err2 := strconv.ParseUint(to, 16, 64)
	if err1 != nil || err2 != nil || end <= start {
		return nil
	}
	return &mapping{uintptr(start), uintptr(end)}
}
