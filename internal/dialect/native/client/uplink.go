package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// HostUplink is a link of a host that leads outside: what its host finds, and
// what is wished of it.
type HostUplink struct {
	Host string `json:"host"`
	vnet.Uplink
	State    string             `json:"state,omitempty"` // up, down or absent
	Policy   *vnet.UplinkPolicy `json:"policy,omitempty"`
	Revision int64              `json:"revision,omitempty"` // of the policy
}

// Confirmed is what was kept by a confirmation.
type Confirmed struct {
	Uplinks []struct {
		Host   string `json:"host"`
		Name   string `json:"name"`
		Shared bool   `json:"shared"`
	} `json:"uplinks"`
}

// Uplinks lists the uplinks of a host; "": of all.
func (c *Client) Uplinks(ctx context.Context, host string) ([]HostUplink, error) {
	raw, err := c.ListRaw(ctx, Plural(vnet.KindUplink), ofHost(host))
	if err != nil {
		return nil, err
	}
	out := make([]HostUplink, len(raw))
	for i := range raw {
		if err := json.Unmarshal(raw[i], &out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// PatchUplink changes what is wished of a host's link ("": the host that
// answers) by a JSON merge patch of its policy. With a time to confirm in, a
// change of sharing is taken back after it unless Confirm comes first.
func (c *Client) PatchUplink(ctx context.Context, host, link string, ifMatch int64, confirm time.Duration, policy any) (*HostUplink, error) {
	q := ofHost(host)
	if confirm > 0 {
		q.Set("confirm", confirm.String())
	}
	out := &HostUplink{}
	err := c.Do(ctx, Request{
		Method: http.MethodPatch, Path: Path(vnet.KindUplink, link), Query: q, Body: map[string]any{"policy": policy},
		ContentType: "application/merge-patch+json", IfMatch: ifMatch,
	}, out)
	return out, err
}

// Confirm keeps what waits to be confirmed; ErrConflict if nothing does.
func (c *Client) Confirm(ctx context.Context) (*Confirmed, error) {
	out := &Confirmed{}
	err := c.Do(ctx, Request{Method: http.MethodPost, Path: "/v1/confirm"}, out)
	return out, err
}

func ofHost(host string) url.Values {
	q := url.Values{}
	if host != "" {
		q.Set("host", host)
	}
	return q
}
