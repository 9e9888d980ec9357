package main

import (
	"context"
	"net/netip"
	"time"
)

// The talks of the address parts.
func (q *addressQuestion) talk6(rapid bool, first int) *talk6 {
	t := &talk6{rapid: rapid, first: first, prefix: siteGateway6.Masked()}
	if q.known > 0 {
		t.first, t.known = first%q.known, known6
	}
	return t
}

func (q *addressQuestion) talk4(first int) *talk4 {
	t := &talk4{first: first, prefix: siteGateway4.Masked()}
	if q.known > 0 {
		t.first, t.known = first%q.known, func(c int) netip.Addr { return known4(c) }
	}
	return t
}

// runKnown measures addresses that are known beforehand.
func runKnown(ctx context.Context, b *bench) (section, error) {
	q := b.addressQuestion(true, 2*time.Second)
	_, _, err := b.compare(ctx, q)
	return section{}, err
}

func runOpen(ctx context.Context, b *bench) (section, error) {
	q := b.addressQuestion(false, 10*time.Second)
	_, _, err := b.compare(ctx, q)
	return section{}, err
}

func (b *bench) addressQuestion(known bool, limit time.Duration) *addressQuestion {
	q := &addressQuestion{clients: b.clients, time: limit}
	if known {
		q.known = 4000
	}
	q.talks = []addressTalk{
		{"SARR", func(q *addressQuestion, first int) talk { return q.talk6(false, first) }},
		{"rapid", func(q *addressQuestion, first int) talk { return q.talk6(true, first) }},
		{"DORA", func(q *addressQuestion, first int) talk { return q.talk4(first) }},
	}
	q.servers = []addressCandidate{{make: func(ctx context.Context, s *site) (addressServer, error) { return b.newSiteSextant(s) }}}
	if !b.peers {
		return q
	}
	q.servers = append(q.servers,
		addressCandidate{make: func(_ context.Context, s *site) (addressServer, error) { return &kea{site: s}, nil }},
		addressCandidate{make: func(_ context.Context, s *site) (addressServer, error) { return &dnsmasq{s}, nil }, clients: 4000, rounds: 1})
	if !known {
		q.servers = append(q.servers, addressCandidate{rounds: 1, make: func(ctx context.Context, s *site) (addressServer, error) {
			p, err := s.newPostgres(ctx, b.dir)
			return &kea{site: s, database: p}, err
		}})
	}
	return q
}
