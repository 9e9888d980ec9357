package daemon

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// record is what a process writes about itself into its locked file.
type record struct {
	PID   int      `json:"pid"`
	Start uint64   `json:"start"` // field 22 of /proc/PID/stat: with PID, unique until the next boot
	Exe   string   `json:"exe"`   // identity of the binary file, see exeIdentity
	Args  []string `json:"args"`
	// Apart: not started by a supervisor, so none may stop it.
	Apart bool `json:"apart,omitempty"`
}

// ownRecord describes this process.
func ownRecord() (record, error) {
	start, err := startTime(os.Getpid())
	if err != nil {
		return record{}, err
	}
	exe, err := exeIdentity()
	if err != nil {
		return record{}, err
	}
	return record{PID: os.Getpid(), Start: start, Exe: exe, Args: slices.Clone(os.Args[1:])}, nil
}

// write replaces the content of the locked file.
func (r record) write(f *os.File) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(append(b, '\n'), 0); err != nil {
		return err
	}
	return f.Truncate(int64(len(b)) + 1)
}

// readRecord reads what the holder of the file wrote. The holder may be about
// to write: an error is worth another try.
func readRecord(path string) (record, error) {
	var r record
	b, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	if r.PID <= 0 {
		return r, fmt.Errorf("%s names no process", path)
	}
	return r, nil
}

// alive reports whether the process that wrote the record still runs.
func (r record) alive() bool {
	start, err := startTime(r.PID)
	return err == nil && start == r.Start
}

// startTime is when a process was started, in clock ticks since boot. It fails
// for a process that is gone or only waits to be reaped.
func startTime(pid int) (uint64, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	return parseStartTime(string(b))
}

// parseStartTime reads field 22 of /proc/PID/stat (proc_pid_stat(5)). The
// command's name, field 2, may hold spaces and parentheses.
func parseStartTime(stat string) (uint64, error) {
	i := strings.LastIndexByte(stat, ')')
	if i < 0 {
		return 0, fmt.Errorf("no command in %q", stat)
	}
	f := strings.Fields(stat[i+1:])
	if len(f) < 20 {
		return 0, fmt.Errorf("only %d fields in %q", len(f), stat)
	}
	if f[0] == "Z" || f[0] == "X" {
		return 0, fmt.Errorf("process has ended")
	}
	return strconv.ParseUint(f[19], 10, 64)
}

// exeIdentity names the very file this process runs, which an upgrade
// replaces: device, inode, size and time of change.
func exeIdentity() (string, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/exe", &st); err != nil {
		return "", fmt.Errorf("stat own binary: %w", err)
	}
	return fmt.Sprintf("%x:%d:%d:%d.%09d", st.Dev, st.Ino, st.Size, st.Mtim.Sec, st.Mtim.Nsec), nil
}
