package daemon

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// TestMain lets the test binary play the program: a supervisor and its
// children are processes of it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "role" {
		if err := play(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "role:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// play runs the role: serve RUN STATE EXTRA, child RUN NAME EXTRA, drop.
func play(args []string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	switch args[0] {
	case "serve":
		run, state := args[1], args[2]
		child := func(name string) Child {
			return Child{
				Name: name, Args: []string{"role", "child", run, name, args[3]}, Sockets: name == "control",
				Ready: func(ctx context.Context) error {
					c, err := (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(run, name+".sock"))
					if err != nil {
						return err
					}
					return c.Close()
				},
			}
		}
		log := slog.New(slog.NewTextHandler(os.Stderr, nil))
		return Supervise(ctx, Config{RunDir: run, StateDir: state, Children: []Child{child("control"), child("agent")}, Log: log})
	case "child":
		run, name := args[1], args[2]
		p, err := Enter(run, name)
		if err != nil {
			return err
		}
		defer p.Close()
		l, err := Listen(filepath.Join(run, name+".sock"), "no-such-group")
		if err != nil {
			return err
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				fmt.Fprintf(c, "%d\n", os.Getpid())
				c.Close()
			}
		}()
		<-ctx.Done()
		return os.WriteFile(filepath.Join(run, name+".stopped"), []byte(time.Now().Format(time.RFC3339Nano)), 0o600)
	case "drop":
		if err := DropNetPrivileges(); err != nil {
			return err
		}
		status, err := os.ReadFile("/proc/self/status")
		fmt.Printf("%s", status)
		return err
	}
	return errors.New("no such role")
}

// site is a run and a state directory, short enough for socket names.
type site struct {
	t          *testing.T
	run, state string
	env        []string
}

func newSite(t *testing.T) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "sxd")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, run: filepath.Join(dir, "run"), state: filepath.Join(dir, "state")}
	t.Cleanup(func() {
		for _, name := range []string{"control", "agent"} {
			if r, err := readRecord(lockPath(s.run, name)); err == nil && r.alive() {
				_ = unix.Kill(r.PID, unix.SIGKILL)
			}
		}
		os.RemoveAll(dir)
	})
	return s
}

// supervisorProcess is a running supervisor.
type supervisorProcess struct {
	cmd  *exec.Cmd
	done chan struct{}
	mu   sync.Mutex
	out  strings.Builder
	err  error
}

// Write collects the output of the supervisor and its children.
func (p *supervisorProcess) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *supervisorProcess) output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

func (s *site) serve(extra string) *supervisorProcess {
	s.t.Helper()
	p := &supervisorProcess{done: make(chan struct{})}
	p.cmd = exec.Command("/proc/self/exe", "role", "serve", s.run, s.state, extra)
	p.cmd.Env = append(os.Environ(), s.env...)
	r, w, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = w, w
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	w.Close()
	// The children keep the pipe open after the supervisor's death, so the
	// copy must not be waited for.
	go func() { _, _ = io.Copy(p, r) }()
	go func() { p.err = p.cmd.Wait(); close(p.done) }()
	s.t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if s.t.Failed() {
			s.t.Logf("supervisor:\n%s", p.output())
		}
	})
	return p
}

// ask connects to a child and returns its process number.
func (s *site) ask(name string) (int, error) {
	c, err := net.Dial("unix", filepath.Join(s.run, name+".sock"))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(line))
}

// pid waits until the child answers and is not one of the processes given.
func (s *site) pid(name string, not ...int) int {
	s.t.Helper()
	var pid int
	netnstest.Eventually(s.t, 20*time.Second, name+" answers", func() (err error) {
		if pid, err = s.ask(name); err == nil && slices.Contains(not, pid) {
			err = fmt.Errorf("still process %d", pid)
		}
		return err
	})
	return pid
}

func (s *site) kill(pid int) {
	s.t.Helper()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		s.t.Fatalf("kill %d: %v", pid, err)
	}
}

func TestChildKilledIsRestarted(t *testing.T) {
	s := newSite(t)
	s.serve("v1")
	control, agent := s.pid("control"), s.pid("agent")
	s.kill(control)
	s.pid("control", control)
	if got := s.pid("agent"); got != agent {
		t.Errorf("agent was restarted: %d, was %d", got, agent)
	}
}

func TestSupervisorKilledChildrenAdopted(t *testing.T) {
	s := newSite(t)
	first := s.serve("v1")
	control, agent := s.pid("control"), s.pid("agent")
	s.kill(first.cmd.Process.Pid)
	<-first.done
	if c, a := s.pid("control"), s.pid("agent"); c != control || a != agent {
		t.Fatalf("children did not live on: %d %d, were %d %d", c, a, control, agent)
	}
	second := s.serve("v1")
	netnstest.Eventually(t, 10*time.Second, "adoption", func() error {
		if n := strings.Count(second.output(), "msg=adopted"); n != 2 {
			return fmt.Errorf("%d adopted", n)
		}
		return nil
	})
	if c, a := s.pid("control"), s.pid("agent"); c != control || a != agent {
		t.Fatalf("children were restarted: %d %d, were %d %d", c, a, control, agent)
	}
	// What was adopted is kept alive like the rest.
	s.kill(agent)
	agent = s.pid("agent", agent)
	// And stopped, the agent first.
	if err := second.cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-second.done
	if second.err != nil {
		t.Errorf("supervisor: %v", second.err)
	}
	for _, pid := range []int{control, agent} {
		if _, err := startTime(pid); err == nil {
			t.Errorf("process %d lives", pid)
		}
	}
	when := func(name string) string {
		b, err := os.ReadFile(filepath.Join(s.run, name+".stopped"))
		if err != nil {
			t.Errorf("not stopped cleanly: %v", err)
		}
		return string(b)
	}
	if a, c := when("agent"), when("control"); a >= c {
		t.Errorf("agent stopped at %s, control at %s", a, c)
	}
}

func TestUpgradeReplacesOneAfterTheOther(t *testing.T) {
	s := newSite(t)
	first := s.serve("v1")
	control, agent := s.pid("control"), s.pid("agent")
	s.kill(first.cmd.Process.Pid)
	<-first.done
	second := s.serve("v2")
	s.pid("control", control)
	s.pid("agent", agent)
	out := second.output()
	if i, j := strings.Index(out, "msg=started process=control"), strings.LastIndex(out, "replacing"); i < 0 || j < i {
		t.Errorf("agent was stopped before control had been replaced:\n%s", out)
	}
}

func TestSecondDaemonIsRefused(t *testing.T) {
	s := newSite(t)
	s.serve("v1")
	s.pid("control")
	other := newSite(t)
	other.state = s.state
	p := other.serve("v1")
	<-p.done
	if want := "uses " + s.state + " already; stop it"; p.err == nil || !strings.Contains(p.output(), want) {
		t.Errorf("%v: %q, want %q", p.err, p.output(), want)
	}
	if want := "process " + strconv.Itoa(os.Getpid()); strings.Contains(p.output(), want) {
		t.Errorf("blames the test: %s", p.output())
	}
	other.state = filepath.Join(filepath.Dir(other.run), "state")
	other.run = s.run
	p = other.serve("v1")
	<-p.done
	if want := "runs with run directory " + s.run; p.err == nil || !strings.Contains(p.output(), want) {
		t.Errorf("%v: %q, want %q", p.err, p.output(), want)
	}
}

// TestNotify plays systemd: it hears the state and passes on a socket.
func TestNotify(t *testing.T) {
	s := newSite(t)
	if err := os.MkdirAll(s.run, 0o755); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(s.run, "notify")
	heard, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer heard.Close()
	s.env = []string{"NOTIFY_SOCKET=" + name}
	expect := func(want string) {
		t.Helper()
		buf := make([]byte, 4096)
		if err := heard.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		for {
			n, err := heard.Read(buf)
			if err != nil {
				t.Fatalf("waiting for %q: %v", want, err)
			}
			if strings.Contains(string(buf[:n]), want) {
				return
			}
		}
	}
	p := s.serve("v1")
	expect("READY=1\nSTATUS=control ready, agent ready")
	s.kill(s.pid("control"))
	expect("STATUS=control restarting: signal: killed, agent ready")
	expect("STATUS=control ready, agent ready")
	if err := p.cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	expect("STOPPING=1")
}

func TestSocketPassedOn(t *testing.T) {
	s := newSite(t)
	if err := os.MkdirAll(s.run, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(s.run, "control.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	// sh stands in for systemd, because LISTEN_PID must be the supervisor's.
	cmd := exec.Command("sh", "-c", `LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"`, "sh", "/proc/"+strconv.Itoa(os.Getpid())+"/exe",
		"role", "serve", s.run, s.state, "v1")
	cmd.ExtraFiles = []*os.File{f}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(unix.SIGTERM)
		_ = cmd.Wait()
	}()
	pid := s.pid("control")
	s.kill(pid)
	s.pid("control", pid)
	after, err := os.Stat(path)
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the socket was replaced: %v", err)
	}
}

func TestApartIsLeftAlone(t *testing.T) {
	s := newSite(t)
	cmd := exec.Command("/proc/self/exe", "role", "child", s.run, "agent", "other")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	agent := s.pid("agent")
	p := s.serve("v1")
	s.pid("control")
	if err := p.cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-p.done
	if got := s.pid("agent"); got != agent {
		t.Errorf("the agent started apart was touched: %d, was %d", got, agent)
	}
	out, err := exec.Command("/proc/self/exe", "role", "child", s.run, "agent", "again").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "another agent runs") {
		t.Errorf("a second agent: %v %s", err, out)
	}
}
