package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// addressFigures are what one load on one candidate came to, in all rounds.
type addressFigures struct {
	rate       figures // exchanges a second
	half, most figures // how long they took, median and 99 of 100, in milliseconds
	cpu        figures // processor time for each, in microseconds
	repeated   int     // messages that were not answered in time, or refused
	done       []int   // exchanges, in each round
}

// addressResults are the figures by talk and candidate.
type addressResults struct {
	by       map[string]map[string]*addressFigures
	disk     figures
	perfdhcp string
	last     *loadResult
}

func (r *addressResults) of(talk, name string) *addressFigures {
	if r.by[talk] == nil {
		r.by[talk] = map[string]*addressFigures{}
	}
	if r.by[talk][name] == nil {
		r.by[talk][name] = &addressFigures{}
	}
	return r.by[talk][name]
}

// ratio is one candidate's rate by another's, round by round.
func (r *addressResults) ratio(talk, of, by string) figures {
	return ratios(r.of(talk, of).rate, r.of(talk, by).rate)
}

// times is the same of the medians, for who ran less often; 0: who did not run.
func (r *addressResults) times(talk, of, by string) float64 {
	if d := r.of(talk, by).rate.median(); d > 0 {
		return r.of(talk, of).rate.median() / d
	}
	return 0
}

// served says how many exchanges of each talk a candidate came to in its first
// round.
func (r *addressResults) served(q *addressQuestion, name string) string {
	var each []string
	for _, t := range q.talks {
		if f := r.of(t.name, name); len(f.done) > 0 {
			each = append(each, fmt.Sprint(f.done[0]))
		}
	}
	if len(each) == 0 {
		return "nobody, since it did not run"
	}
	return strings.Join(each, ", ")
}

// ratios is the table of ratios to the first peer.
func (r *addressResults) ratios(q *addressQuestion, peer string) table {
	t := table{head: []string{"", nameSextant + " : " + peer}}
	for _, c := range q.servers {
		if c.name != nameSextant && c.name != peer {
			t.head = append(t.head, nameSextant+" : "+c.name)
		}
	}
	for _, k := range q.talks {
		row := []string{k.name, r.ratio(k.name, nameSextant, peer).String()}
		for _, c := range q.servers {
			if c.name != nameSextant && c.name != peer {
				row = append(row, number(r.times(k.name, nameSextant, c.name)))
			}
		}
		t.rows = append(t.rows, row)
	}
	return t
}

// table has all figures.
func (r *addressResults) table(q *addressQuestion) table {
	t := table{head: []string{"", "", "exchanges/s", "median, ms", "99 of 100 within, ms", "processor for one, µs", "repeated"}}
	for _, k := range q.talks {
		for _, c := range q.servers {
			if f := r.of(k.name, c.name); len(f.rate) > 0 {
				t.rows = append(t.rows, []string{k.name, c.name, f.rate.String(), f.half.String(), f.most.String(), f.cpu.String(), fmt.Sprint(f.repeated)})
			}
		}
	}
	return t
}

// measureDisk notes the disk's rate, once in a round.
func (r *addressResults) measureDisk(dir, name string) error {
	if name != nameSextant {
		return nil
	}
	rate, err := diskRate(dir)
	r.disk.add(rate)
	return err
}

// perfdhcpRate finds what perfdhcp came to in what it prints.
var perfdhcpRate = regexp.MustCompile(`Rate: ([0-9.]+) 4-way exchanges/second`)

// perfdhcpRuns is for how long perfdhcp runs, perfdhcpPace how many exchanges a
// second it begins.
const (
	perfdhcpRuns = 2 * time.Second
	perfdhcpPace = 4000
)

// check has perfdhcp ask once as well: a rate of its own, DHCPv6 in four
// messages, everybody from one MAC. It is for open ranges, where there is no
// need to know anybody.
func (r *addressResults) check(ctx context.Context, s *site, q *addressQuestion, name string) error {
	if q.known > 0 || q.again || strings.Contains(r.perfdhcp, name) || name != nameSextant && name != nameKea {
		return nil
	}
	if _, err := exec.LookPath("perfdhcp"); err != nil {
		return nil //nolint:nilerr // it is only a check
	}
	if err := s.tester(ctx); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", s.guests, "perfdhcp", "-6", "-l", siteTester, "-r", fmt.Sprint(perfdhcpPace),
		"-R", fmt.Sprint(knownClients), "-p", fmt.Sprint(int(perfdhcpRuns.Seconds())))
	out, _ := cmd.CombinedOutput() // it fails when a single packet is lost
	m := perfdhcpRate.FindSubmatch(out)
	if m == nil {
		return fmt.Errorf("perfdhcp: no rate in %q", out)
	}
	say("%s, perfdhcp at %d/s: %s/s", name, perfdhcpPace, m[1])
	if r.perfdhcp != "" {
		r.perfdhcp += "; "
	}
	r.perfdhcp += fmt.Sprintf("%s: %s of %d a second", name, m[1], perfdhcpPace)
	return nil
}
