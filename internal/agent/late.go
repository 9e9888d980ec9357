package agent

import (
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// lateFactor is how many times as long as it took a network's names are left
// as they are: compiling them takes one part in twenty of the time, however
// many guests come at once. With a handful of names that is no delay to speak
// of.
const lateFactor = 20

// late says which networks' names wait, so that a thousand leases a second do
// not compile the names of all guests a hundred times a second. It belongs to
// the loop.
type late struct {
	until   map[vnet.ID]time.Time
	waiting map[vnet.ID]bool
}

func newLate() *late {
	return &late{until: map[vnet.ID]time.Time{}, waiting: map[vnet.ID]bool{}}
}

// hold reports whether a network's names have to wait, and calls again, once,
// when they need not any more.
func (l *late) hold(id vnet.ID, now time.Time, again func()) bool {
	left := l.until[id].Sub(now)
	if left <= 0 {
		delete(l.until, id)
		return false
	}
	if !l.waiting[id] {
		l.waiting[id] = true
		time.AfterFunc(left, again)
	}
	return true
}

// took notes how long a network's names took to compile.
func (l *late) took(id vnet.ID, begun, ended time.Time) {
	delete(l.waiting, id)
	l.until[id] = ended.Add(lateFactor * ended.Sub(begun))
}
