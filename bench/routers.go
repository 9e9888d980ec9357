package main

import (
	"context"
	"time"
)

func runRouters(ctx context.Context, b *bench) (section, error) {
	const clients = 4000
	q := &addressQuestion{clients: clients, time: 2 * time.Second, talks: []addressTalk{{"RS", func(*addressQuestion, int) talk {
		return &talkRA{prefix: siteGateway6.Masked(), last: make([]uint32, clients)}
	}}}}
	q.again = true
	q.servers = []addressCandidate{{make: func(ctx context.Context, s *site) (addressServer, error) { return b.newSiteSextant(s) }}}
	if b.peers {
		q.servers = append(q.servers, addressCandidate{make: func(_ context.Context, s *site) (addressServer, error) { return &radvd{s}, nil }})
	}
	_, _, err := b.compare(ctx, q)
	return section{}, err
}
