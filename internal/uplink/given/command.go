package given

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"
)

// repeat runs the command.
func (s *Source) repeat(ctx context.Context) {
	every := s.wish.Every
	if every <= 0 {
		every = DefaultEvery
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.kick:
		case <-timer.C:
		}
		b, err := s.run(ctx)
		if ctx.Err() != nil {
			return
		}
		s.take(&s.print, "the command "+clip(s.wish.Command[0]), b, err, 0)
		timer.Reset(every)
	}
}

// run runs the command once. It and all that it started end with its time.
func (s *Source) run(ctx context.Context) ([]byte, error) {
	limit := s.wish.Timeout
	if limit <= 0 {
		limit = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.wish.Command[0], s.wish.Command[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	// A descendant that keeps the pipe open is not waited for.
	cmd.WaitDelay = time.Second
	out, words := &limited{most: maxBytes + 1}, &limited{most: 200}
	cmd.Stdout, cmd.Stderr = out, words
	err := cmd.Run()
	switch {
	case ctx.Err() != nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return nil, fmt.Errorf("not done after %s", limit)
	case err != nil && words.Len() > 0:
		return nil, fmt.Errorf("%w: %q", err, bytes.TrimSpace(words.Bytes()))
	case err != nil:
		return nil, err
	}
	return out.Bytes(), nil
}

// limited keeps the beginning of what is written.
type limited struct {
	bytes.Buffer
	most int
}

func (l *limited) Write(b []byte) (int, error) {
	_, _ = l.Buffer.Write(b[:min(len(b), max(0, l.most-l.Len()))])
	return len(b), nil
}
