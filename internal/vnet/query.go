package vnet

// Query asks the store for objects of one kind. Empty fields do not narrow.
type Query struct {
	Kind    Kind
	ID      ID // one object; only for watches
	Project ID
	Network ID     // only what belongs to the network
	Name    string // exact; of a lease, its address
	Host    string // only what the host holds: activations, statuses, leases, assignments
	Limit   int    // at most so many; 0: all
	After   string // the Next of the List before
}

// List is what the store answers to a Query: objects in the order of their
// IDs, all as of one revision.
type List struct {
	Items    []Object
	Next     string // "" at the end
	Revision int64
}
