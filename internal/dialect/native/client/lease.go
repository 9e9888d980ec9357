package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Lease is an address in use by a guest, with the names of what it belongs to.
type Lease struct {
	ID        vnet.ID      `json:"id"`
	MAC       vnet.MAC     `json:"mac"`
	Address   netip.Addr   `json:"address"`
	Prefix    netip.Prefix `json:"prefix,omitzero"` // of a delegation, whose first address it is
	Via       netip.Addr   `json:"via,omitzero"`    // its next hop
	Family    vnet.Family  `json:"family"`
	How       vnet.How     `json:"how"`
	Name      string       `json:"name"`
	Port      string       `json:"port"`
	Since     time.Time    `json:"since,omitzero"`
	Expires   time.Time    `json:"expires"` // zero: as long as the guest is there
	Network   string       `json:"network"`
	Host      string       `json:"host"`
	DUID      string       `json:"duid"`
	Temporary bool         `json:"temporary"`
	Declined  bool         `json:"declined"`
}

// Leases lists the addresses that guests use.
func (c *Client) Leases(ctx context.Context, s Scope) ([]Lease, error) {
	raw, err := c.ListRaw(ctx, Plural(vnet.KindLease), s.query())
	if err != nil {
		return nil, err
	}
	out := make([]Lease, len(raw))
	for i := range raw {
		if err := json.Unmarshal(raw[i], &out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// OrderResult is what came of a release or an import.
type OrderResult struct {
	Host     string         `json:"host"`
	Pending  bool           `json:"pending,omitempty"` // nobody waited for it
	Done     int            `json:"done"`
	Problems []vnet.Problem `json:"problems,omitempty"` // the leases for which it was not done
}

// ReleaseLease releases a lease, named by its ID or address.
func (c *Client) ReleaseLease(ctx context.Context, w Write, name string) (*OrderResult, error) {
	out := &OrderResult{}
	err := c.Do(ctx, Request{Method: http.MethodPost, Path: Path(vnet.KindLease, name) + "/release", Query: w.query()}, out)
	return out, err
}

// ImportLeases has a network take over leases that another server gave, at most
// vnet.OrderMost. With dry, it only says what that would come to.
func (c *Client) ImportLeases(ctx context.Context, w Write, records []vnet.LeaseRecord, dry bool) (*OrderResult, error) {
	body := struct {
		Leases []vnet.LeaseRecord `json:"leases"`
	}{records}
	q := w.query()
	if dry {
		q.Set("dry-run", "true")
	}
	out := &OrderResult{}
	err := c.Do(ctx, Request{Method: http.MethodPost, Path: "/v1/" + Plural(vnet.KindLease) + "/import", Query: q, Body: body}, out)
	return out, err
}

// WatchLeases calls f for what becomes of leases after the revision of a list
// (0: from now on), until ctx ends, f returns an error or the stream breaks. It
// returns that error. Raw is the lease as the API shows it; of one that ended it
// has only the ID.
func (c *Client) WatchLeases(ctx context.Context, q url.Values, after int64, f func(raw json.RawMessage, ended bool) error) error {
	query := url.Values{}
	for k, v := range q {
		query[k] = v
	}
	if after > 0 {
		query.Set("after", strconv.FormatInt(after, 10))
	}
	resp, err := c.open(ctx, Request{Method: http.MethodGet, Path: "/v1/" + Plural(vnet.KindLease) + "/watch", Accept: "text/event-stream", Query: query})
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	err = readSent(resp.Body, func(s sent) error { return f(s.data, s.name == "ended") })
	return streamError(ctx, err)
}

// streamError is why a stream ended.
func streamError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == io.EOF:
		return vnet.Errorf(vnet.ErrUnavailable, "the stream of events ended").WithHint("follow again")
	}
	return err
}

// ListRevision is ListRaw that also tells the store's revision of its first
// page: whoever watches from there misses nothing.
func (c *Client) ListRevision(ctx context.Context, plural string, q url.Values) ([]json.RawMessage, int64, error) {
	return c.list(ctx, plural, q)
}
