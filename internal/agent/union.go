package agent

import (
	"hash/maphash"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// union is the host's plan in the making: the items of all fragments, and how
// many owners ask for each. An item goes when its last owner does.
//
// Nearly all items have one owner, and there are about thirty per network, so
// who the owners are is looked up in the fragments when somebody asks, and they
// are counted by a hash of the key, which takes a quarter of it. Should two keys
// ever have the same, one that goes stays in the kernel until all is compared.
type union struct {
	fragments map[vnet.Ref]*plan.Fragment
	asked     map[uint64]int32
}

func newUnion() *union {
	return &union{fragments: map[vnet.Ref]*plan.Fragment{}, asked: map[uint64]int32{}}
}

var keySeed = maphash.MakeSeed()

// hashOf is the key's hash.
func hashOf(k plan.Key) uint64 { return maphash.Comparable(keySeed, k) }

// change collects what a pass over some fragments adds up to.
type change struct {
	put map[plan.Key]plan.Item
	del map[plan.Key]plan.Item // the items as they were
}

func newChange() *change {
	return &change{put: map[plan.Key]plan.Item{}, del: map[plan.Key]plan.Item{}}
}

// set replaces the owner's fragment and records in c what the kernel must be
// told.
func (u *union) set(f *plan.Fragment, c *change) {
	var had map[plan.Key]plan.Item
	if old := u.fragments[f.Owner]; old != nil {
		had = byKey(old.Items)
	}
	now := byKey(f.Items)
	for k, i := range had {
		if _, stays := now[k]; !stays {
			u.drop(k, i, c)
		}
	}
	for k, i := range now {
		before, there := had[k]
		if !there {
			u.asked[hashOf(k)]++
		}
		if there && before == i {
			continue
		}
		c.put[k] = i
		delete(c.del, k)
	}
	if len(f.Items) == 0 && f.Service == nil && f.Guest == nil && len(f.Problems)+len(f.Proxied) == 0 {
		delete(u.fragments, f.Owner)
		return
	}
	u.fragments[f.Owner] = f
}

func byKey(items []plan.Item) map[plan.Key]plan.Item {
	out := make(map[plan.Key]plan.Item, len(items))
	for _, i := range items {
		out[i.Key()] = i
	}
	return out
}

func (u *union) drop(k plan.Key, i plan.Item, c *change) {
	h := hashOf(k)
	if u.asked[h]--; u.asked[h] > 0 {
		return
	}
	delete(u.asked, h)
	delete(c.put, k)
	c.del[k] = i
}

// items is the whole plan, what several owners ask for once.
func (u *union) items() []plan.Item {
	out := make([]plan.Item, 0, len(u.asked))
	shared := map[plan.Key]bool{}
	for _, f := range u.fragments {
		for _, i := range f.Items {
			k := i.Key()
			if u.asked[hashOf(k)] > 1 {
				if shared[k] {
					continue
				}
				shared[k] = true
			}
			out = append(out, i)
		}
	}
	return out
}

// ownersOf lists who asks for each of some items.
func (u *union) ownersOf(keys map[plan.Key]bool) map[plan.Key][]vnet.Ref {
	if len(keys) == 0 {
		return nil
	}
	out := make(map[plan.Key][]vnet.Ref, len(keys))
	for r, f := range u.fragments {
		for _, i := range f.Items {
			if k := i.Key(); keys[k] {
				out[k] = append(out[k], r)
			}
		}
	}
	return out
}
