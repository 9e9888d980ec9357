package agent

import (
	"context"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Store is what the agent needs of the truth: wishes come from it, claims and
// observations go to it.
type Store interface {
	// Follow tells everything that concerns the host, first as a whole (Reset),
	// then as it changes, until ctx ends; it outlives the store's absences.
	Follow(ctx context.Context, host string) (<-chan vnet.Update, error)
	// Claim writes claims and takes others back, each on its own: one result
	// each, those of put first.
	Claim(ctx context.Context, put []vnet.Object, release []vnet.Ref) []error
	// Hold says which parts of a network's ranges the host gives by itself: no
	// claim of another host for an address in them succeeds any more. Choose is
	// told what each host holds and returns all that this one is to hold.
	Hold(ctx context.Context, host string, network vnet.ID, choose func(held map[string][]vnet.Range) []vnet.Range) ([]vnet.Range, error)
	// Observe overwrites observations: hosts, statuses, events.
	Observe(ctx context.Context, objects []vnet.Object) error
}
