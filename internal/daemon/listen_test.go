package daemon

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/vnet"
)

func TestListen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sub", "a.sock")
	for range 2 { // the second replaces what the first left
		l, err := Listen(path, "no-such-group")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if l.Addr().String() != path {
			t.Errorf("listens on %s, not %s", l.Addr(), path)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o660 {
			t.Errorf("%v %v", info.Mode(), err)
		}
	}
	if _, err := Listen(filepath.Join(dir, strings.Repeat("x", 120)), Group); err == nil {
		t.Error("a name too long for a socket was taken")
	}
}

func TestLockDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	f, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = LockDir(dir)
	if !vnet.Is(err, vnet.ErrInUse) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("second: %v", err)
	}
	f.Close()
	f, err = LockDir(dir)
	if err != nil {
		t.Fatalf("after release: %v", err)
	}
	f.Close()
}

func TestRaiseFileLimit(t *testing.T) {
	got, err := RaiseFileLimit(2048)
	if err != nil || got < 2048 {
		t.Errorf("%d %v", got, err)
	}
}
