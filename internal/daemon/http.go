package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Times of an HTTP server.
const (
	// headerTime is how long a client that sends nothing costs a goroutine.
	headerTime = 10 * time.Second
	// closeTime is how long requests under way have once ctx has ended.
	closeTime = 2 * time.Second
)

// HTTP is a front door that speaks HTTP.
type HTTP struct {
	Listener    net.Listener
	Handler     http.Handler
	ConnContext func(ctx context.Context, c net.Conn) context.Context
	Log         *slog.Logger
}

// Serve answers requests until ctx ends, which is no error. Requests' contexts
// end with ctx, so that event streams do not hold the end up.
func (h HTTP) Serve(ctx context.Context) error {
	server := &http.Server{
		Handler:           h.Handler,
		ReadHeaderTimeout: headerTime,
		ConnContext:       h.ConnContext,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(h.Log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(h.Listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	err := server.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		return server.Close()
	}
	return err
}
