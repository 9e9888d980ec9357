package control

import (
	"context"
	"net/netip"

	"github.com/sextant-net/sextant/internal/vnet"
)

// held is a prefix in an address scope: that of a subnet of a started network.
type held struct {
	prefix  netip.Prefix
	network vnet.ID
	name    string
}

// scopeCache is what a scope holds as of a generation. Prefixes that went since
// are still in it: an overlap that it shows is looked at again.
type scopeCache struct {
	gen  int64
	held []held
}

// scopeOf is the address scope of a network's prefixes.
func scopeOf(n *vnet.Network) vnet.Scope {
	if n.Router != "" {
		return vnet.Scope(n.Router)
	}
	return vnet.ScopeHost
}

// claimPrefixes makes d fail if one of the prefixes that the network n is to
// hold from now on overlaps another one of its scope, and makes it conflict
// with every other change of the scope. Field names the key of each prefix.
//
// What is looked at: the subnets of started networks, the prefix assignments
// of the scope, and in the host's own scope the prefixes the host itself uses.
func (c *Control) claimPrefixes(ctx context.Context, d *draft, n *vnet.Network, subs []*vnet.Subnet) error {
	scope := scopeOf(n)
	if d.change.Scopes == nil {
		d.change.Scopes = map[vnet.Scope]int64{}
	}
	if len(d.change.Scopes) == 0 {
		c.admit.Lock() // until repeat unlocks it
	}
	gen, err := c.store.Generation(ctx, scope)
	d.change.Scopes[scope] = gen
	if err != nil {
		return err
	}
	cached := c.prefixes[scope]
	if cached == nil || cached.gen != gen {
		if cached, err = c.loadScope(ctx, scope, gen); err != nil {
			return err
		}
	}
	for _, s := range subs {
		if !exclusive(n, s) {
			continue
		}
		if cached.find(n.ID, s.Prefix) != nil { // it may have gone since
			if cached, err = c.loadScope(ctx, scope, gen); err != nil {
				return err
			}
		}
		if h := cached.find(n.ID, s.Prefix); h != nil {
			return overlap(n, s, h)
		}
		if err := c.checkOutside(ctx, scope, n, s, cached); err != nil {
			return err
		}
	}
	return nil
}

// exclusive reports whether a subnet holds a prefix that no other network of its
// scope may have a part of. A whole prefix that the uplink has on its link is
// shared on purpose; a part of one is not.
func exclusive(n *vnet.Network, s *vnet.Subnet) bool {
	return s.Prefix.IsValid() && n.Policy(s.Family).Mode != vnet.EgressBridged && (s.Source != vnet.SourceProxied || s.Prefix.Bits() > 64)
}

func (s *scopeCache) find(self vnet.ID, p netip.Prefix) *held {
	for i := range s.held {
		if h := &s.held[i]; h.network != self && h.prefix.Overlaps(p) {
			return h
		}
	}
	return nil
}

func overlap(n *vnet.Network, s *vnet.Subnet, h *held) error {
	e := vnet.Errorf(vnet.ErrOverlap, "%s overlaps %s of network %s", s.Prefix, h.prefix, h.name).
		WithHint("choose another prefix, stop %s, or put one of them on a router of its own", h.name)
	e.Field, e.Ref = prefixField(n, s), &vnet.Ref{Kind: vnet.KindNetwork, ID: h.network}
	return e
}

func prefixField(_ *vnet.Network, s *vnet.Subnet) string {
	if s.Primary {
		return s.Family.String() + ".address"
	}
	return "prefix"
}

// loadScope reads what the scope holds.
func (c *Control) loadScope(ctx context.Context, scope vnet.Scope, gen int64) (*scopeCache, error) {
	nets, err := c.store.List(ctx, vnet.Query{Kind: vnet.KindNetwork})
	if err != nil {
		return nil, err
	}
	acts, err := c.store.List(ctx, vnet.Query{Kind: vnet.KindActivation})
	if err != nil {
		return nil, err
	}
	started := map[vnet.ID]bool{}
	for _, o := range acts.Items {
		a := o.(*vnet.Activation)
		started[a.Network] = started[a.Network] || a.Started
	}
	names := map[vnet.ID]*vnet.Network{}
	for _, o := range nets.Items {
		if n := o.(*vnet.Network); scopeOf(n) == scope && started[n.ID] {
			names[n.ID] = n
		}
	}
	subs, err := c.store.List(ctx, vnet.Query{Kind: vnet.KindSubnet})
	if err != nil {
		return nil, err
	}
	out := &scopeCache{gen: gen}
	for _, o := range subs.Items {
		s := o.(*vnet.Subnet)
		if n := names[s.Network]; n != nil && exclusive(n, s) {
			out.held = append(out.held, held{s.Prefix, n.ID, n.Name})
		}
	}
	c.prefixes[scope] = out
	return out, nil
}

// checkOutside looks at what is not a subnet's: prefixes that hosts chose or
// use themselves.
func (c *Control) checkOutside(ctx context.Context, scope vnet.Scope, n *vnet.Network, s *vnet.Subnet, cached *scopeCache) error {
	if s.Source == vnet.SourceULA {
		return nil // cut from our own /48, where nobody else is
	}
	as, err := c.store.List(ctx, vnet.Query{Kind: vnet.KindAssignment})
	if err != nil {
		return err
	}
	for _, o := range as.Items {
		a := o.(*vnet.PrefixAssignment)
		if a.Network == n.ID || a.State == vnet.PrefixExpired || !a.Prefix.Overlaps(s.Prefix) {
			continue
		}
		if s.Source == vnet.SourceProxied && a.Rung == vnet.EgressProxied && a.Prefix.Bits() <= 64 {
			continue // a part of what others share as a whole
		}
		other, err := c.getNetwork(ctx, a.Network)
		if err != nil || scopeOf(other) != scope {
			continue
		}
		return overlap(n, s, &held{a.Prefix, other.ID, other.Name})
	}
	if scope != vnet.ScopeHost || s.Source == vnet.SourceProxied { // the host has the whole of it
		return nil
	}
	o, err := c.store.Get(ctx, vnet.Ref{Kind: vnet.KindHost, ID: vnet.ID(c.host)})
	if vnet.Is(err, vnet.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	facts := o.(*vnet.Host).Facts
	for _, p := range facts.Prefixes {
		if p.Overlaps(s.Prefix) && p.Bits() > 0 {
			e := vnet.Errorf(vnet.ErrOverlap, "%s overlaps %s, which host %s uses itself%s", s.Prefix, p, c.host, usedBy(facts, p)).
				WithHint("choose another prefix, or put the network on a router of its own")
			e.Field = prefixField(n, s)
			return e
		}
	}
	return nil
}

// usedBy says in brackets what uses a prefix on a host, if that is known.
func usedBy(f vnet.HostFacts, p netip.Prefix) string {
	if what := f.Uses[p.String()]; what != "" {
		return " (" + what + ")"
	}
	return ""
}

// committed keeps the caches up to date with what this process wrote itself.
func (c *Control) committed(d *draft, rev int64) {
	if len(d.change.Scopes) == 0 {
		return // the lock is not held
	}
	n, ok := d.o.(*vnet.Network)
	for scope := range d.change.Scopes {
		cached := c.prefixes[scope]
		if cached == nil {
			continue
		}
		cached.gen = rev
		for _, o := range d.change.Put {
			s, isSubnet := o.(*vnet.Subnet)
			if !isSubnet || !s.Prefix.IsValid() {
				continue
			}
			if !ok || s.Network != n.ID || d.old != nil {
				delete(c.prefixes, scope) // seldom: read it again
				continue
			}
			if exclusive(n, s) {
				cached.held = append(cached.held, held{s.Prefix, n.ID, n.Name})
			}
		}
		if d.old != nil {
			delete(c.prefixes, scope)
		}
	}
}

// numberCache gives out small numbers. It may be wrong about what is free: the
// store knows.
type numberCache struct{ taken map[int]bool }

// number picks the smallest number that no object of the kind has. After a
// failed attempt it looks again.
func (c *Control) number(ctx context.Context, d *draft, k vnet.Kind, most int) (int, error) {
	d.chosen["number"] = true
	c.numberLock.Lock()
	defer c.numberLock.Unlock()
	cache := c.numbers[k]
	if cache == nil || d.clashed["number"] {
		l, err := c.store.List(ctx, vnet.Query{Kind: k})
		if err != nil {
			return 0, err
		}
		cache = &numberCache{taken: map[int]bool{}}
		for _, o := range l.Items {
			switch o := o.(type) {
			case *vnet.Network:
				cache.taken[o.Number] = true
			case *vnet.Router:
				cache.taken[o.Number] = true
			}
		}
		c.numbers[k] = cache
	}
	for n := 1; n <= most; n++ {
		if !cache.taken[n] {
			cache.taken[n] = true
			return n, nil
		}
	}
	delete(c.numbers, k)
	return 0, vnet.Errorf(vnet.ErrExhausted, "all %d numbers of %ss are taken", most, k)
}

// freeNumber lets a number of a deleted object be given again.
func (c *Control) freeNumber(k vnet.Kind, n int) {
	c.numberLock.Lock()
	defer c.numberLock.Unlock()
	if cache := c.numbers[k]; cache != nil {
		delete(cache.taken, n)
	}
}
