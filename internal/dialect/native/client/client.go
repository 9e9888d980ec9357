// Package client speaks Sextant's native API, over the Unix socket of a daemon
// on this host or over HTTP.
//
// Objects are vnet's; references to other objects (a port's Network, …) hold
// names in what is read, and names or IDs in what is written. Every error is a
// *vnet.Error: the server's own, or ErrUnavailable or ErrForbidden where the
// server cannot be reached.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// DefaultServer is where a daemon on this host listens.
const DefaultServer = "unix:///run/sextant/api.sock"

// Client is a connection to a server. It may be used by many goroutines.
type Client struct {
	base   string
	server string
	http   *http.Client
}

// New returns a client of the server: unix:///path/to/socket or http(s)://….
// Empty is DefaultServer. It connects with the first request.
func New(server string) (*Client, error) {
	if server == "" {
		server = DefaultServer
	}
	u, err := url.Parse(server)
	if err != nil {
		return nil, vnet.Invalid("server", "%q is no URL", server).WithHint("write it as %s", DefaultServer)
	}
	c := &Client{server: server, http: &http.Client{}}
	switch u.Scheme {
	case "unix":
		path := u.Path
		if path == "" {
			path = u.Opaque
		}
		if path == "" {
			return nil, vnet.Invalid("server", "%q names no socket", server).WithHint("write it as %s", DefaultServer)
		}
		c.base = "http://sextant"
		c.http.Transport = &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "unix", path)
			},
			MaxIdleConnsPerHost: 16,
			IdleConnTimeout:     time.Minute,
		}
	case "http", "https":
		c.base = strings.TrimRight(server, "/")
	default:
		return nil, vnet.Invalid("server", "%q is neither unix:// nor http(s)://", server).
			WithHint("write it as %s", DefaultServer)
	}
	return c, nil
}

// Request is one call of the API.
type Request struct {
	Method string
	// Path begins with /v1; its parts are escaped (url.PathEscape).
	Path  string
	Query url.Values
	// Body is sent as JSON, unless it is an io.Reader; nil sends none.
	Body any
	// ContentType is application/json if empty.
	ContentType string
	// IfMatch is the revision that was read; 0 is any.
	IfMatch int64
	// Accept is application/json if empty.
	Accept string
	// LastEventID resumes a stream of events.
	LastEventID int64
}

// Do sends a request and decodes the answer into out, which may be nil, a
// *json.RawMessage or anything that encoding/json takes.
func (c *Client) Do(ctx context.Context, r Request, out any) error {
	resp, err := c.open(ctx, r)
	if err != nil {
		return err
	}
	defer drain(resp.Body)
	if out == nil || resp.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return &vnet.Error{Kind: vnet.ErrUnavailable, Msg: "the answer broke off", Err: err}
	}
	return nil
}

// drain reads what is left, so that the connection can be used again.
func drain(b io.ReadCloser) {
	_, _ = io.Copy(io.Discard, io.LimitReader(b, 1<<16))
	_ = b.Close()
}

// open sends a request; the caller closes the answer's body, which is a
// success's.
func (c *Client) open(ctx context.Context, r Request) (*http.Response, error) {
	var body io.Reader
	switch b := r.Body.(type) {
	case nil:
	case io.Reader:
		body = b
	default:
		data, err := json.Marshal(b)
		if err != nil {
			return nil, vnet.Errorf(vnet.ErrInvalid, "it cannot be written as JSON: %w", err)
		}
		body = bytes.NewReader(data)
	}
	target := c.base + r.Path
	if len(r.Query) > 0 {
		target += "?" + r.Query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, target, body)
	if err != nil {
		return nil, vnet.Errorf(vnet.ErrInvalid, "bad request: %w", err)
	}
	set := func(key, value, otherwise string) {
		if value == "" {
			value = otherwise
		}
		if value != "" {
			req.Header.Set(key, value)
		}
	}
	set("Accept", r.Accept, "application/json")
	if body != nil {
		set("Content-Type", r.ContentType, "application/json")
	}
	if r.IfMatch > 0 {
		set("If-Match", strconv.Quote(strconv.FormatInt(r.IfMatch, 10)), "")
	}
	if r.LastEventID > 0 {
		set("Last-Event-ID", strconv.FormatInt(r.LastEventID, 10), "")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode >= 300 {
		defer drain(resp.Body)
		return nil, serverError(resp)
	}
	return resp, nil
}

// unreachable says in one line why there was no answer, and what to do.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	path, local := strings.CutPrefix(c.server, "unix://")
	switch {
	case local && errors.Is(err, fs.ErrNotExist):
		return vnet.Errorf(vnet.ErrUnavailable, "the daemon is not running: there is no %s", path).
			WithHint("start it: systemctl start sextant, or sextant serve")
	case local && errors.Is(err, syscall.ECONNREFUSED):
		return vnet.Errorf(vnet.ErrUnavailable, "the daemon is not running: nobody answers at %s", path).
			WithHint("start it: systemctl start sextant, or sextant serve")
	case local && errors.Is(err, fs.ErrPermission):
		return vnet.Errorf(vnet.ErrForbidden, "you may not open %s", path).
			WithHint("be root, or join the group sextant and log in again")
	}
	// The URL in Go's error says nothing that c.server does not.
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return vnet.Errorf(vnet.ErrUnavailable, "the daemon closed the connection").WithHint("see its log: journalctl -u sextant")
	}
	return vnet.Errorf(vnet.ErrUnavailable, "%s cannot be reached: %w", c.server, err)
}

// serverError decodes the one shape that errors have.
func serverError(resp *http.Response) error {
	var e vnet.Error
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && json.Unmarshal(data, &e) == nil && e.Kind != "" {
		return &e
	}
	return vnet.Errorf(vnet.ErrInternal, "the server answered %s", resp.Status).WithHint("is it Sextant?")
}
