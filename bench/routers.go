package main

import (
	"context"
	"fmt"
	"time"
)

const (
	// wantRouters is how many times radvd's rate is to be reached.
	wantRouters   = 1.3
	routerClients = 4000
	routerTime    = 2 * time.Second
)

// runRouters measures answers to router solicitations.
func runRouters(ctx context.Context, b *bench) (section, error) {
	q := &addressQuestion{clients: routerClients, time: routerTime, again: true}
	q.talks = []addressTalk{{"router discovery", func(*addressQuestion, int) talk {
		return &talkRA{prefix: siteGateway6.Masked(), waits: make([][]uint32, routerClients)}
	}}}
	q.servers = []addressCandidate{{name: nameSextant, make: func(_ context.Context, s *site) (addressServer, error) { return b.newSiteSextant(s) }}}
	if b.peers {
		q.servers = append(q.servers, addressCandidate{name: nameRadvd, make: func(_ context.Context, s *site) (addressServer, error) { return &radvd{s}, nil }})
	}
	r, err := b.compare(ctx, q)
	if err != nil {
		return section{}, err
	}
	s := section{
		title: "Router discovery",
		how: fmt.Sprintf("%d guests behind one bridge port, each with a MAC and a link-local address of its own, solicit routers again and again"+
			" for %v, %d at a time, and wait for the advertisement that is sent to them alone; it must have the network's prefix."+
			" radvd has AdvRASolicitedUnicast on. The guests share the processors with the server.", routerClients, routerTime, b.flight),
		tables: []table{r.ratios(q, nameRadvd), r.table(q)},
	}
	name := q.talks[0].name
	if of := r.ratio(name, nameSextant, nameRadvd); len(of) > 0 {
		ours, theirs := r.by[name][nameSextant].most, r.by[name][nameRadvd].most
		s.targets = []string{
			fmt.Sprintf("at least %.1f times radvd's rate: %s, %s", wantRouters, of, verdict(of.median() >= wantRouters)),
			fmt.Sprintf("99 of 100 answers not later than radvd's %s ms: %s ms, %s", number(theirs.median()), ours, verdict(ours.median() <= theirs.median())),
		}
	}
	return s, nil
}
