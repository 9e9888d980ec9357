package agent

import (
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// union is the host's plan in the making: the items of all fragments, each
// with the owners that ask for it. An item goes when its last owner does.
type union struct {
	fragments map[vnet.Ref]*plan.Fragment
	owners    map[plan.Key]map[vnet.Ref]plan.Item
}

func newUnion() *union {
	return &union{fragments: map[vnet.Ref]*plan.Fragment{}, owners: map[plan.Key]map[vnet.Ref]plan.Item{}}
}

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
	old := u.fragments[f.Owner]
	now := map[plan.Key]plan.Item{}
	for _, i := range f.Items {
		now[i.Key()] = i
	}
	if old != nil {
		for _, i := range old.Items {
			if _, stays := now[i.Key()]; !stays {
				u.drop(f.Owner, i, c)
			}
		}
	}
	for k, i := range now {
		if u.owners[k] == nil {
			u.owners[k] = map[vnet.Ref]plan.Item{}
		}
		if u.owners[k][f.Owner] == i {
			continue
		}
		u.owners[k][f.Owner] = i
		c.put[k] = i
		delete(c.del, k)
	}
	if len(f.Items) == 0 && f.Service == nil && f.Guest == nil && len(f.Problems) == 0 {
		delete(u.fragments, f.Owner)
		return
	}
	u.fragments[f.Owner] = f
}

func (u *union) drop(owner vnet.Ref, i plan.Item, c *change) {
	k := i.Key()
	delete(u.owners[k], owner)
	if len(u.owners[k]) > 0 {
		return
	}
	delete(u.owners, k)
	delete(c.put, k)
	c.del[k] = i
}

// items is the whole plan.
func (u *union) items() map[plan.Key]plan.Item {
	out := make(map[plan.Key]plan.Item, len(u.owners))
	for k, owners := range u.owners {
		for _, i := range owners {
			out[k] = i
			break
		}
	}
	return out
}

// ownersOf lists who asks for an item.
func (u *union) ownersOf(k plan.Key) []vnet.Ref {
	out := make([]vnet.Ref, 0, len(u.owners[k]))
	for r := range u.owners[k] {
		out = append(out, r)
	}
	return out
}
