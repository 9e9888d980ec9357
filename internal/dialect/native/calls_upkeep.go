package native

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/sextant-net/sextant/internal/vnet"
)

// restorePath is the one path whose body is not limited to MaxBody.
const restorePath = "/v1/restore"

// cleanupVerb is the agent's name for the question that removes everything.
const cleanupVerb = "cleanup"

// restoreIn reaches for the body itself, which is as long as the backup.
type restoreIn struct{ body io.Reader }

// Resolve is huma's hook to see the request.
func (in *restoreIn) Resolve(ctx huma.Context) []error {
	in.body = ctx.BodyReader()
	return nil
}

// registerUpkeep adds backup, restore and cleanup.
func (a *api) registerUpkeep() {
	type none struct{}
	backup := a.op(http.MethodGet, "/v1/backup", "backup", "", "Write everything that is wished to a file")
	backup.Responses = map[string]*huma.Response{"200": {
		Description: "the backup", Content: map[string]*huma.MediaType{"application/octet-stream": {}},
	}}
	register(a, backup, func(ctx context.Context, _ *none) (*huma.StreamResponse, error) {
		who := whoFrom(ctx)
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			_, w := humago.Unwrap(hc)
			a.backup(ctx, who, w)
		}}, nil
	})

	restore := a.op(http.MethodPost, restorePath, "restore", "", "Replace everything that is wished by a backup")
	restore.DefaultStatus = http.StatusNoContent
	register(a, restore, func(ctx context.Context, in *restoreIn) (*none, error) {
		return &none{}, a.Verbs.Restore(ctx, whoFrom(ctx), in.body)
	})
	a.takes(restore, "application/octet-stream", reflect.TypeFor[[]byte]())

	cleanup := a.op(http.MethodPost, "/v1/cleanup", "cleanup", "", "Remove everything that Sextant put on a host")
	register(a, cleanup, func(ctx context.Context, _ *none) (*bodyOut[json.RawMessage], error) {
		var req CleanupRequest
		if body := bodyFrom(ctx); len(body) > 0 {
			if err := vnet.DecodeJSON(body, &req); err != nil {
				return nil, err
			}
		}
		answer, err := a.Verbs.Ask(ctx, whoFrom(ctx), Question{Host: req.Host, Verb: cleanupVerb})
		if len(answer) == 0 {
			answer = json.RawMessage("{}")
		}
		return &bodyOut[json.RawMessage]{answer}, err
	})
	a.takes(cleanup, "application/json", reflect.TypeFor[CleanupRequest]())
}

// backup streams. Once bytes are out an error can only break the connection
// off, which tells the caller that the file is no good.
func (a *api) backup(ctx context.Context, who Identity, w http.ResponseWriter) {
	out := &lateHeader{ResponseWriter: w}
	err := a.Verbs.Backup(ctx, who, out)
	switch {
	case err == nil && !out.begun:
		w.WriteHeader(http.StatusOK)
	case err != nil && !out.begun:
		f := *faultOf(err)
		if f.Op == "" {
			f.Op = "backup"
		}
		a.fail(w, &f)
	case err != nil:
		a.Log.Error("native: a backup broke off", "error", err)
		panic(http.ErrAbortHandler)
	}
}

// lateHeader notes whether anything was written.
type lateHeader struct {
	http.ResponseWriter
	begun bool
}

// Write begins the answer.
func (l *lateHeader) Write(b []byte) (int, error) {
	if !l.begun {
		l.begun = true
		l.Header().Set("Content-Type", "application/octet-stream")
	}
	return l.ResponseWriter.Write(b)
}
