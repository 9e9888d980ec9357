// Package native is Sextant's own REST API, the one that the command line, the
// web interface and everything else of ours speaks: every noun and verb of
// control under /v1, described by OpenAPI 3.1 at /openapi.json.
//
// It decides nothing: decode, identify, one control verb, encode.
package native

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/sextant-net/sextant/internal/vnet"
)

// MaxBody is how long a request's body may be, in bytes.
const MaxBody = 1 << 20

// bodyTime is how long a caller may take to send a body.
const bodyTime = 30 * time.Second

// Config is what New needs.
type Config struct {
	Verbs Verbs
	Log   *slog.Logger
	// Metrics serves /metrics; nil means that there is none.
	Metrics http.Handler
	// Ready returns nil once the daemon serves; nil means always.
	Ready func(context.Context) error
	// Version is the program's.
	Version string
}

// api is the handler and what its calls need.
type api struct {
	Config
	mux  *http.ServeMux
	huma huma.API
}

// New returns the handler of the whole API. The http.Server that it is given
// to must have ConnContext.
func New(c Config) http.Handler {
	humaErrors()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	a := &api{Config: c, mux: http.NewServeMux()}
	a.huma = humago.New(a.mux, a.describe())
	a.registerNouns()
	a.registerPorts()
	a.registerLeases()
	a.registerUplinks()
	a.registerOverview()
	a.registerEvents()
	a.registerUpkeep()
	a.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	a.mux.HandleFunc("GET /readyz", a.ready)
	if c.Metrics != nil {
		a.mux.Handle("GET /metrics", c.Metrics)
	}
	a.mux.HandleFunc("/", a.nothing)
	return a
}

func (a *api) describe() huma.Config {
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:       "Sextant",
				Version:     "v1",
				Description: "Virtual networks with IPv4 and IPv6. Within v1 there are only additions.",
			},
			Components: &huma.Components{Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)},
		},
		OpenAPIPath:                  "/openapi",
		Formats:                      map[string]huma.Format{"application/json": huma.DefaultJSONFormat},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
	}
}

// ServeHTTP keeps panics in, finds out who asks, and reads the body within its
// limit; then the call has its turn.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(p)
		}
		a.Log.Error("native: a call panicked", "method", r.Method, "path", r.URL.Path, "panic", p)
		a.fail(w, faultOf(nil))
	}()
	switch {
	case r.URL.Path == "/healthz" || r.URL.Path == "/readyz" || strings.HasPrefix(r.URL.Path, "/openapi"):
		a.mux.ServeHTTP(w, r)
		return
	}
	who, err := identify(r)
	if err != nil {
		a.fail(w, err)
		return
	}
	ctx := context.WithValue(r.Context(), identityKey{}, who)
	if r.URL.Path != restorePath {
		body, err := readBody(w, r)
		if err != nil {
			w.Header().Set("Connection", "close")
			a.fail(w, err)
			return
		}
		ctx = context.WithValue(ctx, bodyKey{}, body)
	}
	a.mux.ServeHTTP(w, r.WithContext(ctx))
}

type bodyKey struct{}

// bodyFrom returns the request's body. Calls decode it themselves, since their
// errors must name the key.
func bodyFrom(ctx context.Context) []byte {
	b, _ := ctx.Value(bodyKey{}).([]byte)
	return b
}

// readBody reads the body, unless it is or proves too long: then the rest
// stays unread.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength == 0 {
		return nil, nil
	}

	tooLong := &Fault{
		Kind: vnet.ErrInvalid, Message: "the body is longer than 1 MiB", Hint: "send one object per request",
		status: http.StatusRequestEntityTooLarge,
	}
	if r.ContentLength > MaxBody {
		return nil, tooLong
	}
	// Not every writer (a test's recorder) has deadlines.
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTime))
	defer func() { _ = rc.SetReadDeadline(time.Time{}) }()
	var buf bytes.Buffer
	n, err := io.Copy(&buf, io.LimitReader(r.Body, MaxBody+1))
	switch {
	case err != nil:
		return nil, vnet.Errorf(vnet.ErrInvalid, "the body broke off: %w", err)
	case n > MaxBody:
		return nil, tooLong
	}
	return buf.Bytes(), nil
}

// fail writes an error outside of huma's calls.
func (a *api) fail(w http.ResponseWriter, err error) {
	f := faultOf(err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(f.GetStatus())
	if err := a.huma.Marshal(w, "application/json", f); err != nil {
		a.Log.Debug("native: the caller went away", "error", err)
	}
}

func (a *api) ready(w http.ResponseWriter, r *http.Request) {
	if a.Ready != nil {
		if err := a.Ready(r.Context()); err != nil {
			f := *faultOf(err)
			f.Kind, f.Message, f.Hint = vnet.ErrUnavailable, "not ready: "+f.Message, cmp.Or(f.Hint, "wait")
			a.fail(w, &f)
			return
		}
	}
	_, _ = io.WriteString(w, "ready\n")
}

// nothing answers for paths and methods that are not there.
func (a *api) nothing(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, m := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		probe := &http.Request{Method: m, URL: r.URL, Host: r.Host}
		if _, pattern := a.mux.Handler(probe); pattern != "/" && pattern != "" {
			allowed = append(allowed, m)
		}
	}
	if len(allowed) == 0 {
		a.fail(w, vnet.Errorf(vnet.ErrNotFound, "there is no %s", r.URL.Path).WithHint("see /openapi.json"))
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	a.fail(w, &Fault{
		Kind: vnet.ErrInvalid, Message: r.URL.Path + " knows no " + r.Method,
		Hint: "it knows " + strings.Join(allowed, ", "), status: http.StatusMethodNotAllowed,
	})
}
