package agent

import (
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// unretired returns the network without the retired prefixes whose deadline has
// passed, n itself if there are none. The store keeps them until control next
// writes the network.
func unretired(n *vnet.Network, now time.Time) *vnet.Network {
	past := func(r vnet.RetiredPrefix) bool { return !now.Before(r.Until) }
	if !slices.ContainsFunc(n.Retired, past) {
		return n
	}
	c := *n
	c.Retired = slices.DeleteFunc(slices.Clone(n.Retired), past)
	return &c
}

// retire lets go of the retired prefixes whose deadline has passed.
func (a *Agent) retire(now time.Time) {
	for _, n := range a.snap.Retiring() {
		if c := unretired(n, now); c != n {
			a.touch(n)
			a.snap.Put(c)
			a.touch(c)
			a.event(vnet.RefOf(n), "prefix", "the last promises made for a prefix that was taken away have ended")
		}
	}
}
