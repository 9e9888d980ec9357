package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sextant-net/sextant/internal/dialect/native/client"
	"github.com/sextant-net/sextant/internal/vnet"
)

// addressServer is a candidate that serves a site's clients.
type addressServer interface {
	// start makes the network and starts to serve it.
	start(ctx context.Context) error
}

// siteSextant is Sextant with a site's network.
type siteSextant struct {
	*sextant
	site *site
}

func (b *bench) newSiteSextant(s *site) (addressServer, error) {
	x, err := b.newSextant(s.host)
	if err != nil {
		return nil, err
	}
	// As it is with the others: nothing is looked for before an address is
	// offered, and nobody is limited.
	probe := false
	x.dhcp = vnet.DHCPPolicy{Probe: &probe, Limit: 65536}
	return &siteSextant{x, s}, nil
}

func (s *siteSextant) start(ctx context.Context) error {
	if err := s.sextant.start(ctx); err != nil {
		return err
	}
	mac, err := vnet.ParseMAC(siteMAC)
	if err != nil {
		return err
	}
	wish := &vnet.Network{
		Meta: vnet.Meta{Name: "lan"}, Bridge: siteBridge, MAC: mac, Admit: vnet.AdmitAny,
		IPv4: vnet.FamilyPolicy{Mode: vnet.EgressNAT, Address: siteGateway4, Ranges: []vnet.Range{{First: siteRange4[0], Last: siteRange4[1]}}},
		IPv6: vnet.FamilyPolicy{Mode: vnet.EgressNAT66, Address: siteGateway6, Guests: vnet.GuestsStateful,
			Ranges: []vnet.Range{{First: siteRange6[0], Last: siteRange6[1]}}},
		DHCP: s.dhcp,
	}
	if s.site.known > 0 {
		wish.Admit = vnet.AdmitPorts
	}
	if _, err := client.Create(ctx, s.api, client.Write{Wait: 30 * time.Second}, wish); err != nil {
		return err
	}
	return s.know(ctx)
}

// know makes the ports of the known clients, several at a time.
func (s *siteSextant) know(ctx context.Context) error {
	var next atomic.Int64
	var workers sync.WaitGroup
	errs := make([]error, 8)
	for w := range errs {
		workers.Go(func() {
			for c := int(next.Add(1)) - 1; c < s.site.known && errs[w] == nil; c = int(next.Add(1)) - 1 {
				port := &vnet.Port{Meta: vnet.Meta{Name: fmt.Sprintf("p%d", c)}, Network: "lan", MAC: guestMAC(c)}
				port.Addresses = append(port.Addresses, known4(c), known6(c))
				_, errs[w] = client.Create(ctx, s.api, client.Write{}, port)
			}
		})
	}
	workers.Wait()
	return errors.Join(errs...)
}

// joined waits until the bridge port has become a port of its own, of somebody
// who is none of the clients: these are then told apart by their MACs.
func (s *siteSextant) joined(ctx context.Context) error {
	return until(ctx, 30*time.Second, 50*time.Millisecond, "port of the clients' device", func(ctx context.Context) error {
		_, err := client.Get[vnet.Port](ctx, s.api, client.Scope{Network: "lan"}, sitePlug)
		if err != nil {
			err = errors.Join(err, s.site.announce())
		}
		return err
	})
}

// keeps kills all processes at once, starts them again, and waits until every
// address that a client was told is in the list of leases.
func (s *siteSextant) keeps(ctx context.Context, told *loadResult) error {
	if err := s.host.group.kill(); err != nil {
		return err
	}
	if err := s.sextant.start(ctx); err != nil {
		return err
	}
	begun := time.Now()
	return until(ctx, 3*time.Minute, time.Second, "leases after a crash", func(ctx context.Context) error {
		all, err := client.List[vnet.Lease](ctx, s.api, client.Scope{Network: "lan"})
		if err != nil {
			return err
		}
		listed := make(map[netip.Addr]vnet.MAC, len(all))
		for _, l := range all {
			listed[l.Address] = l.MAC
		}
		for a, c := range told.given {
			if mac, ok := listed[a]; !ok || mac.String() != clientMAC(told.first+c) {
				return fmt.Errorf("client %d was given %v, which the list of %d leases says is %v's", c, a, len(all), mac)
			}
		}
		say("Sextant: killed and started again, it has all %d leases after %.1f s", len(told.given), time.Since(begun).Seconds())
		return nil
	})
}

// addressQuestion is one comparison: loads, and the candidates.
type addressQuestion struct {
	known   int           // clients that are known beforehand
	clients int           // else: for each load
	again   bool          // the same clients ask again and again
	time    time.Duration // after which no more exchanges begin
	talks   []addressTalk
	servers []addressCandidate
}

// addressTalk is what clients say, the first of them with that number.
type addressTalk struct {
	name string
	from func(q *addressQuestion, first int) talk
}

type addressCandidate struct {
	name   string
	make   func(ctx context.Context, s *site) (addressServer, error)
	rounds int // 0: all
}

// compare runs all candidates in interleaved rounds.
func (b *bench) compare(ctx context.Context, q *addressQuestion) (*addressResults, error) {
	results := &addressResults{by: map[string]map[string]*addressFigures{}}
	for round := range b.rounds {
		for k := range q.servers {
			c := q.servers[(k+round)%len(q.servers)] // who begins takes turns
			if c.rounds > 0 && round >= c.rounds {
				continue
			}
			if err := b.serve(ctx, q, c, results); err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	return results, nil
}

// serve measures one candidate once, with all talks.
func (b *bench) serve(ctx context.Context, q *addressQuestion, c addressCandidate, results *addressResults) (err error) {
	if err := settle(ctx); err != nil {
		return err
	}
	s, err := b.lab.newSite(ctx, q.known, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	server, err := c.make(ctx, s)
	if err != nil {
		return err
	}
	if err := server.start(ctx); err != nil {
		return err
	}
	clients := q.clients
	if q.known > 0 {
		clients = q.known
	}
	if err := s.join(ctx, max(clients, q.known)*len(q.talks)+1); err != nil {
		return err
	}
	if a, ok := server.(interface{ joined(context.Context) error }); ok {
		if err := a.joined(ctx); err != nil {
			return err
		}
	}
	for _, t := range q.talks {
		if err := s.serving(ctx, t.from(q, clients*len(q.talks))); err != nil {
			return err
		}
	}
	if err := results.measureDisk(s.dir, c.name); err != nil {
		return err
	}
	for i, t := range q.talks {
		l := s.load(t.from(q, i*clients))
		l.flight, l.clients, l.limit, l.time = b.flight, clients, clients, q.time
		l.stalls = c.name == nameDnsmasq
		if q.known > 0 || q.again {
			l.limit = 1 << 19
		}
		if err := measureLoad(ctx, s, c.name, t.name, l, results); err != nil {
			return err
		}
	}
	if k, ok := server.(*siteSextant); ok && q.known == 0 && !q.again {
		if err := k.keeps(ctx, results.last); err != nil {
			return err
		}
	}
	return results.check(ctx, s, q, c.name)
}

// measureLoad runs one load and notes its figures.
func measureLoad(ctx context.Context, s *site, name, talk string, l *load, results *addressResults) error {
	before, err := s.group.cpu()
	if err != nil {
		return err
	}
	r, err := l.run(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", talk, err)
	}
	after, err := s.group.cpu()
	if err != nil {
		return err
	}
	cpu := (after - before).Seconds() * 1e6 / float64(r.done)
	say("%s, %s: %.0f/s, median %.2f ms, p99 %.2f ms, processor %.0f µs each, %d done in %.2f s, %d repeated", name, talk,
		r.rate(), 1e3*r.wait(.5), 1e3*r.wait(.99), cpu, r.done, r.elapsed.Seconds(), r.repeated)
	f := results.of(talk, name)
	f.rate.add(r.rate())
	f.half.add(1e3 * r.wait(.5))
	f.most.add(1e3 * r.wait(.99))
	f.cpu.add(cpu)
	f.repeated += r.repeated
	f.done = append(f.done, r.done)
	results.last = r
	return nil
}
