package ask

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Handler answers questions. It is called from many goroutines.
type Handler interface {
	// Answer returns the answer to a verb, nil being JSON's null. args are
	// valid JSON, or nil if the asker gave none. An unknown verb is
	// ErrUnsupported. ctx ends when the asker no longer waits.
	Answer(ctx context.Context, verb string, args json.RawMessage) (json.RawMessage, error)
}

// HandlerFunc is a function as a Handler.
type HandlerFunc func(ctx context.Context, verb string, args json.RawMessage) (json.RawMessage, error)

// Answer calls f.
func (f HandlerFunc) Answer(ctx context.Context, verb string, args json.RawMessage) (json.RawMessage, error) {
	return f(ctx, verb, args)
}

// Serve answers on the listener, a unix socket, until ctx ends, which is no
// error. Only root, the process's own user and the given users may ask. It
// closes the listener and waits for the questions under way.
func Serve(ctx context.Context, ln net.Listener, h Handler, users ...uint32) error {
	s := &server{handler: h, users: append([]uint32{0, uint32(os.Geteuid())}, users...), places: make(chan struct{}, maxUnderWay)}
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	var work sync.WaitGroup
	defer work.Wait()
	for {
		conn, err := ln.Accept()
		switch {
		case ctx.Err() != nil:
			if conn != nil {
				_ = conn.Close()
			}
			return nil
		case err == nil:
			work.Go(func() { s.serve(ctx, conn) })
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("ask: %w", err)
		default: // out of descriptors, or the peer is gone: not for ever
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

type server struct {
	handler Handler
	users   []uint32
	places  chan struct{}
}

func (s *server) serve(ctx context.Context, conn net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	result, err := s.one(ctx, cancel, conn)
	if ctx.Err() != nil && err == nil {
		return
	}
	a := answer{Result: result}
	if err != nil {
		a = answer{Error: wireError(err)}
	}
	stop() // an error about the deadline shall still arrive
	_ = conn.SetDeadline(time.Now().Add(readTimeout))
	line, err := encode(MaxAnswer, a)
	if err != nil {
		line, err = encode(MaxAnswer, answer{Error: vnet.Errorf(vnet.ErrInternal, "the answer cannot be sent: %w", err)})
	}
	if err == nil {
		_, _ = conn.Write(line) // an asker that is gone needs no answer
	}
}

// one reads a question and has it answered. cancel is called when the asker
// goes away.
func (s *server) one(ctx context.Context, cancel func(), conn net.Conn) (json.RawMessage, error) {
	uid, err := peerUser(conn)
	if err != nil {
		return nil, vnet.Errorf(vnet.ErrForbidden, "cannot tell who asks: %w", err)
	}
	if !slices.Contains(s.users, uid) {
		return nil, vnet.Errorf(vnet.ErrForbidden, "user %d may not ask the agent", uid)
	}
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	default:
		return nil, vnet.Errorf(vnet.ErrUnavailable, "the agent has %d questions under way", maxUnderWay).WithHint("try again")
	}
	if err := conn.SetReadDeadline(time.Now().Add(readTimeout)); err != nil {
		return nil, err
	}
	var q question
	if err := readLine(conn, MaxQuestion, &q); err != nil {
		return nil, vnet.Errorf(vnet.ErrInvalid, "the question cannot be read: %w", err)
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	limit := Timeout
	if d := time.Duration(q.Millis) * time.Millisecond; d > 0 && d < limit && q.Millis < int64(Timeout/time.Millisecond) {
		limit = d
	}
	ctx, done := context.WithTimeout(ctx, limit)
	defer done()
	go func() { // the asker says no more: whatever comes is its end
		_, _ = conn.Read(make([]byte, 1))
		cancel()
	}()
	return s.answer(ctx, q)
}

func (s *server) answer(ctx context.Context, q question) (result json.RawMessage, err error) {
	defer func() {
		if p := recover(); p != nil { // one question must not end the agent
			err = vnet.Errorf(vnet.ErrInternal, "%s: the agent stumbled: %v", q.Verb, p)
		}
	}()
	result, err = s.handler.Answer(ctx, q.Verb, q.Args)
	if err == nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = vnet.Errorf(vnet.ErrUnavailable, "%s took too long", q.Verb)
	}
	return result, err
}

// peerUser returns the user at the other end of a unix socket.
func peerUser(conn net.Conn) (uint32, error) {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, fmt.Errorf("%T is no unix socket", conn)
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *syscall.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, credErr
	}
	return cred.Uid, nil
}
