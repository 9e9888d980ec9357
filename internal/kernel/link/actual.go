package link

import (
	"context"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Actual reports what is in the kernel: of want, the item itself where
// everything about it holds and otherwise what is there instead; and whatever
// else carries our mark. What the kernel does not keep, such as the owner of
// an address, is taken from want. Things that are not ours and not in want are
// passed over.
func (l *Links) Actual(ctx context.Context, want map[plan.Key]plan.Item) (map[plan.Key]plan.Item, error) {
	a := &actual{l: l, want: want, got: map[plan.Key]plan.Item{}}
	spaces := map[string][]plan.Item{"": nil}
	for k, i := range want {
		if Has(i) {
			spaces[k.NS] = append(spaces[k.NS], i)
		}
	}
	for _, name := range l.record.netns() {
		if l.spaces.Exists(name) {
			a.netns(name)
			spaces[name] = append(spaces[name], nil...)
		}
	}
	for k := range want {
		if k.Kind == "netns" && l.spaces.Exists(k.Name) {
			a.netns(k.Name)
		}
	}
	for ns, items := range spaces {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := a.space(ns, items); err != nil && !gone(err) {
			return nil, err
		}
	}
	for _, o := range l.record.sysctls() {
		i := plan.Sysctl{NS: o.NS, Path: o.Path, Value: o.Set}
		if want[i.Key()] == nil {
			a.got[i.Key()] = i
		}
	}
	return a.got, nil
}

// actual collects what is there.
type actual struct {
	l    *Links
	want map[plan.Key]plan.Item
	got  map[plan.Key]plan.Item
}

func (a *actual) put(i plan.Item) { a.got[i.Key()] = i }

func (a *actual) netns(name string) {
	i := plan.Netns{Name: name}
	if w, ok := a.want[i.Key()].(plan.Netns); ok {
		i = w
	}
	a.put(i)
}

// space reads one namespace.
func (a *actual) space(ns string, want []plan.Item) error {
	c, err := a.l.spaces.Conn(ns)
	if err != nil {
		return err
	}
	defer a.l.spaces.Release(ns, c)
	devs, err := devices(c)
	if err != nil {
		return kernelError("list links", err)
	}
	byName, byIndex := map[string]device{}, map[int]device{}
	for _, d := range devs {
		byName[d.name], byIndex[d.index] = d, d
	}
	for _, d := range devs {
		if d.ours() {
			a.link(c, ns, d)
			a.member(ns, d, byIndex)
		}
	}
	for _, i := range want {
		switch i := i.(type) {
		case plan.Member:
			if d, ok := byName[i.Link]; ok && !d.ours() {
				a.member(ns, d, byIndex)
			}
		case plan.Forgotten:
			if a.l.forgotten[i] {
				a.put(i)
			}
		case plan.Up:
			if d, ok := byName[i.Link]; ok && d.up {
				a.put(i)
			}
		}
	}
	if err := a.addresses(c, ns, byIndex); err != nil {
		return kernelError("list addresses", err)
	}
	if err := a.routes(c, ns, byIndex); err != nil {
		return kernelError("list routes", err)
	}
	if err := a.rules(c, ns); err != nil {
		return kernelError("list routing rules", err)
	}
	if err := a.proxies(c, ns, byIndex); err != nil {
		return kernelError("list proxy neighbours", err)
	}
	return a.sysctls(ns, want)
}

// link reports a link of ours.
func (a *actual) link(c *netns.Conn, ns string, d device) {
	w := a.want[plan.Key{NS: ns, Kind: "link", Name: d.name}]
	switch d.kind {
	case kindBridge:
		b, _ := w.(plan.Bridge)
		a.put(asBridge(d, b))
	case kindTun:
		t, _ := w.(plan.Tap)
		a.put(asTap(d, t))
	case kindVeth:
		if d.owner().Kind == farKind {
			return // its near end speaks for it
		}
		v, _ := w.(plan.Veth)
		a.put(a.l.asVeth(c, ns, d, v))
	}
}

// member reports where a link is a member.
func (a *actual) member(ns string, d device, byIndex map[int]device) {
	if d.master == 0 || ns != "" {
		return
	}
	got := plan.Member{Link: d.name, Bridge: byIndex[d.master].name, Isolated: d.isolated}
	if w, ok := a.want[got.Key()].(plan.Member); ok {
		if !d.up {
			return // in the bridge, but not up: to be made again
		}
		got.Owner = w.Owner
	}
	a.put(got)
}

func (a *actual) addresses(c *netns.Conn, ns string, byIndex map[int]device) error {
	all, err := addresses(c, 0)
	if err != nil {
		return err
	}
	own := strings.HasPrefix(ns, plan.NetnsPrefix)
	for _, addr := range all {
		d := byIndex[addr.index]
		got := plan.Address{NS: ns, Link: d.name, Prefix: addr.prefix}
		if w, ok := a.want[got.Key()].(plan.Address); ok {
			if addr.flags&(unix.IFA_F_DADFAILED) == 0 {
				a.put(w)
			}
			continue
		}
		if (own || d.ours()) && a.l.ours(addr) {
			a.put(got)
		}
	}
	return nil
}

func (a *actual) routes(c *netns.Conn, ns string, byIndex map[int]device) error {
	all, err := routes(c)
	if err != nil {
		return err
	}
	for _, r := range all {
		got := plan.HostRoute{NS: ns, Prefix: r.prefix, Via: r.via, Unreachable: r.unreachable, Table: r.table, Metric: r.metric, Link: byIndex[r.link].name}
		if w, ok := a.want[got.Key()].(plan.HostRoute); ok {
			got.Owner = w.Owner
			if w.Link == "" {
				got.Link = "" // the kernel found the link by the gateway
			}
		}
		a.put(got)
	}
	return nil
}

// sysctls reads the wanted settings of one namespace.
func (a *actual) sysctls(ns string, want []plan.Item) error {
	var items []plan.Sysctl
	for _, i := range want {
		if s, ok := i.(plan.Sysctl); ok {
			items = append(items, s)
		}
	}
	if len(items) == 0 {
		return nil
	}
	err := a.l.spaces.Do(ns, func() error {
		for _, i := range items {
			now, err := readSysctl(i.Path)
			if err != nil {
				continue // not there: Apply says so
			}
			got := i
			if !holds(i, now) {
				got.Value = now
			}
			a.put(got)
		}
		return nil
	})
	if vnet.Is(err, vnet.ErrNotFound) {
		return nil
	}
	return err
}
