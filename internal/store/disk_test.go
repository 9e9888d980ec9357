package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// smallDisk mounts a tmpfs of the size for the test.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	netnstest.NeedRoot(t)
	dir := shortDir(t)
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "sxt-test", dir).CombinedOutput(); err != nil {
		netnstest.Skip(t, "cannot mount a tmpfs: %s", out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %s", out)
		}
	})
	return dir
}

// fillUp leaves about so many bytes free and returns the file that takes the
// rest.
func fillUp(t *testing.T, dir string, leave int) string {
	t.Helper()
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 64<<10)
	for err == nil {
		_, err = f.Write(block)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(max(0, info.Size()-int64(leave))); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestDiskFull(t *testing.T) {
	disk := smallDisk(t, "96m")
	sock := filepath.Join(disk, "agents.sock")
	e, err := StartEmbedded(t.Context(), EmbeddedConfig{Dir: filepath.Join(disk, "d"), Socket: sock})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	agent, err := Open(t.Context(), Config{Endpoints: []string{"unix://" + sock}})
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	ctx := t.Context()
	w := newWorld(t, e.Store)
	ballast := fillUp(t, disk, 4<<20)

	for name, s := range map[string]*Store{"control": e.Store, "agent": agent} {
		netnstest.Eventually(t, 2*time.Second, name+" is refused", func() error {
			_, err := s.Commit(ctx, &vnet.Change{Put: []vnet.Object{&vnet.Project{Meta: meta("p"+name, "")}}})
			if !vnet.Is(err, vnet.ErrExhausted) {
				return errors.Join(errors.New("not refused"), err)
			}
			wantKind(t, err, vnet.ErrExhausted, "disk full", "make room")
			return nil
		})
		wantKind(t, s.Observe(ctx, []vnet.Object{&vnet.Event{Time: time.Now()}}), vnet.ErrExhausted)
		if _, err := s.Get(ctx, vnet.RefOf(w.net)); err != nil {
			t.Errorf("%s cannot read: %v", name, err)
		}
		if l, err := s.List(ctx, vnet.Query{Kind: vnet.KindNetwork}); err != nil || len(l.Items) != 1 {
			t.Errorf("%s cannot list: %v", name, err)
		}
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*Store{"control": e.Store, "agent": agent} {
		netnstest.Eventually(t, 5*time.Second, name+" may write again", func() error {
			_, err := s.Commit(ctx, &vnet.Change{Put: []vnet.Object{&vnet.Project{Meta: meta("q"+name, "")}}})
			return err
		})
	}
}

// The file system gives up after an error, as ext4 does: nothing can be
// written, and statfs does not say so.
func TestReadOnly(t *testing.T) {
	netnstest.NeedRoot(t)
	netnstest.NeedCommands(t, "mkfs.ext4", "mount")
	dir := shortDir(t)
	image, disk := filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	for _, args := range [][]string{{"truncate", "-s", "128M", image}, {"mkfs.ext4", "-q", image}, {"mkdir", disk}, {"mount", "-o", "loop", image, disk}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			netnstest.Skip(t, "%v: %v: %s", args, err, out)
		}
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", disk).Run() })
	e, err := StartEmbedded(t.Context(), EmbeddedConfig{Dir: filepath.Join(disk, "d")})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	w := newWorld(t, e.Store)
	// What etcd still has to write at this moment it would die of; the
	// supervisor then restarts it. This test is about what comes after.
	e.server.Server.Backend().ForceCommit()
	if out, err := exec.Command("mount", "-o", "remount,abort", disk).CombinedOutput(); err != nil {
		netnstest.Skip(t, "cannot make ext4 give up: %s", out)
	}
	var got error
	netnstest.Eventually(t, 2*time.Second, "writes are refused", func() error {
		if _, got = e.Commit(t.Context(), &vnet.Change{Put: []vnet.Object{&vnet.Project{Meta: meta("x", "")}}}); !vnet.Is(got, vnet.ErrExhausted) {
			return errors.Join(errors.New("not refused"), got)
		}
		return nil
	})
	wantKind(t, got, vnet.ErrExhausted, "read-only")
	if _, err := e.Get(t.Context(), vnet.RefOf(w.net)); err != nil {
		t.Errorf("cannot read: %v", err)
	}
	select {
	case err := <-e.Err():
		t.Errorf("it died: %v", err)
	default:
	}
}

// Started on a disk without a free byte, the store can be read.
func TestStartOnFullDisk(t *testing.T) {
	disk := smallDisk(t, "64m")
	cfg := EmbeddedConfig{Dir: filepath.Join(disk, "d")}
	e, err := StartEmbedded(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, e.Store)
	netnstest.Eventually(t, 2*time.Second, "the ballast is on board", func() error {
		_, err := os.Stat(filepath.Join(cfg.Dir, "ballast"))
		return err
	})
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	ballast := fillUp(t, disk, 0)
	if e, err = StartEmbedded(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if _, err := e.Get(t.Context(), vnet.RefOf(w.net)); err != nil {
		t.Errorf("cannot read: %v", err)
	}
	_, err = e.Commit(t.Context(), &vnet.Change{Put: []vnet.Object{&vnet.Project{Meta: meta("x", "")}}})
	wantKind(t, err, vnet.ErrExhausted)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	netnstest.Eventually(t, 5*time.Second, "writes again", func() error {
		_, err := e.Commit(t.Context(), &vnet.Change{Put: []vnet.Object{&vnet.Project{Meta: meta("x", "")}}})
		return err
	})
}

// diskDirEnv makes this test binary the process whose disk is full.
const diskDirEnv = "SEXTANT_TEST_DISK_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(diskDirEnv); dir != "" {
		os.Exit(writeUntilFull(dir))
	}
	os.Exit(m.Run())
}

// writeUntilFull is a control process without a reserve: it writes until the
// store dies and then ends as main does.
func writeUntilFull(dir string) int {
	ctx := context.Background()
	e, err := StartEmbedded(ctx, EmbeddedConfig{Dir: dir, Reserve: 1})
	if err != nil {
		fmt.Println("start:", err)
		return 1
	}
	e.guard = nil
	refused := make(chan struct{})
	go func() {
		defer close(refused)
		for i := 0; ; i++ {
			p := &vnet.Project{Meta: meta(fmt.Sprint("p", i), ""), Description: strings.Repeat("x", 4000)}
			if _, err := e.Commit(ctx, &vnet.Change{Put: []vnet.Object{p}}); err != nil {
				fmt.Println("refused:", err)
				return
			}
			fmt.Println("+" + p.Name)
		}
	}()
	select {
	case err := <-e.Err():
		fmt.Println("died:", err)
	case <-refused:
	}
	return 3
}

// Somebody else takes the last byte between two looks at the free space: etcd
// would end the process by itself. Here the store says that it died, the
// process ends in order, and when there is space again, the next one has all
// that was acknowledged.
func TestDiskFullWithoutReserve(t *testing.T) {
	disk := smallDisk(t, "64m")
	dir := filepath.Join(disk, "d")
	e, err := StartEmbedded(t.Context(), EmbeddedConfig{Dir: dir, Reserve: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	ballast := fillUp(t, disk, 4<<20)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), diskDirEnv+"="+dir)
	out, err := cmd.Output()
	said := strings.Split(strings.TrimSpace(string(out)), "\n")
	t.Logf("%d lines, the last: %s (%v)", len(said), said[len(said)-1], err)
	if code := cmd.ProcessState.ExitCode(); code != 3 && code != 1 {
		t.Errorf("exit code %d", code)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	e, err = StartEmbedded(t.Context(), EmbeddedConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, line := range said {
		if name, ok := strings.CutPrefix(line, "+"); ok {
			if l, err := e.List(t.Context(), vnet.Query{Kind: vnet.KindProject, Name: name}); err != nil || len(l.Items) != 1 {
				t.Fatalf("%s is lost: %v", name, err)
			}
		}
	}
	mustCommit(t, e.Store, &vnet.Project{Meta: meta("again", "")})
}
