// Package link puts the items of a plan that are no firewall into the kernel:
// namespaces, bridges, veth pairs, taps, bridge membership, addresses, routes
// and sysctls. It reports what of them is there, so that a reconciler can tell
// what is missing, what differs and what is left over.
//
// Everything made here carries our mark (plan.AliasPrefix in a link's alias,
// plan.RouteProtocol on routes and, where the kernel knows it, on addresses).
// A link gets its alias in a second request; until then Group marks it, so
// that a kill between the two leaves nothing unrecognised.
//
// Applying an item that holds already sends nothing to the kernel but
// questions.
package link

import (
	"context"
	"sort"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Group is the device group of the links we make (`ip link show group 83`).
const Group = 83

// Links is the kernel's links of one host, as a target of a reconciler. It is
// for one goroutine at a time.
type Links struct {
	spaces *netns.Set
	record *record
	// addressProto: the kernel keeps who added an address (IFA_PROTO, Linux
	// 5.18). Without it every permanent address on a link of ours is ours.
	addressProto bool
	forgotten    map[plan.Forgotten]bool // done by this process
}

// New returns the links of the host that spaces stands on. stateDir is where
// the original values of sysctls are kept; it must exist.
func New(spaces *netns.Set, stateDir string) (*Links, error) {
	rec, err := openRecord(stateDir)
	if err != nil {
		return nil, err
	}
	return &Links{spaces: spaces, record: rec, addressProto: kernelAtLeast(5, 18), forgotten: map[plan.Forgotten]bool{}}, nil
}

// Has reports whether the item is one that this package applies.
func Has(i plan.Item) bool {
	switch i.(type) {
	case plan.Chains, plan.Element:
		return false
	}
	return true
}

// Needs returns the keys of the links that the item stands on: where one of
// them is made anew, the item is gone.
func Needs(i plan.Item) []plan.Key {
	on := func(ns, name string) plan.Key { return plan.Key{NS: ns, Kind: "link", Name: name} }
	switch i := i.(type) {
	case plan.Member:
		return []plan.Key{on("", i.Link), on("", i.Bridge)}
	case plan.Up:
		return []plan.Key{on(i.NS, i.Link)}
	case plan.Address:
		return []plan.Key{on(i.NS, i.Link)}
	case plan.ProxyNeighbour:
		return []plan.Key{on(i.NS, i.Link)}
	case plan.HostRoute:
		if i.Link != "" {
			return []plan.Key{on(i.NS, i.Link)}
		}
	case plan.Sysctl:
		if name := linkName(i.Path); name != "" {
			return []plan.Key{on(i.NS, name)}
		}
	}
	return nil
}

// Gives returns the keys of the links that come with the item besides its own:
// the far end of a pair.
func Gives(i plan.Item) []plan.Key {
	if v, ok := i.(plan.Veth); ok {
		return []plan.Key{{NS: v.PeerNS, Kind: "link", Name: v.Peer}}
	}
	return nil
}

// Apply removes del, in that order, then makes put, in that order, and returns
// what failed, by key. One item's failure does not stop the others. A changed
// item is only in put: what cannot be changed in place is made anew.
func (l *Links) Apply(ctx context.Context, put, del []plan.Item) map[plan.Key]error {
	failed := map[plan.Key]error{}
	fail := func(k plan.Key, err error) {
		if err != nil {
			failed[k] = err
		}
	}
	del, links := splitLinks(del)
	sysctls := restoreOrder(del)
	for _, i := range del {
		if ctx.Err() != nil {
			fail(i.Key(), ctx.Err())
			continue
		}
		switch i := i.(type) {
		case plan.Member:
			fail(i.Key(), l.leave(i))
		case plan.Up:
			fail(i.Key(), l.setDown(i))
		case plan.Address:
			fail(i.Key(), l.deleteAddress(i))
		case plan.HostRoute:
			fail(i.Key(), l.deleteRoute(i))
		case plan.Rule:
			fail(i.Key(), l.deleteRule(i))
		case plan.ProxyNeighbour:
			fail(i.Key(), l.deleteProxy(i))
		case plan.Forgotten:
			delete(l.forgotten, i)
		}
	}
	l.restoreSysctls(sysctls, fail)
	l.deleteLinks(links, fail)
	for _, i := range del {
		if n, ok := i.(plan.Netns); ok {
			fail(n.Key(), l.deleteNetns(n))
		}
	}
	l.make(ctx, put, fail)
	return failed
}

// make makes the items that are to be there.
func (l *Links) make(ctx context.Context, put []plan.Item, fail func(plan.Key, error)) {
	var sysctls []plan.Sysctl
	for _, i := range put {
		if ctx.Err() != nil {
			fail(i.Key(), ctx.Err())
			continue
		}
		switch i := i.(type) {
		case plan.Netns:
			fail(i.Key(), l.makeNetns(i))
		case plan.Bridge:
			fail(i.Key(), l.makeBridge(i))
		case plan.Veth:
			fail(i.Key(), l.makeVeth(i))
		case plan.Tap:
			fail(i.Key(), l.makeTap(i))
		case plan.Member:
			fail(i.Key(), l.join(i))
		case plan.Up:
			fail(i.Key(), l.setUp(i))
		case plan.Address:
			fail(i.Key(), l.makeAddress(i))
		case plan.HostRoute:
			fail(i.Key(), l.makeRoute(i))
		case plan.Rule:
			fail(i.Key(), l.makeRule(i))
		case plan.ProxyNeighbour:
			fail(i.Key(), l.makeProxy(i))
		case plan.Forgotten:
			fail(i.Key(), l.forget(i))
		case plan.Sysctl:
			sysctls = append(sysctls, i)
		default:
			fail(i.Key(), vnet.Errorf(vnet.ErrInternal, "kernel/link cannot make a %T", i))
		}
	}
	l.writeSysctls(sysctls, fail)
}

// splitLinks takes the links out of the items to remove: they go together,
// since the kernel waits for each removal apart.
func splitLinks(items []plan.Item) (rest, links []plan.Item) {
	for _, i := range items {
		switch i.(type) {
		case plan.Bridge, plan.Veth, plan.Tap:
			links = append(links, i)
		default:
			rest = append(rest, i)
		}
	}
	return rest, links
}

// restoreOrder picks the sysctls out and turns them so that what was set last
// is restored first.
func restoreOrder(items []plan.Item) []plan.Sysctl {
	var out []plan.Sysctl
	for _, i := range items {
		if s, ok := i.(plan.Sysctl); ok {
			out = append(out, s)
		}
	}
	sort.SliceStable(out, func(a, b int) bool { return rank(out[a].Path) > rank(out[b].Path) })
	return out
}
