package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

const (
	// wantKnown and wantOpen are how many times Kea's rate is to be reached.
	wantKnown, wantOpen = 1.2, 1.0
	// wantDnsmasq is how many times that of dnsmasq.
	wantDnsmasq = 50
	// knownClients is how many clients are known beforehand.
	knownClients = 4000
	// knownTime is for how long each load runs.
	knownTime = 2 * time.Second
	// openTime is after how long no more clients of an open range begin.
	openTime = 10 * time.Second
)

// Names of candidates.
const (
	nameSextant  = "Sextant"
	nameKea      = "Kea, memfile"
	namePostgres = "Kea, PostgreSQL"
	nameDnsmasq  = "dnsmasq"
	nameRadvd    = "radvd"
)

const howLoad = " All clients are behind one bridge port, each with a MAC of its own; %d exchanges are under way at a time," +
	" each client waits for its answers and repeats itself after %v, and every answer is looked at: it must have an address," +
	" and no two clients the same. The clients share the processors with the server. Kea runs with two threads and a queue" +
	" without bound, dnsmasq without its ping; nobody limits anything. Processor time is of all the candidate's processes."

// runKnown measures addresses that are known beforehand.
func runKnown(ctx context.Context, b *bench) (section, error) {
	q := b.addressQuestion(knownClients, knownTime)
	r, err := b.compare(ctx, q)
	if err != nil {
		return section{}, err
	}
	s := section{
		title: "Addresses known beforehand",
		how: fmt.Sprintf("%d guests are known by their MACs (Sextant: ports; Kea and dnsmasq: reservations) and ask again and again for %v."+
			howLoad+" dnsmasq ran once.", knownClients, knownTime, b.flight, patience),
	}
	for _, t := range q.talks {
		if of := r.ratio(t.name, nameSextant, nameKea); len(of) > 0 {
			s.targets = append(s.targets, fmt.Sprintf("%s: at least %.1f times Kea's rate: %s, %s", t.name, wantKnown, of, verdict(of.median() >= wantKnown)))
		}
	}
	s.tables = []table{r.ratios(q, nameKea), r.table(q)}
	return s, nil
}

// runOpen measures addresses of an open range.
func runOpen(ctx context.Context, b *bench) (section, error) {
	q := b.addressQuestion(0, openTime)
	r, err := b.compare(ctx, q)
	if err != nil {
		return section{}, err
	}
	s := section{
		title: "Addresses of an open range",
		how: fmt.Sprintf("%d guests for each load that nobody knew before are given addresses; after %v no more of them begin, which leaves nobody"+
			" out but with dnsmasq: it served %s. dnsmasq and PostgreSQL ran once."+
			" Sextant's leases are on the disk (fdatasync) before the guest is answered, Kea's with memfile are not."+
			" Right after the last load all of Sextant's processes are killed and started again: every address that a guest"+
			" was told is in the list of leases."+
			howLoad+" The disk's rate is of writes of 4 kB, each with fdatasync: %s a second.", b.clients, openTime, r.served(q, nameDnsmasq), b.flight, patience, r.disk),
	}
	for _, t := range q.talks {
		if of := r.ratio(t.name, nameSextant, nameKea); len(of) > 0 {
			s.targets = append(s.targets, fmt.Sprintf("%s: at least %.1f times the rate of Kea with memfile: %s, %s", t.name, wantOpen, of, verdict(of.median() >= wantOpen)))
		}
		if times := r.times(t.name, nameSextant, nameDnsmasq); times > 0 {
			s.targets = append(s.targets, fmt.Sprintf("%s: at least %d times the rate of dnsmasq: %.0f, %s", t.name, wantDnsmasq, times, verdict(times >= wantDnsmasq)))
		}
	}
	s.tables = []table{r.ratios(q, nameKea), r.table(q)}
	if r.perfdhcp != "" {
		s.how += " As a check, perfdhcp, which sends at a rate of its own: " + r.perfdhcp + "."
	}
	return s, nil
}

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

// addressQuestion asks all servers of addresses, of so many known clients or, if
// there are none, of an open range.
func (b *bench) addressQuestion(known int, limit time.Duration) *addressQuestion {
	q := &addressQuestion{known: known, clients: b.clients, time: limit}
	q.talks = []addressTalk{
		{"DHCPv6 in four messages", func(q *addressQuestion, first int) talk { return q.talk6(false, first) }},
		{"DHCPv6, rapid commit", func(q *addressQuestion, first int) talk { return q.talk6(true, first) }},
		{"DHCPv4 in four messages", func(q *addressQuestion, first int) talk { return q.talk4(first) }},
	}
	q.servers = []addressCandidate{{name: nameSextant, make: func(_ context.Context, s *site) (addressServer, error) { return b.newSiteSextant(s) }}}
	if !b.peers {
		return q
	}
	q.servers = append(q.servers,
		addressCandidate{name: nameKea, make: func(_ context.Context, s *site) (addressServer, error) { return &kea{site: s}, nil }},
		addressCandidate{name: nameDnsmasq, make: func(_ context.Context, s *site) (addressServer, error) { return &dnsmasq{s}, nil }, rounds: 1})
	if known == 0 {
		q.servers = append(q.servers, addressCandidate{name: namePostgres, rounds: 1, make: func(ctx context.Context, s *site) (addressServer, error) {
			p, err := s.newPostgres(ctx, b.dir)
			return &kea{site: s, database: p}, err
		}})
	}
	return q
}
