package native

import (
	"cmp"
	"context"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// SetUplink changes the policy of a link of host1, and makes it if need be. What
// waits to be confirmed waits from the time at which everything happens.
func (f *Fake) SetUplink(_ context.Context, _ Identity, host, link string, ifMatch int64, confirm time.Duration, change func(*vnet.UplinkPolicy) error) (*vnet.UplinkPolicy, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	host = cmp.Or(host, "host1")
	next := &vnet.UplinkPolicy{Host: host}
	if o, err := f.find(Selector{Kind: vnet.KindUplink, Host: host, Name: link}); err == nil {
		if ifMatch != vnet.AnyRevision && ifMatch != o.GetMeta().Revision {
			return nil, vnet.Errorf(vnet.ErrConflict, "uplink %q has changed since it was read", link).WithHint("read it again")
		}
		next = clone(o).(*vnet.UplinkPolicy)
	}
	was := next.Shared
	if err := change(next); err != nil {
		return nil, err
	}
	next.Host, next.Name = host, link
	if confirm > 0 && next.Shared != was {
		next.Until, next.Before = fakeTime.Add(confirm), was
	}
	if err := next.Validate(); err != nil {
		return nil, err
	}
	f.put(next, "changed")
	return clone(next).(*vnet.UplinkPolicy), nil
}

// Uplinks are those of host1, and those that something is wished of.
func (f *Fake) Uplinks(_ context.Context, _ Identity, host, link string) ([]UplinkView, int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []UplinkView
	seen := map[string]bool{}
	policy := func(host, link string) *vnet.UplinkPolicy {
		o, err := f.find(Selector{Kind: vnet.KindUplink, Host: host, Name: link})
		if err != nil {
			return nil
		}
		return clone(o).(*vnet.UplinkPolicy)
	}
	add := func(v UplinkView) {
		if (host == "" || v.Host == host) && (link == "" || v.Facts.Name == link) && !seen[v.Facts.Name] {
			out = append(out, v)
		}
		seen[v.Facts.Name] = true
	}
	for _, o := range f.objects {
		if h, ok := o.(*vnet.Host); ok {
			for _, u := range h.Facts.Uplinks {
				add(UplinkView{Host: string(h.ID), Facts: u, Policy: policy(string(h.ID), u.Name)})
			}
		}
	}
	for _, o := range f.objects {
		if p, ok := o.(*vnet.UplinkPolicy); ok {
			add(UplinkView{Host: p.Host, Facts: vnet.Uplink{Name: p.Name}, Absent: p.Name != vnet.AnyUplink, Policy: policy(p.Host, p.Name)})
		}
	}
	return out, f.revision, nil
}

// Confirm keeps what waits.
func (f *Fake) Confirm(_ context.Context, _ Identity) ([]*vnet.UplinkPolicy, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var kept []*vnet.UplinkPolicy
	for _, o := range f.objects {
		if p, ok := o.(*vnet.UplinkPolicy); ok && !p.Until.IsZero() {
			kept = append(kept, clone(p).(*vnet.UplinkPolicy))
		}
	}
	if len(kept) == 0 {
		return nil, vnet.Errorf(vnet.ErrConflict, "nothing waits to be confirmed")
	}
	for _, p := range kept {
		p.Until, p.Before = time.Time{}, false
		f.put(p, "confirmed")
	}
	return kept, nil
}
