package watch

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/kernel/netns"
)

// fileEvents are what can happen to a file that somebody writes or replaces.
const fileEvents = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM

// watchFiles watches the resolver files, and the directory of named
// namespaces: a guest's that comes lets its port be made, one of ours that
// goes is drift. Without inotify, polling has to do.
func (w *Watcher) watchFiles(ctx context.Context, group *sync.WaitGroup) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		w.opt.Log.Warn("cannot watch files", "err", err)
		return
	}
	file := os.NewFile(uintptr(fd), "inotify")
	dirs := map[int32]string{}
	names := map[string]bool{}
	for _, path := range []string{w.opt.Resolv, w.opt.Real} {
		names[path] = true
		if real, err := filepath.EvalSymlinks(path); err == nil {
			names[real] = true
		}
	}
	watch := map[string]bool{netns.Dir: true}
	for n := range names {
		watch[filepath.Dir(n)] = true
	}
	for dir := range watch {
		if wd, err := unix.InotifyAddWatch(fd, dir, fileEvents); err == nil {
			dirs[int32(wd)] = dir
		}
	}
	stop := context.AfterFunc(ctx, func() { file.Close() })
	group.Go(func() {
		defer stop()
		defer file.Close()
		buf := make([]byte, 1<<14)
		for {
			n, err := file.Read(buf)
			if err != nil {
				return
			}
			eachFile(buf[:n], func(wd int32, name string) { w.file(dirs[wd], name, names) })
		}
	})
}

// file takes in that something happened to a file.
func (w *Watcher) file(dir, name string, resolv map[string]bool) {
	named := dir == netns.Dir && w.opt.Named(name) // may take locks of its own
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case named:
		w.drift()
	case resolv[filepath.Join(dir, name)]:
		w.touch()
	}
}

// eachFile cuts what one read of inotify returned into events.
func eachFile(b []byte, f func(wd int32, name string)) {
	for len(b) >= unix.SizeofInotifyEvent {
		size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
		if size > len(b) {
			return
		}
		f(int32(binary.NativeEndian.Uint32(b)), strings.TrimRight(string(b[unix.SizeofInotifyEvent:size]), "\x00"))
		b = b[size:]
	}
}
