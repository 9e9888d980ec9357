// Package store is the truth: what is wanted and what is claimed, in etcd.
//
// There is one implementation. It speaks to an embedded server in the same
// process, to that server over a unix socket, or to an external cluster, with
// the same code. Uniqueness, references and the order of prefix changes are
// held by the transactions themselves (see Commit), never by anybody's memory,
// so that any number of writers may be at work.
package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// MaxOps is how many keys one transaction may touch; the default of etcd.
const MaxOps = 128

// opTimeout bounds one request to the store, so that a caller without a
// deadline learns that the store is away.
const opTimeout = 10 * time.Second

// Config says where the store is.
type Config struct {
	// Endpoints are unix:///path, http://host:port or https://host:port.
	Endpoints []string
	// CAFile, CertFile and KeyFile are PEM files for https; empty: the
	// system's authorities, no client certificate.
	CAFile, CertFile, KeyFile string
	Username, Password        string
	// Lazy lets Open succeed while the store is away: the first use connects,
	// and Follow checks the schema.
	Lazy bool
	Log  *slog.Logger
}

// Store reads and writes objects.
type Store struct {
	etcd  *clientv3.Client
	log   *slog.Logger
	guard func() error // refuses a write; nil where the disk is not ours
	close func() error
	// historiesAt is when histories were last looked through, in Unix seconds.
	historiesAt atomic.Int64
}

// Open connects to the store and checks that it can read its schema. Unless
// Lazy is set, a store that does not answer is ErrUnavailable.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	if len(cfg.Endpoints) == 0 {
		return nil, vnet.Invalid("store", "no endpoint is given")
	}
	tlsConfig, err := cfg.tls()
	if err != nil {
		return nil, err
	}
	c, err := clientv3.New(clientv3.Config{
		Endpoints:            cfg.Endpoints,
		TLS:                  tlsConfig,
		Username:             cfg.Username,
		Password:             cfg.Password,
		DialTimeout:          5 * time.Second,
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 5 * time.Second,
		// An unanswered watch or read moves on to the next endpoint.
		PermitWithoutStream: true,
		MaxCallRecvMsgSize:  64 << 20,
		// A store that was restarted is found again within a second or two,
		// however long it was away.
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: 2 * time.Second,
		})},
		Logger: zap.NewNop(),
	})
	if err != nil {
		return nil, storeError("connect", err)
	}
	s := &Store{etcd: c, log: logger(cfg.Log), close: c.Close}
	if !cfg.Lazy {
		if err := s.prepare(ctx, restoreLasts); err != nil {
			_ = c.Close()
			return nil, err
		}
	}
	return s, nil
}

// Close ends the connection. Channels of Follow and Watch are closed.
func (s *Store) Close() error { return s.close() }

func logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}

func (c *Config) tls() (*tls.Config, error) {
	secure := false
	for _, e := range c.Endpoints {
		switch scheme, _, ok := strings.Cut(e, "://"); {
		case !ok, scheme != "unix" && scheme != "http" && scheme != "https":
			return nil, vnet.Invalid("store", "%q is no address of a store", e).
				WithHint("write it as https://host:2379 or unix:///path")
		case scheme == "https":
			secure = true
		}
	}
	if !secure {
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, vnet.Invalid("store-ca", "%w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, vnet.Invalid("store-ca", "%s holds no PEM certificate", c.CAFile)
		}
	}
	if c.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, vnet.Invalid("store-cert", "%w", err)
		}
		t.Certificates = []tls.Certificate{cert}
	}
	return t, nil
}

// storeError turns what etcd says into an Error.
func storeError(op string, err error) error {
	if err == nil {
		return nil
	}
	var ours *vnet.Error
	if errors.As(err, &ours) {
		return err
	}
	e := &vnet.Error{Kind: vnet.ErrUnavailable, Op: op, Msg: "the store does not answer", Err: err,
		Hint: "see `sextant status`; nothing is lost, try again"}
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace), isCode(err, codes.ResourceExhausted) && strings.Contains(err.Error(), "space"),
		errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EROFS):
		e.Kind, e.Msg = vnet.ErrExhausted, "disk full: the store takes no writes"
		e.Hint = "make room on the file system of the state directory; reads and guests go on"
	case errors.Is(err, context.Canceled):
		e.Msg, e.Hint = "given up", ""
	case errors.Is(err, rpctypes.ErrTooManyOps), errors.Is(err, rpctypes.ErrRequestTooLarge):
		e.Kind, e.Msg, e.Hint = vnet.ErrInvalid, "too much for one change", "make it in smaller parts"
	case errors.Is(err, rpctypes.ErrPermissionDenied), errors.Is(err, rpctypes.ErrUserEmpty), errors.Is(err, rpctypes.ErrAuthFailed):
		e.Kind, e.Msg, e.Hint = vnet.ErrForbidden, "the store refuses us", "check the store's user, password or certificate"
	}
	return e
}

func isCode(err error, code codes.Code) bool {
	if s, ok := status.FromError(err); ok && s.Code() == code {
		return true
	}
	var e rpctypes.EtcdError
	return errors.As(err, &e) && e.Code() == code
}

func (s *Store) writable() error {
	if s.guard == nil {
		return nil
	}
	return s.guard()
}
