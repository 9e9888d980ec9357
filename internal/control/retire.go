package control

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// retiredFor is for how long a prefix that was taken away is at least told to
// guests as deprecated: for this long they keep an address whatever they are
// told (RFC 4862 section 5.5.3 e).
const retiredFor = 2 * time.Hour

// retiredMost bounds how many prefixes a network remembers.
const retiredMost = 16

// retire notes in n, which is about to be written, the IPv6 prefixes that its
// guests lose with the change, until the end of what they were promised
// (RFC 9096 section 3.5), and forgets those whose time is over or that are in
// use again. Was is the network as it was, active are its subnets from now on.
// It reports whether that changed anything. The note is part of the change, so
// no crash can lose it.
func (c *Control) retire(ctx context.Context, n, was *vnet.Network, gone, active []*vnet.Subnet) (bool, error) {
	now := c.now().UTC()
	kept := slices.DeleteFunc(slices.Clone(n.Retired), func(r vnet.RetiredPrefix) bool { return !now.Before(r.Until) })
	mode := was.IPv6.Mode
	for _, s := range gone {
		if s.Family != vnet.IPv6 || !s.Prefix.IsValid() || !mode.Addressed() || mode == vnet.EgressBridged {
			continue
		}
		ran, err := c.lastRan(ctx, n.ID, now)
		if err != nil {
			return false, err
		}
		if r := retired(was, s, now, ran); now.Before(r.Until) {
			kept = slices.DeleteFunc(kept, func(o vnet.RetiredPrefix) bool { return o.Prefix.Overlaps(r.Prefix) })
			kept = append(kept, r)
		}
	}
	kept = slices.DeleteFunc(kept, func(r vnet.RetiredPrefix) bool {
		return slices.ContainsFunc(active, func(s *vnet.Subnet) bool { return s.Prefix.IsValid() && s.Prefix.Overlaps(r.Prefix) })
	})
	if len(kept) > retiredMost {
		slices.SortStableFunc(kept, func(a, b vnet.RetiredPrefix) int { return cmp.Compare(a.Until.Unix(), b.Until.Unix()) })
		kept = kept[len(kept)-retiredMost:]
	}
	same := slices.Equal(kept, n.Retired)
	if n.Retired = kept; len(kept) == 0 {
		n.Retired = nil
	}
	return !same, nil
}

// retired is how guests go on seeing a subnet that is taken away. Its deadline
// is that of the longest promise, counted from when the network last ran.
func retired(n *vnet.Network, s *vnet.Subnet, now, ran time.Time) vnet.RetiredPrefix {
	valid := max(retiredFor, s.Advertise.Valid.Std())
	promise := valid
	switch s.Guests {
	case vnet.GuestsStateful, vnet.GuestsSLAACStateful, vnet.GuestsDelegation:
		promise = max(promise, n.LeaseTime.Std())
	}
	r := vnet.RetiredPrefix{
		Prefix: s.Prefix, Subnet: s.ID, Gateway: s.GatewayAddr(s.Prefix), Guests: s.Guests, Delegate: s.Delegate, Advertise: s.Advertise,
		Since: now.Truncate(time.Second),
	}
	r.Advertise.Valid, r.Advertise.Preferred, r.Advertise.Decrement = vnet.Duration(valid), 0, false
	if !ran.IsZero() {
		r.Until = ran.Add(promise).Truncate(time.Second)
	}
	return r
}

// lastRan is until when a network ran on any host: now if it does, zero if it
// never did.
func (c *Control) lastRan(ctx context.Context, network vnet.ID, now time.Time) (time.Time, error) {
	hosts, err := c.hosts(ctx)
	if err != nil {
		return time.Time{}, err
	}
	var last time.Time
	for _, h := range hosts {
		o, err := c.store.Get(ctx, vnet.Ref{Kind: vnet.KindActivation, ID: activationID(network, h)})
		if vnet.Is(err, vnet.ErrNotFound) {
			continue
		}
		if err != nil {
			return time.Time{}, err
		}
		switch a := o.(*vnet.Activation); {
		case a.Started:
			return now, nil
		case a.Generation > 1 && a.Updated.After(last): // the first one was not stopped, but made so
			last = a.Updated
		}
	}
	return last, nil
}

// retireSubnet does so for a subnet that is changed, or made or deleted (old or
// s is nil), by itself, and writes the network with it if need be.
func (c *Control) retireSubnet(ctx context.Context, d *draft, n *vnet.Network, old, s *vnet.Subnet) error {
	if old == nil && len(n.Retired) == 0 {
		return nil
	}
	fam, err := c.familyOf(ctx, n.ID)
	if err != nil {
		return err
	}
	var gone []*vnet.Subnet
	active := fam.subs
	if old != nil {
		gone = []*vnet.Subnet{old}
		active = slices.DeleteFunc(active, func(x *vnet.Subnet) bool { return x.ID == old.ID })
	}
	if s != nil {
		active = append(active, s)
	}
	changed, err := c.retire(ctx, n, n, gone, active)
	if err != nil || !changed {
		return err
	}
	n.Generation++
	n.Updated = c.now().UTC()
	d.change.Put = append(d.change.Put, n)
	return nil
}
