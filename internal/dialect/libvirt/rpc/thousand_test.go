package rpc

import (
	"context"
	"encoding/binary"
	"net"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/dialect/libvirt/xdr"
	"github.com/sextant-net/sextant/internal/netnstest"
)

// TestThousand has a thousand clients at once on a real socket, each of which
// opens, asks and hears of an event.
func TestThousand(t *testing.T) {
	const clients = 1000
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil || files.Cur < 2*clients+100 {
		netnstest.Skip(t, "needs %d open files, has %d: raise `ulimit -n`", 2*clients+100, files.Cur)
	}
	w := newWorld(t, Options{Log: quiet})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	deadline, _ := ctx.Deadline()
	var all [clients]*client
	var wg sync.WaitGroup
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range all {
		wg.Go(func() {
			nc, err := (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(w.dir, "sock"))
			if err != nil {
				t.Error(err)
				return
			}
			nc.SetDeadline(deadline)
			all[i] = &client{Conn: nc, t: t}
			all[i].open().must(313, &registerArgs{event: eventLifecycle}, &intValue{})
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	t.Logf("%d connections, %d KiB each with the client's end", len(w.server.connections()),
		(after.HeapInuse+after.StackInuse-before.HeapInuse-before.StackInuse)/clients/1024)
	w.server.NetworkLifecycle(Network{Name: "web", UUID: uuidOf("web")}, Started)
	for _, c := range all {
		wg.Go(func() {
			h, body, err := c.receive()
			var m lifecycleMessage
			if err != nil || h.proc != procEventLifecycle || xdr.Decode(body, &m) != nil || m.net.Name != "web" {
				t.Errorf("%+v %q %v", h, body, err)
			}
			c.must(2, &void{}, &void{})
			c.ended()
		})
	}
	wg.Wait()
	// One more is served as if nothing had been.
	netnstest.NeedCommands(t, "virsh")
	if got := w.run(t, "net-uuid", "x"); !strings.Contains(got, "no network with matching name 'x'") {
		t.Error(got)
	}
}

// FuzzConversation sends anything behind an opening, and closes. Nothing may
// fail, nothing may be left, and every answer is a message.
func FuzzConversation(f *testing.F) {
	call := func(proc uint32, body ...byte) []byte {
		return frame(header{program: programRemote, version: programVersion, proc: proc, serial: 3}, body)
	}
	f.Add(call(46, 0, 0, 0, 1, 'x', 0, 0, 0), false)
	f.Add(append(call(283, make([]byte, 8)...), call(2)...), true)
	f.Add(call(419, 0, 0, 0, 20), false)
	f.Add(keepAliveMessage(procPing), true)
	f.Add(frame(header{program: programRemote, version: 1, proc: 46, kind: kindCallWithFDs}, []byte{0, 0, 0, 1, 0, 0, 0, 0, 9}), false)
	f.Add(binary.BigEndian.AppendUint32(nil, maxMessage), false)
	f.Fuzz(func(t *testing.T, data []byte, readOnly bool) {
		s, _ := newPipeServer(t, Options{Log: quiet}, 0)
		c := pipe(t, s, readOnly).open()
		go func() {
			c.Write(data)
			// Whoever sent half a message is waited for no longer.
			s.Shutdown(context.Background())
		}()
		for {
			if _, _, err := c.receive(); err != nil {
				break
			}
		}
		s.wg.Wait()
		if s.taken.Load() != 0 || s.written.Load() != 0 || len(s.users) != 0 {
			t.Errorf("%d, %d bytes and %d users are left", s.taken.Load(), s.written.Load(), len(s.users))
		}
	})
}
