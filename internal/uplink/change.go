package uplink

import (
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Facts is what is known of one uplink.
type Facts struct {
	Routers     []vnet.HeardRouter
	Delegations []vnet.Delegation
	// Problem is why nothing can be heard or asked there; "": it can.
	Problem string
	// Lacking is what the file and the command that are to give prefixes do not,
	// or not well; Unread says that one of them was not looked at yet.
	Lacking []string
	Unread  bool
}

// Note is something for the events, said once.
type Note struct {
	Link string
	Text string
}

// Change is what happened since the last one was received.
type Change struct {
	Facts []string // links of which Facts returns something new
	// Held are links of which what Held returns is to be kept: before the
	// facts are acted upon, so that a crash does not forget a prefix in use.
	Held  []string
	Notes []Note
}

func (c *Change) empty() bool { return len(c.Facts)+len(c.Held)+len(c.Notes) == 0 }

// How changes are gathered.
const (
	// debounce lets what comes together (the advertisements of two routers)
	// be told together.
	debounce = 50 * time.Millisecond
	// A link that changes without end is told of once a second.
	tellRate, tellBurst = 1, 5
	maxNotes            = 64 // that wait to be received
)

// tellable is what is gathered to be told.
type tellable struct {
	Change
	since time.Duration // when it began not to be empty, since boot
	rate  bucket
	ready bool
}

func add(list []string, name string) []string {
	if slices.Contains(list, name) {
		return list
	}
	return append(list, name)
}

// note gathers what is to be said. Too many notes are dropped: whoever makes
// them is not to be trusted.
func (t *tellable) note(link string, texts ...string) {
	for _, s := range texts {
		if len(t.Notes) < maxNotes {
			t.Notes = append(t.Notes, Note{link, s})
		}
	}
}

// due returns whether it may be told now, else in how long.
func (t *tellable) due(now time.Duration) (ready bool, wait time.Duration) {
	if t.empty() {
		t.since, t.ready = 0, false
		return false, time.Hour
	}
	if t.since == 0 {
		t.since = now
	}
	if left := t.since + debounce - now; left > 0 {
		return false, left
	}
	if !t.ready && !t.rate.take(now) {
		return false, max(t.rate.wait(now), time.Millisecond)
	}
	t.ready = true
	return true, time.Hour
}

// take takes out what is told. What is not received comes back by restore:
// what changes meanwhile must be told again.
func (t *tellable) take() Change {
	c := t.Change
	t.Change = Change{}
	return c
}

func (t *tellable) restore(c Change) {
	for _, name := range t.Facts {
		c.Facts = add(c.Facts, name)
	}
	for _, name := range t.Held {
		c.Held = add(c.Held, name)
	}
	c.Notes = append(c.Notes, t.Notes...)
	c.Notes = c.Notes[:min(len(c.Notes), maxNotes)]
	t.Change = c
}

// told says that what was taken out was received.
func (t *tellable) told() { t.since, t.ready = 0, false }
