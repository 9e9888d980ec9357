package control

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/store"
	"github.com/sextant-net/sextant/internal/vnet"
)

// killDirEnv makes this test binary the process that is killed.
const killDirEnv = "SEXTANT_TEST_KILL_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killDirEnv); dir != "" {
		if err := writeUntilKilled(dir); err != nil {
			fmt.Println("failed", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

const (
	kills   = 200
	writers = 4
)

// writeUntilKilled is the control process with four writers, each of which
// makes, changes and deletes ports and says so only once it is acknowledged:
// "+NAME", "*NAME HOSTNAME", "-NAME".
func writeUntilKilled(dir string) error {
	ctx := context.Background()
	e, err := store.StartEmbedded(ctx, store.EmbeddedConfig{Dir: dir})
	if err != nil {
		return err
	}
	c, err := New(Config{Store: e.Store, Host: "h1"})
	if err != nil {
		return err
	}
	if err := c.Setup(ctx, false); err != nil {
		return err
	}
	n := fixed4("web", "10.0.0.1/8")
	if _, err := c.Create(ctx, admin, "", n); err != nil && !vnet.Is(err, vnet.ErrExists) {
		return err
	}
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	say("ready")
	errs := make(chan error, writers)
	for w := range writers {
		go func() { errs <- writePorts(ctx, c, fmt.Sprintf("p%d-%d", os.Getpid(), w), say) }()
	}
	return <-errs
}

func writePorts(ctx context.Context, c *Control, prefix string, say func(string, ...any)) error {
	for i := 0; ; i++ {
		name := fmt.Sprintf("%s-%d", prefix, i)
		if _, err := c.Create(ctx, admin, "", &vnet.Port{Meta: vnet.Meta{Name: name}, Network: "web"}); err != nil {
			return err
		}
		say("+%s", name)
		s := Selector{Kind: vnet.KindPort, Network: "web", Name: name}
		switch i % 3 {
		case 1:
			if _, err := c.Update(ctx, admin, s, 0, func(o vnet.Object) error { o.(*vnet.Port).Hostname = "host" + fmt.Sprint(i); return nil }); err != nil {
				return err
			}
			say("*%s %s", name, "host"+fmt.Sprint(i))
		case 2:
			if _, err := c.Delete(ctx, admin, s, 0); err != nil {
				return err
			}
			say("-%s", name)
		}
	}
}

// The control process is killed 200 times while four writers are at work:
// whatever was acknowledged is there afterwards, whole.
func TestKill(t *testing.T) {
	if testing.Short() {
		netnstest.Skip(t, "kills a process %d times: not in a short run", kills)
	}
	dir, err := os.MkdirTemp("", "sxt-kill-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	acked := map[string]string{} // port -> hostname, "deleted" for one that is gone
	total := 0
	for round := range kills {
		total += oneLife(t, dir, acked, time.Duration(rand.IntN(60))*time.Millisecond)
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	t.Logf("%d acknowledged writes survived %d kills", total, kills)
	if total < kills {
		t.Errorf("only %d writes: the test tests nothing", total)
	}
	checkSurvivors(t, dir, acked)
}

// oneLife runs the process until it is killed after the delay, and notes what
// it acknowledged.
func oneLife(t *testing.T, dir string, acked map[string]string, delay time.Duration) int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), killDirEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n := 0
	var kill *time.Timer
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case line == "ready":
			kill = time.AfterFunc(delay, func() { _ = cmd.Process.Signal(syscall.SIGKILL) })
		case strings.HasPrefix(line, "+"):
			acked[line[1:]] = ""
			n++
		case strings.HasPrefix(line, "*"):
			name, host, _ := strings.Cut(line[1:], " ")
			acked[name] = host
			n++
		case strings.HasPrefix(line, "-"):
			acked[line[1:]] = "deleted"
			n++
		default:
			t.Errorf("the process says %q", line)
		}
	}
	if kill == nil {
		_ = cmd.Process.Kill()
		t.Error("the process never was ready")
	} else {
		kill.Stop()
	}
	_ = cmd.Wait()
	return n
}

func checkSurvivors(t *testing.T, dir string, acked map[string]string) {
	t.Helper()
	e, err := store.StartEmbedded(t.Context(), store.EmbeddedConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c, err := New(Config{Store: e.Store, Host: "h1"})
	if err != nil {
		t.Fatal(err)
	}
	page, err := c.List(t.Context(), admin, Query{Kind: vnet.KindPort})
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]*vnet.Port{}
	addresses := map[string]string{}
	for _, o := range page.Items {
		p := o.(*vnet.Port)
		there[p.Name] = p
		if len(p.Fixed) != 1 || addresses[p.Fixed[0].Address.String()] != "" {
			t.Errorf("port %s has %v", p.Name, p.Fixed)
		} else {
			addresses[p.Fixed[0].Address.String()] = p.Name
		}
		if byName, err := c.Get(t.Context(), admin, Selector{Kind: vnet.KindPort, Network: "web", Name: p.Name}); err != nil || byName.GetMeta().ID != p.ID {
			t.Errorf("port %s by its name: %v", p.Name, err)
		}
	}
	lost := 0
	for name, host := range acked {
		p := there[name]
		switch {
		case host == "deleted" && p != nil, host != "deleted" && p == nil && !unacknowledged(name):
			lost++
		case p != nil && host != "" && p.Hostname != host:
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d acknowledged writes are lost", lost, len(acked))
	}
}

// unacknowledged says whether the port may be gone all the same: every third
// one is deleted after it was made, and the kill may have come between that
// and its acknowledgement.
func unacknowledged(name string) bool {
	var pid, w, i int
	_, err := fmt.Sscanf(name, "p%d-%d-%d", &pid, &w, &i)
	return err == nil && i%3 == 2
}
