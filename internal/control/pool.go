package control

import (
	"context"
	"net/netip"
	"slices"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

// pools are prefixes that subnets are cut from.
type pools struct{ c *Control }

func (w pools) create(ctx context.Context, d *draft) error {
	if err := validate(d.o); err != nil {
		return err
	}
	return w.apart(ctx, d.o.(*vnet.Pool))
}

// apart refuses a pool that overlaps another one: each would cut what the
// other cuts.
func (w pools) apart(ctx context.Context, p *vnet.Pool) error {
	l, err := w.c.store.List(ctx, vnet.Query{Kind: vnet.KindPool})
	if err != nil {
		return err
	}
	for _, o := range l.Items {
		other := o.(*vnet.Pool)
		if other.ID != p.ID && other.Prefix.Overlaps(p.Prefix) {
			ref := vnet.RefOf(other)
			e := vnet.Errorf(vnet.ErrOverlap, "%s overlaps %s of pool %s", p.Prefix, other.Prefix, other.Name).WithHint("choose another prefix")
			e.Field, e.Ref = "prefix", &ref
			return e
		}
	}
	return nil
}

func (w pools) update(ctx context.Context, d *draft) error {
	p, old := d.o.(*vnet.Pool), d.old.(*vnet.Pool)
	if err := validate(p); err != nil {
		return err
	}
	if p.Prefix == old.Prefix && p.SubnetLen == old.SubnetLen {
		return nil
	}
	cut, err := w.c.cutFrom(ctx, p.ID)
	if err != nil {
		return err
	}
	for _, s := range cut {
		if !ipam.Contains(p.Prefix, s.Prefix) {
			ref := vnet.RefOf(s)
			e := vnet.Errorf(vnet.ErrInUse, "%s was cut from the pool and is not in %s", s.Prefix, p.Prefix).WithHint("choose a prefix that has it, or delete that subnet first")
			e.Field, e.Ref = "prefix", &ref
			return e
		}
	}
	return w.apart(ctx, p)
}

// remove: subnets that were cut refer to the pool and are in the way.
func (pools) remove(context.Context, *draft) error { return nil }

func (c *Control) cutFrom(ctx context.Context, pool vnet.ID) ([]*vnet.Subnet, error) {
	l, err := c.store.List(ctx, vnet.Query{Kind: vnet.KindSubnet})
	if err != nil {
		return nil, err
	}
	var out []*vnet.Subnet
	for _, o := range l.Items {
		if s := o.(*vnet.Subnet); s.Pool == pool {
			out = append(out, s)
		}
	}
	return out, nil
}

// findSharedPool finds a pool of another project that may be cut from.
func (c *Control) findSharedPool(ctx context.Context, sel Selector) (vnet.Object, error) {
	l, err := c.store.List(ctx, vnet.Query{Kind: vnet.KindPool, Name: sel.Name})
	if err != nil {
		return nil, err
	}
	for _, o := range l.Items {
		if o.(*vnet.Pool).Shared {
			return o, nil
		}
	}
	return nil, missing(sel)
}

// cut takes the first free piece of the pool that the subnet names; an
// explicit prefix must be a piece of it. Two who cut at once are told apart by
// the pool's revision, which every cut writes.
func (w subnets) cut(ctx context.Context, d *draft, s *vnet.Subnet) error {
	o, err := w.c.find(ctx, d.who, Selector{Kind: vnet.KindPool, Project: string(d.project.ID), Name: string(s.Pool)})
	if err != nil {
		return inField(err, "pool")
	}
	pool := o.(*vnet.Pool)
	s.Pool, s.Source = pool.ID, vnet.SourcePool
	cut, err := w.c.cutFrom(ctx, pool.ID)
	if err != nil {
		return err
	}
	d.change.Put = append(d.change.Put, pool)
	if s.Prefix.IsValid() {
		if !ipam.Contains(pool.Prefix, s.Prefix) {
			return vnet.Invalid("prefix", "%s is not in %s, the prefix of pool %s", s.Prefix, pool.Prefix, pool.Name).WithHint("choose one in it, or leave it out")
		}
		for _, other := range cut {
			if other.Prefix.Overlaps(s.Prefix) {
				ref := vnet.RefOf(other)
				e := vnet.Errorf(vnet.ErrOverlap, "%s overlaps %s, which was cut from pool %s already", s.Prefix, other.Prefix, pool.Name).WithHint("choose another one, or leave it out")
				e.Field, e.Ref = "prefix", &ref
				return e
			}
		}
		return nil
	}
	d.chosen["prefix"] = true
	s.Prefix, err = firstPiece(pool, cut)
	return err
}

// firstPiece walks the pieces that are cut, in order, to the first gap.
func firstPiece(pool *vnet.Pool, cut []*vnet.Subnet) (netip.Prefix, error) {
	slices.SortFunc(cut, func(a, b *vnet.Subnet) int { return a.Prefix.Addr().Compare(b.Prefix.Addr()) })
	n := uint64(0)
	for _, s := range cut {
		piece, err := ipam.NthSubnet(pool.Prefix, pool.SubnetLen, n)
		if err != nil {
			break
		}
		if piece.Addr().Compare(s.Prefix.Addr()) < 0 && !piece.Overlaps(s.Prefix) {
			return piece, nil
		}
		last := ipam.Last(s.Prefix)
		if at, ok := ipam.SubnetIndex(pool.Prefix, netip.PrefixFrom(last, pool.SubnetLen)); ok {
			n = at + 1
		}
	}
	piece, err := ipam.NthSubnet(pool.Prefix, pool.SubnetLen, n)
	if vnet.Is(err, vnet.ErrExhausted) {
		e := vnet.Errorf(vnet.ErrExhausted, "pool %s (%s) has no /%d left", pool.Name, pool.Prefix, pool.SubnetLen)
		e.Field = "pool"
		return netip.Prefix{}, e
	}
	return piece, err
}
