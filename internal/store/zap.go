package store

import (
	"context"
	"log/slog"
	"strings"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// etcdLogger passes etcd's log on to ours: its warnings and worse as what they
// are, the rest as debugging. A fatal entry, upon which etcd would end the
// process, calls dead and stops only the goroutine that wrote it, where it is:
// it must neither go on nor unwind, since what etcd does on the way out fails
// as well.
func etcdLogger(to *slog.Logger, dead func(msg string)) *zap.Logger {
	hook := fatalHook{dead}
	return zap.New(&zapBridge{to: to}, zap.WithFatalHook(hook), zap.WithPanicHook(hook))
}

type fatalHook struct{ dead func(string) }

// OnWrite implements zapcore.CheckWriteHook.
func (h fatalHook) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	msg := e.Message
	for _, f := range fields {
		if err, ok := f.Interface.(error); ok {
			msg += ": " + err.Error()
		}
	}
	h.dead(msg)
	select {} // until the process ends, which it should now
}

// zapBridge is a zapcore.Core over slog.
type zapBridge struct {
	to     *slog.Logger
	fields []zapcore.Field
}

func level(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return slog.LevelError
	case l == zapcore.WarnLevel:
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// Enabled implements zapcore.LevelEnabler.
func (b *zapBridge) Enabled(l zapcore.Level) bool {
	return l > zapcore.DebugLevel && b.to.Enabled(context.Background(), level(l))
}

// With implements zapcore.Core.
func (b *zapBridge) With(f []zapcore.Field) zapcore.Core {
	return &zapBridge{b.to, append(append([]zapcore.Field{}, b.fields...), f...)}
}

// expected are warnings that nobody needs to see: about how we configure etcd on
// purpose (one socket for everything, no users), and that sockets are closed
// when they are closed.
var expected = []string{
	"Running http and grpc server on single port",
	"simple token is not cryptographically signed",
	"failed to update storage version", "Failed to detect schema version", // of a store without a write
	"setting up serving from embedded etcd failed",
	"stopping insecure grpc server due to error", "stopped insecure grpc server due to error",
}

// Check implements zapcore.Core.
func (b *zapBridge) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	for _, prefix := range expected {
		if strings.HasPrefix(e.Message, prefix) {
			return c
		}
	}
	if b.Enabled(e.Level) {
		return c.AddCore(e, b)
	}
	return c
}

// Write implements zapcore.Core.
func (b *zapBridge) Write(e zapcore.Entry, fields []zapcore.Field) error {
	enc := zapcore.NewMapObjectEncoder()
	for _, f := range append(append([]zapcore.Field{}, b.fields...), fields...) {
		f.AddTo(enc)
	}
	attrs := make([]slog.Attr, 0, len(enc.Fields))
	for k, v := range enc.Fields {
		attrs = append(attrs, slog.Any(k, v))
	}
	b.to.LogAttrs(context.Background(), level(e.Level), "etcd: "+e.Message, attrs...)
	return nil
}

// Sync implements zapcore.Core.
func (b *zapBridge) Sync() error { return nil }
