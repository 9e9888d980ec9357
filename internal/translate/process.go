package translate

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// The files in the run directory.
const (
	configFile = "tayga.conf"
	recordFile = "tayga.pid"
)

// process is a translator that runs: one that was started here, or one that was
// found.
type process struct {
	record
	pidfd  int
	begun  time.Time
	exited chan struct{} // closed when it is gone
	how    string        // how it ended, if that is known; valid after exited
}

// start begins the translator in the directory, with the configuration in it.
// InNS runs a function in the namespace that it shall be in.
func start(path, dir, config string, inNS func(func() error) error, log *slog.Logger) (*process, error) {
	conf := filepath.Join(dir, configFile)
	if err := os.WriteFile(conf, []byte(config), 0o644); err != nil {
		return nil, err
	}
	args := []string{"--nodetach", "--config", conf}
	// It needs no privilege once it has the link, only its directory.
	if u, g, ok := nobody(dir); ok {
		args = append(args, "--user", u, "--group", g)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// A file, since a pipe would end with us, and it with the pipe.
	out, err := os.OpenFile(filepath.Join(dir, "tayga.log"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := inNS(cmd.Start); err != nil {
		return nil, err
	}
	p := &process{record: record{pid: cmd.Process.Pid}, begun: time.Now(), exited: make(chan struct{})}
	if p.pidfd, err = unix.PidfdOpen(p.pid, 0); err == nil {
		if stat, err := os.ReadFile(procPath(p.pid, "stat")); err == nil {
			p.record.begun, _ = begunAt(string(stat))
		}
		err = os.WriteFile(filepath.Join(dir, recordFile), []byte(p.record.String()), 0o644)
	}
	if err != nil { // without them nobody would find it again
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, err
	}
	log.Info("the NAT64 translator runs", "program", path, "pid", p.pid)
	go func() {
		err := cmd.Wait()
		p.how = "exit status 0"
		if err != nil {
			p.how = err.Error()
		}
		if said := lastLine(out.Name()); said != "" {
			p.how += ": " + said
		}
		unix.Close(p.pidfd)
		close(p.exited)
	}()
	return p, nil
}

// find looks for a translator that an agent before us started in the directory,
// and returns the configuration that it has; nil if there is none.
func find(dir string) (*process, string) {
	data, err := readMost(filepath.Join(dir, recordFile))
	if err != nil {
		return nil, ""
	}
	r, ok := parseRecord(data)
	if !ok {
		return nil, ""
	}
	fd, err := unix.PidfdOpen(r.pid, 0)
	if err != nil {
		return nil, ""
	}
	// The process that the descriptor is of cannot change any more: now look
	// whether it is the one.
	if !r.holds(dir) {
		unix.Close(fd)
		return nil, ""
	}
	config, _ := readMost(filepath.Join(dir, configFile))
	p := &process{record: r, pidfd: fd, begun: time.Now(), exited: make(chan struct{}), how: "it is gone"}
	go func() {
		for {
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			if n, err := unix.Poll(fds, -1); n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
				break
			}
		}
		unix.Close(fd)
		close(p.exited)
	}()
	return p, config
}

// holds reports whether the process is the translator of the directory.
func (r record) holds(dir string) bool {
	stat, err := os.ReadFile(procPath(r.pid, "stat"))
	if err != nil {
		return false
	}
	begun, alive := begunAt(string(stat))
	args, err := os.ReadFile(procPath(r.pid, "cmdline"))
	return alive && begun == r.begun && err == nil &&
		slices.Contains(strings.Split(string(args), "\x00"), filepath.Join(dir, configFile))
}

// stopTime is how long the translator may take to end when it is told to.
const stopTime = 2 * time.Second

// stop ends the process and waits until it is gone.
func (p *process) stop() {
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		select {
		case <-p.exited:
			return
		default:
		}
		_ = unix.PidfdSendSignal(p.pidfd, s, nil, 0)
		select {
		case <-p.exited:
			return
		case <-time.After(stopTime):
		}
	}
}

// End ends the translator that was left in the directory, if any, and removes
// what it kept.
func End(dir string) error {
	if p, _ := find(dir); p != nil {
		p.stop()
	}
	return os.RemoveAll(dir)
}

// nobody gives the directory to the user who owns nothing, and names him.
func nobody(dir string) (name, group string, ok bool) {
	u, err := user.Lookup("nobody")
	if err != nil {
		return "", "", false
	}
	g, err := user.LookupGroupId(u.Gid)
	if err != nil {
		return "", "", false
	}
	uid, err := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err != nil || err2 != nil || os.Chown(dir, uid, gid) != nil {
		return "", "", false
	}
	return u.Username, g.Name, true
}

func procPath(pid int, file string) string { return fmt.Sprintf("/proc/%d/%s", pid, file) }

// readMost reads a small file.
func readMost(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 1<<16))
	return string(b), err
}

// lastLine is the last thing that was written to a file.
func lastLine(path string) string {
	s, err := readMost(path)
	if err != nil {
		return ""
	}
	return lastOf(s)
}

// lastOf is the last line of what a program said, in a form and length that can
// be shown to people.
func lastOf(s string) string {
	const most = 200
	s = strings.TrimSpace(s)
	s = strings.TrimSpace(s[strings.LastIndexByte(s, '\n')+1:])
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s[:min(len(s), most)])
	return s
}
