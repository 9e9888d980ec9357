package rpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// quiet keeps what is expected to be logged out of the tests' output.
var quiet = slog.New(slog.DiscardHandler)

// TestLengths has what no message can be as long as.
func TestLengths(t *testing.T) {
	for _, tc := range []struct {
		name               string
		length             uint32
		opened, ro, refuse bool
	}{
		{"nothing", 0, true, false, true},
		{"less than its length", 3, true, false, true},
		{"its length alone", 4, true, false, true},
		{"half a header", 27, true, false, true},
		{"the longest", maxMessage, true, false, false},
		{"one more", maxMessage + 1, true, false, true},
		{"4 GiB", 1<<32 - 1, true, false, true},
		{"before the opening", maxStranger, false, false, false},
		{"too long before the opening", maxStranger + 1, false, false, true},
		{"too long from who may only read", maxStranger + 1, true, true, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := newPipeServer(t, Options{Log: quiet}, 0)
				c := pipe(t, s, tc.ro)
				if tc.opened {
					c.open()
				}
				b := binary.BigEndian.AppendUint32(nil, tc.length)
				b = append(b, make([]byte, min(max(int(tc.length), 4), 28)-4)...)
				begun := time.Now()
				c.Write(b)
				c.ended()
				// What is accepted waits for the rest, and that has its time.
				if waited := time.Since(begun); (waited == 0) != tc.refuse {
					t.Errorf("closed after %v, want at once %v", waited, tc.refuse)
				}
				if s.taken.Load() != 0 {
					t.Errorf("%d bytes are still counted", s.taken.Load())
				}
			})
		})
	}
}

// TestHalfOpen has clients that begin something and leave it so.
func TestHalfOpen(t *testing.T) {
	o := Options{Log: quiet, OpenTimeout: 10 * time.Second, MessageTimeout: 3 * time.Second}
	for _, tc := range []struct {
		name string
		do   func(c *client)
		want time.Duration
	}{
		{"says nothing", func(*client) {}, 10 * time.Second},
		{"never opens", func(c *client) { c.must(66, &void{}, &authTypes{}) }, 10 * time.Second},
		{"half a length before the opening", func(c *client) { c.Write([]byte{0, 0}) }, 10 * time.Second},
		{"half a length", func(c *client) { c.open().Write([]byte{0, 0}) }, 3 * time.Second},
		{"half a header", func(c *client) { c.open().Write([]byte{0, 0, 0, 40, 1}) }, 3 * time.Second},
		{"half a body", func(c *client) {
			c.open().Write(frame(header{program: programRemote, version: 1, proc: 46}, make([]byte, 100))[:80])
		}, 3 * time.Second},
		{"a descriptor that does not come", func(c *client) {
			h := header{program: programRemote, version: 1, proc: 46, kind: kindCallWithFDs}
			c.open().Write(frame(h, []byte{0, 0, 0, 1}))
		}, 3 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, _ := newPipeServer(t, o, 0)
				begun := time.Now()
				c := pipe(t, s, false)
				tc.do(c)
				c.ended()
				if got := time.Since(begun); got != tc.want {
					t.Errorf("closed after %v, want %v", got, tc.want)
				}
				synctest.Wait()
				if n := len(s.connections()); n != 0 || len(s.users) != 0 {
					t.Errorf("%d connections, %d users are still known", n, len(s.users))
				}
			})
		})
	}
}

// TestDescriptors has descriptors, which no call about networks has: their
// bytes do not confuse what follows.
func TestDescriptors(t *testing.T) {
	s, _ := newPipeServer(t, Options{Log: quiet}, 0)
	c := pipe(t, s, false).open()
	h := header{program: programRemote, version: programVersion, proc: 46, kind: kindCallWithFDs, serial: 9}
	c.Write(append(frame(h, append([]byte{0, 0, 0, 2}, 0, 0, 0, 0)), "\x00\x00"...))
	if got, body, err := c.receive(); err != nil || got.serial != 9 || !bytes.Contains(body, []byte("No FD available at slot 0")) {
		t.Errorf("%+v %q %v", got, body, err)
	}
	c.must(283, &listArgs{}, &networksRet{})
	c.Write(frame(h, []byte{0, 0, 0, 33}))
	c.ended()
}

// TestKeepAlive has a server that asks who asked for it whether it is there.
func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newPipeServer(t, Options{Log: quiet, KeepAliveInterval: 5 * time.Second, KeepAliveCount: 3}, 0)
		c, silent := pipe(t, s, false), pipe(t, s, false).open()
		c.must(60, &intValue{featureKeepAlive}, &intValue{})
		c.open()
		begun := time.Now()
		ping := func(at time.Duration) {
			t.Helper()
			h, body, err := c.receive()
			if err != nil || h != (header{program: programKeepAlive, version: 1, proc: procPing, kind: kindMessage}) || len(body) != 0 {
				t.Fatalf("%+v %x %v is no ping", h, body, err)
			}
			if got := time.Since(begun); got != at {
				t.Fatalf("a ping after %v, want %v", got, at)
			}
		}
		ping(5 * time.Second)
		ping(10 * time.Second)
		if _, err := c.Write(keepAliveMessage(procPong)); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			ping(time.Duration(15+5*i) * time.Second)
		}
		c.ended()
		if got := time.Since(begun); got != 30*time.Second {
			t.Errorf("closed after %v, want 30s", got)
		}
		// Who did not ask for it may be silent for ever.
		time.Sleep(24 * time.Hour)
		silent.must(283, &listArgs{}, &networksRet{})
	})
}

// TestOutstanding has a client with more calls than it may have: the next is
// read when one is answered, and its silence meanwhile is not held against it.
func TestOutstanding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{hold: make(chan struct{}), begun: make(chan struct{}, 10)}
		s, _ := newPipeServer(t, Options{Handler: m, Log: quiet, MaxRequests: 2, KeepAliveCount: 1}, 0)
		c := pipe(t, s, false)
		c.must(60, &intValue{featureKeepAlive}, &intValue{})
		c.open()
		go func() {
			for range 4 {
				c.send(39, &Network{Name: "x"})
			}
		}()
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(m.begun); n != 2 {
			t.Errorf("%d calls run, want 2", n)
		}
		close(m.hold)
		for answers := 0; answers < 4; {
			h, body, err := c.receive()
			if err != nil {
				t.Fatal(err)
			}
			if h.kind == kindReply {
				answers++
				if !bytes.Contains(body, []byte("Network not found")) {
					t.Errorf("%q", body)
				}
			}
		}
	})
}

// TestDeaf has a client that waits for events and does not read them: it loses
// its connection, and nobody waits for it.
func TestDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newPipeServer(t, Options{Log: quiet, MaxEvents: 4096}, 0)
		deaf, good := pipe(t, s, false).open(), pipe(t, s, false).open()
		for _, c := range []*client{deaf, good} {
			c.must(313, &registerArgs{event: eventLifecycle}, &intValue{})
		}
		begun := time.Now()
		for range 200 {
			s.NetworkLifecycle(Network{Name: "web", UUID: uuidOf("web")}, Started)
			if h, _, err := good.receive(); err != nil || h.proc != procEventLifecycle {
				t.Fatalf("%+v %v", h, err)
			}
		}
		synctest.Wait()
		if n := len(s.connections()); n != 1 || time.Since(begun) != 0 {
			t.Errorf("%d connections after %v, want 1 at once", n, time.Since(begun))
		}
		if s.written.Load() != 0 {
			t.Errorf("%d bytes are still counted", s.written.Load())
		}
		// A single answer that is not read has its time.
		good.send(283, &listArgs{})
		time.Sleep(31 * time.Second)
		synctest.Wait()
		if n := len(s.connections()); n != 0 {
			t.Errorf("%d connections, want none", n)
		}
	})
}

// TestLimits has users who want too many connections; root is not kept out.
func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var uid uint32
		s, _ := newPipeServer(t, Options{
			Log: quiet, MaxClients: 8, MaxPerUser: 4, MaxUnopened: 3,
			Peer: func(net.Conn) (Peer, error) { return Peer{UID: uid}, nil },
		}, 0)
		admitted := func(who uint32, open bool) bool {
			uid = who
			before := len(s.connections())
			c := pipe(t, s, false)
			ok := len(s.connections()) > before
			if ok && open {
				c.open()
			}
			return ok
		}
		for i, step := range []struct {
			who      uint32
			open, ok bool
		}{
			{1000, false, true}, {1000, false, true}, {1000, false, true},
			{1000, true, false}, // three are not open yet
			{1001, true, true}, {1001, true, true}, {1001, true, true}, {1001, true, true},
			{1001, true, false}, // four of one user
			{1002, true, true},
			{1002, true, false}, // eight of all users but root
			{0, true, true}, {0, true, true},
			{0, true, true}, {0, true, true}, {0, true, true}, {0, true, true}, {0, true, true}, {0, true, true},
			{0, true, false},
		} {
			if got := admitted(step.who, step.open); got != step.ok {
				t.Errorf("step %d: %+v: admitted %v", i, step, got)
			}
		}
		// Those that never opened are gone after their time, and make room.
		time.Sleep(time.Minute)
		synctest.Wait()
		for i, ok := range []bool{true, true, true, false} {
			if got := admitted(1002, false); i < 3 && got != ok {
				t.Errorf("later %d: admitted %v", i, got)
			}
		}
	})
}

// TestStranger has a client of whom the kernel says nothing.
func TestStranger(t *testing.T) {
	s, _ := newPipeServer(t, Options{Log: quiet, Peer: PeerOf}, 0)
	pipe(t, s, false).ended()
}

// TestMemory has long messages that together are too long.
func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newPipeServer(t, Options{Log: quiet, MaxMemory: 1 << 20}, 0)
		first, second := pipe(t, s, false).open(), pipe(t, s, false).open()
		xml := strings.Repeat(" ", 700<<10)
		long := frame(header{program: programRemote, version: programVersion, proc: 41, serial: 7},
			append(binary.BigEndian.AppendUint32(nil, uint32(len(xml))), xml...))
		if _, err := first.Write(long[:600<<10]); err != nil {
			t.Fatal(err)
		}
		if n, err := second.Write(long); err == nil {
			t.Errorf("%d bytes were taken", n)
		}
		if _, err := first.Write(long[600<<10:]); err != nil {
			t.Fatal(err)
		}
		if h, _, err := first.receive(); err != nil || h.serial != 7 || h.status != statusError {
			t.Errorf("%+v %v", h, err)
		}
		synctest.Wait()
		if s.taken.Load() != 0 {
			t.Errorf("%d bytes are still counted", s.taken.Load())
		}
	})
}

// TestShutdown waits for a call, answers it, and takes no more.
func TestShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{hold: make(chan struct{}), begun: make(chan struct{}, 2)}
		s, _ := newPipeServer(t, Options{Handler: m, Log: quiet}, 0)
		c, idle := pipe(t, s, false).open(), pipe(t, s, false).open()
		c.send(39, &Network{Name: "x"})
		<-m.begun
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(t.Context()) }()
		idle.ended()
		synctest.Wait()
		pipe(t, s, false).ended()
		select {
		case err := <-done:
			t.Fatalf("did not wait: %v", err)
		default:
		}
		close(m.hold)
		if h, _, err := c.receive(); err != nil || h.proc != 39 {
			t.Errorf("%+v %v", h, err)
		}
		c.ended()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestShutdownGivesUp ends calls that take too long.
func TestShutdownGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{hold: make(chan struct{}), begun: make(chan struct{}, 2)}
		s, _ := newPipeServer(t, Options{Handler: m, Log: quiet}, 0)
		c := pipe(t, s, false).open()
		c.send(39, &Network{Name: "x"})
		<-m.begun
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		synctest.Wait()
		if n := len(s.connections()); n != 0 {
			t.Errorf("%d connections", n)
		}
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Error(err)
		}
	})
}
