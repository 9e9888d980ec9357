package native

import (
	"context"
	"fmt"
	"time"

	"github.com/sextant-net/sextant/internal/control"
	"github.com/sextant-net/sextant/internal/vnet"
)

// ReleaseLease orders a release.
func (f *Fake) ReleaseLease(_ context.Context, _ Identity, sel Selector) (*vnet.LeaseOrder, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o, err := f.find(sel)
	if err != nil {
		return nil, err
	}
	l := o.(*vnet.Lease)
	return &vnet.LeaseOrder{
		Host: "host1", Network: l.Network, Action: vnet.OrderRelease, Leases: []vnet.LeaseRecord{{Lease: l.ID, Address: l.Address}},
	}, nil
}

// ImportLeases orders an import.
func (f *Fake) ImportLeases(_ context.Context, _ Identity, _, network string, records []vnet.LeaseRecord) (*vnet.LeaseOrder, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.find(Selector{Kind: vnet.KindNetwork, Name: network})
	if err != nil {
		return nil, inField(err, "network")
	}
	return &vnet.LeaseOrder{Host: "host1", Network: n.GetMeta().ID, Action: vnet.OrderImport, Leases: records}, nil
}

// Ordered does what was ordered. Leases that are there already are in the way
// of imports, and those of MACs that end in 66 are somebody else's.
func (f *Fake) Ordered(_ context.Context, o *vnet.LeaseOrder) (*OrderResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := f.judge(o)
	bad := map[string]bool{}
	for _, p := range out.Problems {
		bad[p.Field] = true
	}
	for _, r := range o.Leases {
		switch l := f.findLease(Selector{Kind: vnet.KindLease, Name: r.Address.String()}); {
		case bad[r.Text()]:
		case o.Action == vnet.OrderRelease && l != nil:
			f.drop(l)
		case o.Action == vnet.OrderImport:
			f.put(&vnet.Lease{
				Network: o.Network, Host: o.Host, Address: r.Address, Length: r.Length, Family: r.Family(), How: vnet.HowDHCPv4,
				MAC: r.MAC, DUID: r.DUID, Hostname: r.Hostname, Expires: r.Expires,
			}, "created")
		}
	}
	return out, nil
}

func (f *Fake) judge(o *vnet.LeaseOrder) *OrderResult {
	out := &OrderResult{Host: o.Host}
	for _, r := range o.Leases {
		old := f.findLease(Selector{Kind: vnet.KindLease, Name: r.Address.String()})
		p := vnet.Problem{Kind: vnet.ErrConflict, Field: r.Text()}
		switch {
		case r.MAC[5] == 0x66:
			p.Msg = "it is port vm1's"
		case o.Action == vnet.OrderImport && old != nil:
			p.Msg, p.Hint = "it is in use here", fmt.Sprintf("see `sextant lease list address=%s`", r.Address)
		default:
			out.Done++
			continue
		}
		out.Problems = append(out.Problems, p)
	}
	return out
}

// TryImport judges, and does nothing.
func (f *Fake) TryImport(ctx context.Context, who Identity, project, network string, records []vnet.LeaseRecord) (*OrderResult, error) {
	o, err := f.ImportLeases(ctx, who, project, network, records)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.judge(o), nil
}

// WatchLeases sends every lease once, then that the first one was renewed and
// ended, and waits for the end of ctx.
func (f *Fake) WatchLeases(ctx context.Context, _ Identity, q Query, _ int64) (<-chan LeaseChange, error) {
	f.mu.Lock()
	var out []LeaseChange
	for _, o := range f.objects {
		if l, ok := o.(*vnet.Lease); ok && f.within(o, q.Project, q.Network) {
			x := LeaseChange{Lease: *l}
			x.Lease.Revision++
			x.Lease.Expires = fakeTime
			out = append(out, x)
		}
	}
	f.mu.Unlock()
	if len(out) > 0 {
		end := LeaseChange{Ended: true}
		end.Lease.ID, end.Lease.Revision = out[0].Lease.ID, out[0].Lease.Revision+1
		out = append(out, end)
	}
	c := make(chan LeaseChange)
	go func() {
		defer close(c)
		for _, x := range out {
			select {
			case c <- x:
			case <-ctx.Done():
				return
			}
		}
		<-ctx.Done()
	}()
	return c, nil
}

// History takes the leases for the present, and has a past of one stay.
func (f *Fake) History(_ context.Context, _ Identity, q HistoryQuery) (*HistoryPage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := &HistoryPage{}
	for _, o := range f.objects {
		l, ok := o.(*vnet.Lease)
		if !ok || !f.within(o, q.Project, q.Network) || q.Of != "" && q.Of != l.Address.String() && q.Of != l.MAC.String() {
			continue
		}
		now := control.HistoryEntry{Network: l.Network, Port: l.Port, Project: l.Project, DUID: l.DUID, Stay: vnet.StayOf(l, time.Time{})}
		if len(out.Items) == 0 {
			before := now
			before.From, before.Until = fakeTime.AddDate(0, -1, 0), fakeTime
			out.Items = append(out.Items, before)
		}
		out.Items = append(out.Items, now)
	}
	return out, nil
}
