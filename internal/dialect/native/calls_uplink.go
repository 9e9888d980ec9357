package native

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/sextant-net/sextant/internal/control"
	"github.com/sextant-net/sextant/internal/vnet"
)

// OfHost picks a host.
type OfHost struct {
	Host string `query:"host" doc:"of this host only"`
}

// OneUplink names one uplink.
type OneUplink struct {
	OfHost
	Name string `path:"name" doc:"name of the link"`
}

type writeUplinkIn struct {
	OneUplink
	IfMatch string `header:"If-Match" doc:"the ETag that was read: 412 if what is wished has changed since"`
	Wait    string `query:"wait" doc:"wait this long until it is done on its host, for example 10s"`
	Confirm string `query:"confirm" doc:"with a change of policy.shared: take it back after this long, for example 60s, unless POST /v1/confirm comes first"`
}

// registerUplinks adds the uplinks, which are facts of hosts with what is
// wished of them. Nobody makes one: what is written is its policy.
func (a *api) registerUplinks() {
	const path = "/v1/uplinks"
	wire := reflect.TypeFor[HostUplink]()
	register(a, a.op(http.MethodGet, path, "list", "uplink", "List uplinks of hosts"),
		func(ctx context.Context, in *OfHost) (*bodyOut[List[HostUplink]], error) {
			all, revision, err := a.Verbs.Uplinks(ctx, whoFrom(ctx), in.Host, "")
			out := List[HostUplink]{Items: []HostUplink{}, Revision: revision}
			for _, v := range all {
				out.Items = append(out.Items, hostUplink(v))
			}
			return &bodyOut[List[HostUplink]]{out}, err
		})
	register(a, a.op(http.MethodGet, path+"/{name}", "show", "uplink", "Show one uplink"),
		func(ctx context.Context, in *OneUplink) (*objectOut[HostUplink], error) { return a.uplink(ctx, in) })

	put := a.op(http.MethodPut, path+"/{name}", "edit", "uplink", "Replace what is wished of an uplink")
	register(a, put, func(ctx context.Context, in *writeUplinkIn) (*objectOut[HostUplink], error) {
		return a.setUplink(ctx, in, func(*vnet.UplinkPolicy) ([]byte, error) { return bodyFrom(ctx), nil })
	})
	a.takes(put, "application/json", wire)

	patch := a.op(http.MethodPatch, path+"/{name}", "set", "uplink", "Change what is wished of an uplink by a JSON merge patch (RFC 7396) of its policy")
	register(a, patch, func(ctx context.Context, in *writeUplinkIn) (*objectOut[HostUplink], error) {
		if _, err := decodeUplink(in.Name, bodyFrom(ctx)); err != nil {
			return nil, err
		}
		return a.setUplink(ctx, in, func(p *vnet.UplinkPolicy) ([]byte, error) {
			now, err := json.Marshal(HostUplink{Policy: p})
			if err != nil {
				return nil, err
			}
			merged, err := mergePatch(now, bodyFrom(ctx))
			if err != nil {
				return nil, vnet.Errorf(vnet.ErrInvalid, "the body is no JSON merge patch: %w", err)
			}
			return merged, nil
		})
	})
	a.takes(patch, "application/merge-patch+json", wire)

	remove := a.op(http.MethodDelete, path+"/{name}", "delete", "uplink", "Forget what is wished of an uplink: it is used as it is found")
	register(a, remove, func(ctx context.Context, in *writeUplinkIn) (*bodyOut[Deleted], error) {
		return a.removeUplink(ctx, in)
	})
	a.registerConfirm()
}

// removeUplink deletes what is wished of an uplink.
func (a *api) removeUplink(ctx context.Context, in *writeUplinkIn) (*bodyOut[Deleted], error) {
	wait, err := parseWait(in.Wait)
	if err != nil {
		return nil, err
	}
	rev, err := parseIfMatch(in.IfMatch)
	if err != nil {
		return nil, err
	}
	who, sel := whoFrom(ctx), Selector{Kind: vnet.KindUplink, Host: in.Host, Name: in.Name}
	var old vnet.Object
	if wait > 0 {
		if old, err = a.Verbs.Get(ctx, who, sel); err != nil {
			return nil, notWished(err, in.Name)
		}
	}
	gone, err := a.Verbs.Delete(ctx, who, sel, rev)
	if err != nil {
		return nil, notWished(err, in.Name)
	}
	if ref, host, ok := concern(old); ok {
		if _, err := a.await(ctx, ref, gone, host, control.Gone, wait, false); err != nil {
			return nil, err
		}
	}
	return &bodyOut[Deleted]{Deleted{Revision: gone}}, nil
}

// notWished says what it means that there is no policy.
func notWished(err error, link string) error {
	if vnet.Is(err, vnet.ErrNotFound) {
		return vnet.Errorf(vnet.ErrNotFound, "nothing is wished of uplink %q", link).WithHint("see sextant uplink list")
	}
	return err
}

// registerConfirm adds the word that what was changed on trial stays.
func (a *api) registerConfirm() {
	type none struct{}
	register(a, a.op(http.MethodPost, "/v1/confirm", "confirm", "", "Keep what was changed on trial and waits to be confirmed"),
		func(ctx context.Context, _ *none) (*bodyOut[Confirmed], error) {
			kept, err := a.Verbs.Confirm(ctx, whoFrom(ctx))
			out := Confirmed{Uplinks: []ConfirmedUplink{}}
			for _, p := range kept {
				out.Uplinks = append(out.Uplinks, ConfirmedUplink{Host: p.Host, Name: p.Name, Shared: p.Shared})
			}
			return &bodyOut[Confirmed]{out}, err
		})
}

// uplink answers with the one uplink of the name.
func (a *api) uplink(ctx context.Context, in *OneUplink) (*objectOut[HostUplink], error) {
	all, _, err := a.Verbs.Uplinks(ctx, whoFrom(ctx), in.Host, in.Name)
	switch {
	case err != nil:
		return nil, err
	case len(all) == 0:
		return nil, vnet.Errorf(vnet.ErrNotFound, "there is no uplink %q", in.Name).WithHint("see sextant uplink list")
	case len(all) > 1:
		return nil, vnet.Errorf(vnet.ErrInvalid, "more than one host has an uplink %q", in.Name).WithHint("say which: host=NAME")
	}
	return uplinkAnswer(hostUplink(all[0])), nil
}

func uplinkAnswer(u HostUplink) *objectOut[HostUplink] {
	out := &objectOut[HostUplink]{Status: http.StatusOK, Body: u}
	if u.Revision != 0 {
		out.ETag = strconv.Quote(strconv.FormatInt(u.Revision, 10))
	}
	return out
}

// setUplink writes the policy that next makes of the one that is there.
func (a *api) setUplink(ctx context.Context, in *writeUplinkIn, next func(*vnet.UplinkPolicy) ([]byte, error)) (*objectOut[HostUplink], error) {
	rev, err := parseIfMatch(in.IfMatch)
	if err != nil {
		return nil, err
	}
	confirm, err := parseConfirm(in.Confirm)
	if err != nil {
		return nil, err
	}
	wait, err := parseWait(in.Wait)
	if err != nil {
		return nil, err
	}
	was := a.beforeUplink(ctx, in, wait)
	p, err := a.Verbs.SetUplink(ctx, whoFrom(ctx), in.Host, in.Name, rev, confirm, func(p *vnet.UplinkPolicy) error {
		if err := was.keep(p); err != nil {
			return err
		}
		body, err := next(p)
		if err != nil {
			return err
		}
		wish, err := decodeUplink(in.Name, body)
		if err != nil {
			return err
		}
		keepReadOnly(wish, p)
		wish.Host, wish.Name = p.Host, p.Name
		*p = *wish
		return nil
	})
	if err != nil {
		return nil, err
	}
	st, err := a.settle(ctx, p, aim(p), wait, false)
	if err != nil {
		return nil, a.undo(ctx, was, p, err)
	}
	all, _, err := a.Verbs.Uplinks(ctx, whoFrom(ctx), p.Host, p.Name)
	if err != nil {
		return nil, err
	}
	v := UplinkView{Host: p.Host, Facts: vnet.Uplink{Name: p.Name}, Absent: true}
	if len(all) > 0 {
		v = all[0]
	}
	v.Policy = p
	if st != nil {
		v.Facts.Problems = st.Problems // also of a link that is not there
	}
	return uplinkAnswer(hostUplink(v)), nil
}

// parseConfirm reads ?confirm=; zero means that nothing waits.
func parseConfirm(s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	d, err := vnet.ParseDuration(s)
	if err != nil {
		return 0, inField(err, "confirm")
	}
	if d == 0 {
		return 0, vnet.Invalid("confirm", "there is no time to confirm it in").WithHint("write it as 60s")
	}
	return d.Std(), nil
}

// decodeUplink reads the policy out of an uplink on the wire, never nil. Facts
// that were shown may be sent back, and mean nothing. Errors name keys as
// control does.
func decodeUplink(link string, body []byte) (*vnet.UplinkPolicy, error) {
	const part = "policy."
	var u HostUplink
	if err := vnet.DecodeJSON(body, &u); err != nil {
		var e *vnet.Error
		if errors.As(err, &e) && strings.HasPrefix(e.Field, part) {
			c := *e
			c.Field = strings.TrimPrefix(c.Field, part)
			return nil, &c
		}
		return nil, err
	}
	if u.Policy == nil {
		u.Policy = &vnet.UplinkPolicy{}
	}
	if name := cmp.Or(u.Policy.Name, link); name != link {
		return nil, vnet.Invalid("name", "what is wished of %s cannot be made %s's", link, name).WithHint("set it on the other and delete it here")
	}
	return u.Policy, nil
}
