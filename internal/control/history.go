package control

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// HistoryQuery asks who had which address when.
type HistoryQuery struct {
	// Project and Network are names or IDs; "" is the default project and all
	// its networks.
	Project, Network string
	// Of narrows: a port's name or ID, a MAC, or an address; "" is everybody.
	Of string
	// After is the Next of the page before.
	After string
}

// HistoryEntry is a stay of a guest at an address; without Until it lasts.
type HistoryEntry struct {
	Network vnet.ID
	Port    vnet.ID // "" for a guest without one
	Project vnet.ID
	DUID    string
	vnet.Stay
}

// HistoryPage is a part of the answer to a HistoryQuery, in no order.
type HistoryPage struct {
	Items []HistoryEntry
	Next  string // "" on the last page
}

// historyPage is how many guests' histories, or leases, one page looks at.
const historyPage = 200

// History answers from what is remembered of past stays and from the leases of
// the moment: page by page, network by network, first the past, then the
// present.
func (c *Control) History(ctx context.Context, who Identity, q HistoryQuery) (*HistoryPage, error) {
	const op = "lease history"
	nets, err := c.meant(ctx, who, q.Project, q.Network)
	if err != nil {
		return nil, inOp(err, op)
	}
	f, err := c.historyFilter(ctx, who, q)
	if err != nil {
		return nil, inOp(err, op)
	}
	at, now, after, err := parseCursor(q.After)
	if err != nil {
		return nil, inOp(err, op)
	}
	out := &HistoryPage{}
	looked := 0
	for _, n := range nets { // in the order of their IDs
		switch {
		case n.ID < at, f.port != nil && f.port.Network != n.ID:
			continue
		case n.ID > at:
			now, after = false, ""
		}
		for ; ; now = true {
			kind := vnet.KindHistory
			if now {
				kind = vnet.KindLease
			}
			for {
				l, err := c.store.List(ctx, vnet.Query{Kind: kind, Network: n.ID, Limit: historyPage, After: after})
				if err != nil {
					return nil, inOp(err, op)
				}
				for _, o := range l.Items {
					out.Items = append(out.Items, f.entries(o)...)
				}
				looked, after = looked+len(l.Items), l.Next
				if after != "" && looked >= historyPage {
					out.Next = cursor(n.ID, now, after)
					return out, nil
				}
				if after == "" {
					break
				}
			}
			if now {
				break
			}
		}
		if looked >= historyPage && n != nets[len(nets)-1] {
			out.Next = cursor(n.ID+"~", false, "") // after this network
			return out, nil
		}
	}
	return out, nil
}

// cursor says where a page ended: in which network, in the past or the present,
// after what.
func cursor(n vnet.ID, now bool, after string) string {
	word := "past"
	if now {
		word = "now"
	}
	return strings.Join([]string{string(n), word, after}, ",")
}

func parseCursor(s string) (n vnet.ID, now bool, after string, err error) {
	if s == "" {
		return "", false, "", nil
	}
	p := strings.SplitN(s, ",", 3)
	if len(p) != 3 || p[1] != "past" && p[1] != "now" {
		return "", false, "", vnet.Invalid("after", "%q is no place to go on from", s)
	}
	return vnet.ID(p[0]), p[1] == "now", p[2], nil
}

// historyFilter is whom a question is about.
type historyFilter struct {
	port *vnet.Port
	mac  vnet.MAC
	addr netip.Addr
	all  bool
}

// historyFilter reads what the question is about: an address and a MAC say so
// by their form, the rest are ports.
func (c *Control) historyFilter(ctx context.Context, who Identity, q HistoryQuery) (*historyFilter, error) {
	if q.Of == "" {
		return &historyFilter{all: true}, nil
	}
	if a, err := netip.ParseAddr(q.Of); err == nil {
		return &historyFilter{addr: a.WithZone("").Unmap()}, nil
	}
	if m, err := vnet.ParseMAC(q.Of); err == nil {
		return &historyFilter{mac: m}, nil
	}
	o, err := c.find(ctx, who, Selector{Kind: vnet.KindPort, Project: q.Project, Network: q.Network, Name: q.Of})
	if err != nil {
		return nil, err
	}
	return &historyFilter{port: o.(*vnet.Port)}, nil
}

func (f *historyFilter) entries(o vnet.Object) []HistoryEntry {
	var out []HistoryEntry
	switch o := o.(type) {
	case *vnet.LeaseHistory:
		for _, s := range o.Stays {
			if e := (HistoryEntry{o.Network, o.Port, o.Project, o.DUID, s}); f.matches(&e) {
				out = append(out, e)
			}
		}
	case *vnet.Lease:
		if e := (HistoryEntry{o.Network, o.Port, o.Project, o.DUID, vnet.StayOf(o, time.Time{})}); !o.Declined && f.matches(&e) {
			out = append(out, e)
		}
	}
	return out
}

func (f *historyFilter) matches(e *HistoryEntry) bool {
	switch {
	case f.all:
		return true
	case f.addr.IsValid() && e.Length > 0:
		return netip.PrefixFrom(e.Address, e.Length).Contains(f.addr)
	case f.addr.IsValid():
		return e.Address == f.addr
	case !f.mac.IsZero():
		return e.MAC == f.mac
	}
	return e.Port == f.port.ID
}
