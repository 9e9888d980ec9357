package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

const (
	// wantSwitch is how long after the kernel's route guests' packets are to
	// leave by another uplink.
	wantSwitch = time.Second
	// switchLimit bounds each switch, calm is how long nothing happens before
	// the next one: longer than the three seconds that routers keep between two
	// advertisements to all (RFC 4861 section 10).
	switchLimit = 20 * time.Second
	calm        = 4 * time.Second
)

// uplinkSwitch is one way in which the uplink in use changes.
type uplinkSwitch struct {
	name   string
	do     func(ctx context.Context, p *provided) error
	link   int  // whose default routes say so
	gone   bool // by being gone
	leaves int  // the uplink by which guests leave then
}

// switches are in the order of a round, each from where the one before led.
var switches = []uplinkSwitch{
	{name: "the other uplink gets the better metric", link: 1, leaves: 1, do: func(ctx context.Context, p *provided) error {
		_, err := p.host.Sh(ctx, fmt.Sprintf("ip -6 route add default via %s dev %s metric 512; ip route add default via %s dev %s metric 50",
			p.at[1].router, p.at[1].link, p.at[1].gateway, p.at[1].link))
		return err
	}},
	{name: "it loses it", link: 1, gone: true, do: func(ctx context.Context, p *provided) error {
		_, err := p.host.Sh(ctx, fmt.Sprintf("ip -6 route delete default dev %s metric 512; ip route delete default dev %s metric 50", p.at[1].link, p.at[1].link))
		return err
	}},
	// As whoever manages the link does when the carrier is gone.
	{name: "the first one is unplugged", gone: true, leaves: 1, do: func(ctx context.Context, p *provided) error {
		if err := p.at[0].Carrier(ctx, accessPort, false); err != nil {
			return err
		}
		_, err := p.host.Sh(ctx, fmt.Sprintf("ip -6 route flush default dev %s; ip route delete default dev %s", p.at[0].link, p.at[0].link))
		return err
	}},
	// IPv6 has its route when the router advertises itself again.
	{name: "it is plugged in again", do: func(ctx context.Context, p *provided) error {
		if err := p.at[0].Carrier(ctx, accessPort, true); err != nil {
			return err
		}
		_, err := p.host.Sh(ctx, fmt.Sprintf("ip route add default via %s dev %s metric %d", p.at[0].gateway, p.at[0].link, p.at[0].metric))
		return err
	}},
}

// path is how a guest's packets of one family get out.
type path struct {
	name   string
	guest  uint64
	family int
	own    bool // from an address of what the new uplink's provider delegated
}

// The guests are one on a network of mode auto, which has a delegated prefix,
// and one on a network whose IPv6 is masqueraded.
var paths = []path{
	{"IPv4", 0, 0, false},
	{"IPv6, delegated", 0, 1, false},
	{"IPv6, delegated, from an address of the new prefix", 0, 1, true},
	{"IPv6, nat66", 1, 1, false},
}

// guestNetworks are the networks of those guests.
var guestNetworks = []struct {
	name string
	mode vnet.Egress
}{{"auto", vnet.EgressAuto}, {"masq", vnet.EgressNAT66}}

// switchFigures are seconds from the kernel's route, by switch and path.
type switchFigures map[string]map[string]*switched

type switched struct{ out, answered figures }

func (f switchFigures) of(change, path string) *switched {
	if f[change] == nil {
		f[change] = map[string]*switched{}
	}
	if f[change][path] == nil {
		f[change][path] = &switched{}
	}
	return f[change][path]
}

// runUplink measures how soon guests' packets leave by another uplink.
func runUplink(ctx context.Context, b *bench) (section, error) {
	f := switchFigures{}
	for round := range b.rounds {
		if err := b.measureSwitches(ctx, f); err != nil {
			return section{}, err
		}
		for _, s := range switches {
			for _, p := range paths {
				x := f.of(s.name, p.name)
				say("round %d: %s, %s: out %.3f s, answered %.3f s", round+1, s.name, p.name, x.out[round], x.answered[round])
			}
		}
	}
	return uplinkSection(f), nil
}

func uplinkSection(f switchFigures) section {
	s := section{
		title: "Another uplink",
		how: fmt.Sprintf("A host has two providers, each with radvd, and Kea that delegates a /56. Two guests ask the internet for an echo"+
			" in both families every %v, each time as a new connection; the route in use changes. The clock runs from the kernel's"+
			" message (rtnetlink) that the default route is there or gone until the first question is seen on the cable to the other"+
			" provider that is answered; providers drop what comes from a prefix of somebody else. With a delegated prefix the first"+
			" packets come from the guest's unique local address, masqueraded: the guest's kernel tries each new address for one to two"+
			" seconds before it uses it (RFC 4862 section 5.4). All networks have that address beside the delegated one. Before each switch nothing happens for %v, but"+
			" multicast advertisements of the one before are still on their way.", echoEvery, calm),
	}
	t := table{head: []string{"", "", "first packet out, s", "first answer, s"}}
	for _, family := range paths {
		var all figures
		for _, change := range switches {
			x := f.of(change.name, family.name)
			all = append(all, x.out...)
			t.rows = append(t.rows, []string{change.name, family.name, x.out.String(), x.answered.String()})
		}
		if !family.own {
			s.targets = append(s.targets, fmt.Sprintf("%s: first packet out within %v of the kernel's route, each time: %s s, %s",
				family.name, wantSwitch, all, verdict(all.most() <= wantSwitch.Seconds())))
		}
	}
	s.tables = []table{t}
	return s
}

// measureSwitches does all switches once, on a host of its own.
func (b *bench) measureSwitches(ctx context.Context, f switchFigures) (err error) {
	if err := settle(ctx); err != nil {
		return err
	}
	p, err := b.provide(ctx, len(providers))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	q, r := &asking{}, (*routes)(nil)
	q.forget()
	if r, err = hearRoutes(p.host.Netns); err != nil {
		return err
	}
	stop, failed := make(chan struct{}), make(chan error, 8)
	defer close(stop)
	go func() { failed <- r.follow(stop) }()
	if err := p.watchAll(q, stop, failed); err != nil {
		return err
	}
	if err := p.populate(ctx, q, stop); err != nil {
		return err
	}
	for _, s := range switches {
		if err := p.measureSwitch(ctx, s, q, r, f); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		select {
		case err := <-failed:
			return err
		default:
		}
	}
	return nil
}

// watchAll watches both families where both providers' routers are.
func (p *provided) watchAll(q *asking, stop <-chan struct{}, failed chan<- error) error {
	for i, a := range p.at {
		for family, etherType := range []uint16{typeIPv4, typeIPv6} {
			w, err := openWire(a.Netns, accessLink, etherType)
			if err != nil {
				return err
			}
			go func() { failed <- q.watch(w, i, family, stop) }()
		}
	}
	return nil
}

// populate makes networks and guests, and waits until all paths lead out by the
// first uplink.
func (p *provided) populate(ctx context.Context, q *asking, stop <-chan struct{}) error {
	for i, n := range guestNetworks {
		if err := p.define(ctx, n.mode, n.name); err != nil {
			return err
		}
		guest, err := p.guest(ctx, "guest-"+n.name, "br-"+n.name)
		if err != nil {
			return err
		}
		if err := q.asks(guest, uint64(i), stop); err != nil {
			return err
		}
	}
	begun := time.Now()
	return p.leaving(ctx, q, 0, func(path) time.Time { return begun }, nil)
}

// leaving waits until all paths lead out by an uplink, since when is said of
// each, and tells when they did.
func (p *provided) leaving(ctx context.Context, q *asking, uplink int, since func(path) time.Time, tell func(way path, out, answered time.Time)) error {
	missing := append([]path(nil), paths...)
	return until(ctx, switchLimit, echoEvery, "guests leave by "+uplinks[uplink], func(context.Context) error {
		var rest []path
		for _, way := range missing {
			var from netip.Prefix
			if way.own {
				from = p.at[uplink].pool
			}
			at := since(way)
			out, answered, ok := q.first(way.guest, way.family, uplink, at, from)
			switch {
			case at.IsZero() || !ok:
				rest = append(rest, way)
			case tell != nil:
				tell(way, out, answered)
			}
		}
		missing = rest
		var errs []error
		for _, way := range missing {
			errs = append(errs, fmt.Errorf("%s: %s", way.name, q.unanswered(way.guest, way.family)))
		}
		return errors.Join(errs...)
	})
}

// measureSwitch has the uplink changed, and notes how long after the kernel's
// message each path led out by the other one.
func (p *provided) measureSwitch(ctx context.Context, s uplinkSwitch, q *asking, r *routes, f switchFigures) error {
	if err := pause(ctx, calm); err != nil {
		return err
	}
	link, err := linkIndex(p.host.Netns, p.at[s.link].link)
	if err != nil {
		return err
	}
	q.forget()
	r.forget()
	if err := s.do(ctx, p); err != nil {
		return err
	}
	since := func(way path) time.Time {
		at, _ := r.change(families[way.family], link, s.gone)
		return at
	}
	return p.leaving(ctx, q, s.leaves, since, func(way path, out, answered time.Time) {
		x := f.of(s.name, way.name)
		x.out.addTime(out.Sub(since(way)))
		x.answered.addTime(answered.Sub(since(way)))
	})
}
