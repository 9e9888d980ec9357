// Package nft puts the filter items of a plan into the kernel: the chains of
// a namespace and the elements of their sets and maps, in the tables `inet
// sextant` and `bridge sextant`, and nothing outside of them.
//
// Everything of one namespace goes through `nft -f -` in one transaction, so
// that state tables and verdict tables switch together and no packet meets
// half a change. Changed chains replace the tables whole, elements included;
// changed elements only are deleted and added.
//
// Two empty chains mark the tables: design-HASH, the text they were made
// from, and seen-HASH, how the kernel listed them afterwards. A later run
// compares both, and so finds its own tables again, and what somebody has
// changed in them, without remembering anything.
package nft

import (
	"context"
	"sort"
	"unique"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Tables is our nft tables on one host, as a target of a reconciler. It is for
// one goroutine at a time.
type Tables struct {
	spaces *netns.Set
	known  map[string]*tables // by namespace; absent: to be read
}

// New returns the tables of the host that spaces stands on.
func New(spaces *netns.Set) *Tables {
	return &Tables{spaces: spaces, known: map[string]*tables{}}
}

// Has reports whether the item is one that this package applies.
func Has(i plan.Item) bool {
	switch i.(type) {
	case plan.Chains, plan.Element:
		return true
	}
	return false
}

// tables is what is known to be in one namespace's tables.
type tables struct {
	families []string // those that have a table of ours
	design   string   // hash of the text they were made from; "" none, or changed by others
	text     string   // that text, "" if another run made them
	elements map[id]element
}

// id identifies an element by its canonical key. There are some twenty of each
// network, so that what many have in common is kept once.
type id struct {
	set unique.Handle[set]
	key string
}

// set is one set or map.
type set struct{ family, name string }

func newID(family, name, key string) id { return id{unique.Make(set{family, name}), key} }

// element is how an element is written.
type element struct{ elem, value string }

func elementOf(e plan.Element) element { return element{writtenKey(e.Elem), e.Value} }

// Apply removes del and makes put in one transaction per namespace, and
// returns what failed, by key.
func (t *Tables) Apply(ctx context.Context, put, del []plan.Item) map[plan.Key]error {
	failed := map[plan.Key]error{}
	changes := map[string]*change{}
	at := func(ns string) *change {
		c := changes[ns]
		if c == nil {
			c = &change{ns: ns, put: map[id]plan.Element{}, del: map[id]plan.Element{}, failed: failed}
			changes[ns] = c
		}
		return c
	}
	for _, i := range del {
		switch i := i.(type) {
		case plan.Chains:
			at(i.NS).drop = &i
		case plan.Element:
			at(i.NS).del[idOf(i)] = i
		default:
			failed[i.Key()] = vnet.Errorf(vnet.ErrInternal, "kernel/nft cannot remove a %T", i)
		}
	}
	for _, i := range put {
		switch i := i.(type) {
		case plan.Chains:
			at(i.NS).chains = &i
		case plan.Element:
			c := at(i.NS)
			c.put[idOf(i)] = i
			delete(c.del, idOf(i)) // the same one, written otherwise
		default:
			failed[i.Key()] = vnet.Errorf(vnet.ErrInternal, "kernel/nft cannot make a %T", i)
		}
	}
	spaces := make([]string, 0, len(changes))
	for ns := range changes {
		spaces = append(spaces, ns)
	}
	sort.Strings(spaces)
	for _, ns := range spaces {
		if err := t.apply(ctx, changes[ns]); err != nil {
			changes[ns].fail(err)
		}
	}
	return failed
}

// Actual reads our tables in every namespace that want names and in the
// host's, and reports what is there: of want, the item itself where it holds.
func (t *Tables) Actual(ctx context.Context, want map[plan.Key]plan.Item) (map[plan.Key]plan.Item, error) {
	byNS := map[string]*wanted{"": newWanted()}
	for _, i := range want {
		ns := i.Key().NS
		if !Has(i) {
			continue
		}
		if byNS[ns] == nil {
			byNS[ns] = newWanted()
		}
		byNS[ns].add(i)
	}
	for ns := range t.known {
		if byNS[ns] == nil {
			byNS[ns] = newWanted()
		}
	}
	got := map[plan.Key]plan.Item{}
	for ns, w := range byNS {
		delete(t.known, ns)
		now, err := t.read(ctx, ns)
		if vnet.Is(err, vnet.ErrNotFound) {
			continue // gone with its namespace
		}
		if err != nil {
			return nil, err
		}
		w.report(ns, now, got)
		t.known[ns] = now
	}
	return got, nil
}

// wanted is what is wanted of one namespace.
type wanted struct {
	chains   *plan.Chains
	elements map[id]plan.Element
}

func newWanted() *wanted { return &wanted{elements: map[id]plan.Element{}} }

func (w *wanted) add(i plan.Item) {
	switch i := i.(type) {
	case plan.Chains:
		w.chains = &i
	case plan.Element:
		w.elements[idOf(i)] = i
	}
}

// report says what of the wanted is there, and what else.
func (w *wanted) report(ns string, now *tables, got map[plan.Key]plan.Item) {
	if len(now.families) > 0 {
		c := plan.Chains{NS: ns}
		if w.chains != nil && now.design == hash(w.chains.Text) {
			c = *w.chains
			now.text = c.Text
		}
		got[c.Key()] = c
	}
	var sets map[string]bool
	if w.chains != nil {
		sets = setsOf(w.chains.Text)
	}
	for k, have := range now.elements {
		in := k.set.Value()
		if fill, known := sets[in.name]; known && !fill {
			continue // part of the chains
		}
		e, ok := w.elements[k]
		if !ok && w.chains == nil {
			continue // goes with the tables
		}
		if !ok {
			e = plan.Element{NS: ns, Family: in.family, Set: in.name, Elem: have.elem, Value: have.value}
		} else if canonicalValue(e.Value) != canonicalValue(have.value) {
			e.Value = have.value
		}
		got[e.Key()] = e
	}
}
