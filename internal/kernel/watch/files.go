package watch

import (
	"context"
	"encoding/binary"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/kernel/netns"
)

// fileEvents are what can happen to a file that somebody writes or replaces.
const fileEvents = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVE_SELF

// maxLinks bounds the symbolic links that lead from one name to a file, as the
// kernel does.
const maxLinks = 40

// files is what inotify watches: the directories of files that need not be
// there, wherever symbolic links lead, and where a directory is missing the
// nearest above it.
type files struct {
	fd    int
	dirs  map[int32]string // by watch descriptor
	names map[string]bool  // what matters in them: files, links and missing directories
}

// arm watches what the paths lead to now. It is called again whenever that may
// have changed. What comes while it looks is announced by nobody, so it looks
// until it sees the same twice; a path that never rests is left to polling.
func (f *files) arm(paths ...string) {
	was := map[string]bool{}
	for range maxLinks {
		dirs := f.look(paths)
		if maps.Equal(dirs, was) {
			return
		}
		f.watch(dirs)
		was = dirs
	}
}

// look finds what matters now, and returns the directories that it is in.
func (f *files) look(paths []string) (dirs map[string]bool) {
	f.names, dirs = map[string]bool{}, map[string]bool{}
	for _, path := range paths {
		for range maxLinks {
			dir, name := existing(path)
			dirs[dir] = true
			f.names[filepath.Join(dir, name)] = true
			target, err := os.Readlink(filepath.Join(dir, name))
			if err != nil {
				break
			}
			if path = target; !filepath.IsAbs(path) {
				path = filepath.Join(dir, path)
			}
		}
	}
	return dirs
}

// watch watches these directories and no others. A directory of the same name
// may be another one by now, so all are asked for again.
func (f *files) watch(dirs map[string]bool) {
	for wd, dir := range f.dirs {
		if !dirs[dir] {
			delete(f.dirs, wd)
			_, _ = unix.InotifyRmWatch(f.fd, uint32(wd))
		}
	}
	for dir := range dirs {
		if wd, err := unix.InotifyAddWatch(f.fd, dir, fileEvents); err == nil {
			f.dirs[int32(wd)] = dir
		}
	}
}

// existing returns the directory of the path without symbolic links, and the
// name in it; of a directory that is not there the nearest above it, and the
// name of the missing one.
func existing(path string) (dir, name string) {
	for {
		dir, name = filepath.Dir(path), filepath.Base(path)
		if real, err := filepath.EvalSymlinks(dir); err == nil || dir == path {
			return real, name
		}
		path = dir
	}
}

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
	f := &files{fd: fd, dirs: map[int32]string{}}
	// Anything in the directory of namespaces matters, so the path has a name
	// more.
	paths := []string{w.opt.Resolv, w.opt.Real, filepath.Join(netns.Dir, "any")}
	f.arm(paths...)
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
			again := false
			eachFile(buf[:n], func(wd int32, name string) { again = w.file(f, wd, name) || again })
			if again {
				f.arm(paths...)
				w.mu.Lock()
				w.touch() // also what came before the watch did
				w.mu.Unlock()
			}
		}
	})
}

// file takes in that something happened to a file, and reports whether other
// directories may have to be watched now. Without a name it is the watched
// directory itself that went, or events were lost.
func (w *Watcher) file(f *files, wd int32, name string) (again bool) {
	dir, known := f.dirs[wd]
	if name == "" {
		delete(f.dirs, wd)
		return known || wd < 0
	}
	path := filepath.Join(dir, name)
	if dir == netns.Dir && w.opt.Named(name) || path == netns.Dir {
		w.mu.Lock()
		w.drift()
		w.mu.Unlock()
	}
	return known && f.names[path]
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
