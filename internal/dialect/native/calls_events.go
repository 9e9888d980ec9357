package native

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/sextant-net/sextant/internal/vnet"
)

// The times of an event stream: how often an idle one sends a comment, so that
// both ends notice when the other is gone, and how long one write may take.
const (
	eventIdle  = 15 * time.Second
	eventWrite = 10 * time.Second
)

type eventsIn struct {
	Accept      string `header:"Accept" doc:"text/event-stream follows; application/json gives what there is"`
	LastEventID string `header:"Last-Event-ID" doc:"go on after this event (server-sent events do so by themselves)"`
	After       string `query:"after" doc:"the same, as a parameter; -1 is from now on"`
	Limit       int    `query:"limit" minimum:"1" maximum:"5000" doc:"application/json: how many at most; default 500"`
}

// registerEvents adds the stream of events.
func (a *api) registerEvents() {
	op := a.op(http.MethodGet, "/v1/events", "events", "", "Follow what happens, or list what happened")
	schemas := a.huma.OpenAPI().Components.Schemas
	op.Responses = map[string]*huma.Response{"200": {
		Description: "events; as a stream, the id of each is where to go on and its event is what happened",
		Content: map[string]*huma.MediaType{
			"text/event-stream": {Schema: schemas.Schema(reflect.TypeFor[vnet.Event](), true, "Event")},
			"application/json":  {Schema: schemas.Schema(reflect.TypeFor[List[vnet.Event]](), true, "ListEvent")},
		},
	}}
	register(a, op, func(ctx context.Context, in *eventsIn) (*huma.StreamResponse, error) {
		who := whoFrom(ctx)
		if !strings.Contains(in.Accept, "text/event-stream") {
			return a.pastEvents(ctx, who, in)
		}
		after, err := eventID(in)
		if err != nil {
			return nil, err
		}
		// The stream ends with the request; cancel tells control when a write
		// fails first.
		ctx, cancel := context.WithCancel(ctx)
		events, err := a.Verbs.Events(ctx, who, after)
		if err != nil {
			cancel()
			return nil, err
		}
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			defer cancel()
			_, w := humago.Unwrap(hc)
			w.Header().Set("Content-Type", "text/event-stream")
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusOK)
			stream(ctx, w, "events follow", events, eventText)
		}}, nil
	})
}

// eventID is after which event to go on: 0 is before all that are kept, -1
// after all that were.
func eventID(in *eventsIn) (int64, error) {
	s, field := in.LastEventID, "Last-Event-ID"
	if s == "" {
		s, field = in.After, "after"
	}
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < -1 {
		return 0, vnet.Invalid(field, "%q is no event's ID", s).WithHint("leave it out to begin at the beginning, or say -1 to begin now")
	}
	return n, nil
}

func (a *api) pastEvents(ctx context.Context, who Identity, in *eventsIn) (*huma.StreamResponse, error) {
	q := Query{Kind: vnet.KindEvent, Limit: in.Limit, After: in.After, AllProjects: true}
	if q.Limit == 0 {
		q.Limit = pageDefault
	}
	p, err := a.Verbs.List(ctx, who, q)
	if err != nil {
		return nil, err
	}
	out := List[vnet.Object]{Items: p.Items, Next: p.Next, Revision: p.Revision}
	if out.Items == nil {
		out.Items = []vnet.Object{}
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", "application/json")
		if err := a.huma.Marshal(hc.BodyWriter(), "application/json", out); err != nil {
			a.Log.Debug("native: the caller went away", "error", err)
		}
	}}, nil
}

// stream writes what comes until no more does or the caller is gone.
func stream[T any](ctx context.Context, w http.ResponseWriter, hello string, from <-chan T, form func(T) []byte) {
	rc := http.NewResponseController(w)
	idle := time.NewTicker(eventIdle)
	defer idle.Stop()
	text := []byte(": " + hello + "\n\n")
	for {
		// Not every writer (a test's recorder) has deadlines.
		_ = rc.SetWriteDeadline(time.Now().Add(eventWrite))
		if _, err := w.Write(text); err != nil {
			return
		}
		if err := rc.Flush(); err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-idle.C:
			text = []byte(":\n\n")
		case x, ok := <-from:
			if !ok {
				return
			}
			text = form(x)
		}
	}
}

// eventText is an event as the WHATWG's server-sent events have it.
func eventText(e vnet.Event) []byte { return sentEvent(e.Revision, e.What, e) }

func sentEvent(revision int64, what string, v any) []byte {
	var b bytes.Buffer
	if revision > 0 {
		fmt.Fprintf(&b, "id: %d\n", revision)
	}
	if what != "" {
		fmt.Fprintf(&b, "event: %s\n", strings.Map(oneLine, what))
	}
	_, _ = io.WriteString(&b, "data: ")
	data, err := json.Marshal(v)
	if err != nil {
		data = []byte("{}")
	}
	b.Write(data)
	b.WriteString("\n\n")
	return b.Bytes()
}

func oneLine(r rune) rune {
	if r < ' ' {
		return -1
	}
	return r
}
