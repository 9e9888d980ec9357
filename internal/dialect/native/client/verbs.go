package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Scope says within what names are meant; empty is the default project.
type Scope struct{ Project, Network string }

// Write says how a write is made.
type Write struct {
	Scope
	// IfMatch is the revision that was read; 0 is any.
	IfMatch int64
	// Wait is how long to wait until the write is done on its host; 0 does
	// not wait.
	Wait time.Duration
}

// noun is a pointer to a noun's type.
type noun[T any] interface {
	*T
	vnet.Object
}

// Plural is the path below /v1 of a kind of object.
func Plural(k vnet.Kind) string { return string(k) + "s" }

// Path is the path of one object.
func Path(k vnet.Kind, name string) string {
	return "/v1/" + Plural(k) + "/" + url.PathEscape(name)
}

func (s Scope) query() url.Values {
	q := url.Values{}
	if s.Project != "" {
		q.Set("project", s.Project)
	}
	if s.Network != "" {
		q.Set("network", s.Network)
	}
	return q
}

func (w Write) query() url.Values {
	q := w.Scope.query()
	if w.Wait > 0 {
		q.Set("wait", w.Wait.String())
	}
	return q
}

// Create stores a new object and returns what was made of it.
func Create[T any, P noun[T]](ctx context.Context, c *Client, w Write, o P) (P, error) {
	out := P(new(T))
	err := c.Do(ctx, Request{Method: http.MethodPost, Path: "/v1/" + Plural(o.Kind()), Query: w.query(), Body: o}, out)
	return out, err
}

// Get reads one object by its name or ID.
func Get[T any, P noun[T]](ctx context.Context, c *Client, s Scope, name string) (P, error) {
	out := P(new(T))
	err := c.Do(ctx, Request{Method: http.MethodGet, Path: Path(out.Kind(), name), Query: s.query()}, out)
	return out, err
}

// Replace stores the whole object under the name it had.
func Replace[T any, P noun[T]](ctx context.Context, c *Client, w Write, name string, o P) (P, error) {
	out := P(new(T))
	err := c.Do(ctx, Request{
		Method: http.MethodPut, Path: Path(o.Kind(), name), Query: w.query(), Body: o, IfMatch: w.IfMatch,
	}, out)
	return out, err
}

// Patch changes the keys of a JSON merge patch (RFC 7396).
func Patch[T any, P noun[T]](ctx context.Context, c *Client, w Write, name string, patch any) (P, error) {
	out := P(new(T))
	err := c.Do(ctx, Request{
		Method: http.MethodPatch, Path: Path(out.Kind(), name), Query: w.query(), Body: patch,
		ContentType: "application/merge-patch+json", IfMatch: w.IfMatch,
	}, out)
	return out, err
}

// Delete removes an object.
func (c *Client) Delete(ctx context.Context, k vnet.Kind, w Write, name string) error {
	return c.Do(ctx, Request{Method: http.MethodDelete, Path: Path(k, name), Query: w.query(), IfMatch: w.IfMatch}, nil)
}

// List reads all objects of a kind, page by page.
func List[T any, P noun[T]](ctx context.Context, c *Client, s Scope) ([]P, error) {
	raw, err := c.ListRaw(ctx, Plural(P(new(T)).Kind()), s.query())
	if err != nil {
		return nil, err
	}
	out := make([]P, len(raw))
	for i := range raw {
		out[i] = P(new(T))
		if err := json.Unmarshal(raw[i], out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// leasePage is how many leases are asked for at a time, of which there may be very
// many: a page is some hundred kilobytes.
const leasePage = 2000

// ListRaw reads all items below /v1/PLURAL, page by page, as they come.
func (c *Client) ListRaw(ctx context.Context, plural string, q url.Values) ([]json.RawMessage, error) {
	items, _, err := c.list(ctx, plural, q)
	return items, err
}

func (c *Client) list(ctx context.Context, plural string, q url.Values) (items []json.RawMessage, revision int64, err error) {
	query := url.Values{}
	for k, v := range q {
		query[k] = v
	}
	if plural == Plural(vnet.KindLease) && query.Get("limit") == "" {
		query.Set("limit", strconv.Itoa(leasePage))
	}
	out := []json.RawMessage{}
	for {
		var page struct {
			Items    []json.RawMessage `json:"items"`
			Next     string            `json:"next"`
			Revision int64             `json:"revision"`
		}
		if err := c.Do(ctx, Request{Method: http.MethodGet, Path: "/v1/" + plural, Query: query}, &page); err != nil {
			return nil, 0, err
		}
		if revision == 0 {
			revision = page.Revision
		}
		out = append(out, page.Items...)
		if page.Next == "" {
			return out, revision, nil
		}
		query.Set("after", page.Next)
	}
}

// Start starts a network.
func (c *Client) Start(ctx context.Context, w Write, name string) (*vnet.Network, error) {
	return c.turn(ctx, w, name, "/start")
}

// Stop stops a network.
func (c *Client) Stop(ctx context.Context, w Write, name string) (*vnet.Network, error) {
	return c.turn(ctx, w, name, "/stop")
}

func (c *Client) turn(ctx context.Context, w Write, name, verb string) (*vnet.Network, error) {
	out := new(vnet.Network)
	err := c.Do(ctx, Request{Method: http.MethodPost, Path: Path(vnet.KindNetwork, name) + verb, Query: w.query()}, out)
	return out, err
}

// Plug plugs a port into a device; if there is no port of the name, it makes
// one that is like port, which may be nil.
func (c *Client) Plug(ctx context.Context, w Write, name string, port *vnet.Port, b vnet.Binding) (*vnet.Port, error) {
	body := struct {
		Binding vnet.Binding `json:"binding"`
		Port    *vnet.Port   `json:"port,omitempty"`
	}{b, port}
	out := new(vnet.Port)
	err := c.Do(ctx, Request{Method: http.MethodPost, Path: Path(vnet.KindPort, name) + "/plug", Query: w.query(), Body: body}, out)
	return out, err
}

// Unplug unplugs a port; the port stays.
func (c *Client) Unplug(ctx context.Context, w Write, name string) (*vnet.Port, error) {
	out := new(vnet.Port)
	err := c.Do(ctx, Request{Method: http.MethodPost, Path: Path(vnet.KindPort, name) + "/unplug", Query: w.query()}, out)
	return out, err
}

// Ready returns nil once the daemon serves.
func (c *Client) Ready(ctx context.Context) error {
	return c.Do(ctx, Request{Method: http.MethodGet, Path: "/readyz"}, nil)
}

// Healthy returns nil if the control process answers, ready or not.
func (c *Client) Healthy(ctx context.Context) error {
	return c.Do(ctx, Request{Method: http.MethodGet, Path: "/healthz"}, nil)
}

// Backup writes a backup to w. After an error what was written is no good.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	resp, err := c.open(ctx, Request{Method: http.MethodGet, Path: "/v1/backup", Accept: "application/octet-stream"})
	if err != nil {
		return err
	}
	defer drain(resp.Body)
	if _, err := io.Copy(w, resp.Body); err != nil {
		return &vnet.Error{Kind: vnet.ErrUnavailable, Op: "backup", Msg: "the backup broke off", Err: err}
	}
	return nil
}

// Restore replaces everything that is wished by the backup in r.
func (c *Client) Restore(ctx context.Context, r io.Reader) error {
	return c.Do(ctx, Request{
		Method: http.MethodPost, Path: "/v1/restore", Body: r, ContentType: "application/octet-stream",
	}, nil)
}

// Cleanup removes everything that Sextant put on the host; "" is the only one.
// The answer is the agent's.
func (c *Client) Cleanup(ctx context.Context, host string) (json.RawMessage, error) {
	var out json.RawMessage
	body := map[string]string{}
	if host != "" {
		body["host"] = host
	}
	err := c.Do(ctx, Request{Method: http.MethodPost, Path: "/v1/cleanup", Body: body}, &out)
	return out, err
}
