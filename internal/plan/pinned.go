package plan

import (
	"fmt"
	"net/netip"

	"github.com/sextant-net/sextant/internal/vnet"
)

// PinTable is the routing table with the default routes of pinned uplinks, of
// both families. Guests' packets are looked up there only when the main table
// has nothing for them but a default route; the host's own never are.
const PinTable = 8383

// Priorities of the rules that lead there: after the local table, before the
// main one, and among themselves in this order.
const (
	pinNear = 8300 // the main table without its default routes
	pinAway = 8301 // PinTable
)

// Hop is where packets leave to.
type Hop struct {
	Link string
	Via  netip.Addr // not valid: the link has no next hop
}

// DefaultRoute is one of the host's default routes.
type DefaultRoute struct {
	Hop
	Family vnet.Family
	Metric int
}

// Rule is a routing rule of ours: packets that come in by a link are looked up
// in a table.
type Rule struct {
	NS       string
	Family   vnet.Family
	Priority int
	In       string // the link
	Table    int
	// NoDefault passes over the table's default routes.
	NoDefault bool
	Owner     vnet.Ref
}

// Bare is the rule as the kernel knows it.
func (i Rule) Bare() Rule {
	i.Owner = vnet.Ref{}
	return i
}

func (i Rule) Key() Key {
	return Key{i.NS, "rule", fmt.Sprintf("%s %d %s", i.Family, i.Priority, i.In)}
}

func (Rule) Stage() Stage { return StageRoute }

func (i Rule) Commands() []string {
	table := "main"
	if i.Table != mainTable {
		table = fmt.Sprint(i.Table)
	}
	s := fmt.Sprintf("ip -%d rule add pref %d iif %s lookup %s", int(i.Family), i.Priority, i.In, table)
	if i.NoDefault {
		s += " suppress_prefixlength 0"
	}
	return []string{in(i.NS, fmt.Sprintf("%s protocol %d", s, RouteProtocol))}
}

// mainTable is RT_TABLE_MAIN.
const mainTable = 254

// pinned is the hop by which guests leave in a family whatever the metrics say;
// false: none is.
func (f *Facts) pinned(fam vnet.Family) (Hop, bool) {
	h := f.Pinned4
	if fam == vnet.IPv6 {
		h = f.Pinned6
	}
	return h, h.Link != "" && (fam == vnet.IPv4 || f.Has(vnet.FeatureIPv6))
}

// pinRules lead what comes in by a link, and is for none of the networks that
// the host knows, to the pinned uplink.
func pinRules(f *Facts, fam vnet.Family, link string, owner vnet.Ref) []Item {
	if _, is := f.pinned(fam); !is {
		return nil
	}
	return []Item{
		Rule{Family: fam, Priority: pinNear, In: link, Table: mainTable, NoDefault: true, Owner: owner},
		Rule{Family: fam, Priority: pinAway, In: link, Table: PinTable, Owner: owner},
	}
}

// planPinned leads the network's guests to the pinned uplinks, where its gateway
// is in the host's namespace.
func (p *networkPlan) planPinned() {
	for _, fam := range vnet.Families {
		if p.ns == "" && leaves(p.mode[fam]) {
			p.add(pinRules(p.f, fam, p.link, p.out.Owner)...)
		}
	}
}

// pinRoutes are the default routes of the pinned uplinks. Answers that come by
// another link than the host's own packets would leave by must not be dropped
// for that (RFC 3704 section 2.3: loose reverse path forwarding).
func pinRoutes(s *Snapshot, f *Facts, v4, v6 bool) []Item {
	var out []Item
	for _, fam := range vnet.Families {
		h, is := f.pinned(fam)
		if !is || fam == vnet.IPv4 && !v4 || fam == vnet.IPv6 && !v6 {
			continue
		}
		out = append(out, HostRoute{Prefix: defaultRoute(fam), Via: h.Via, Link: h.Link, Table: PinTable, Owner: HostOwner(s.Host)})
		if fam == vnet.IPv4 {
			out = append(out, Sysctl{Path: "net/ipv4/conf/" + h.Link + "/rp_filter", Value: "2", If: "1"})
		}
	}
	return out
}
