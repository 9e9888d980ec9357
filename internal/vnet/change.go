package vnet

// Change is one atomic write: all of it happens, or nothing. The store holds
// uniqueness (Uniques), references (References) and prefix order (Scopes) in
// the same transaction.
type Change struct {
	// Put holds whole objects. Meta.Revision is the revision that was read; 0
	// means that the object must not exist yet. AnyRevision overwrites.
	Put []Object
	// Delete names objects that must exist (at that revision, unless it is
	// AnyRevision) and that nothing may refer to.
	Delete []Deletion
	// Scopes names the address scopes whose set of prefixes was read to admit
	// this change, with the generation that was read: the change fails with
	// ErrConflict if another one changed the set meanwhile.
	Scopes map[Scope]int64
}

// AnyRevision, as an expected revision, matches whatever is there.
const AnyRevision int64 = -1

// Deletion names an object to delete and the revision at which it was read.
type Deletion struct {
	Ref      Ref
	Revision int64
}

// Update is what a follower of the store is told: objects that are new or
// changed and objects that are gone, in the order of the store, up to and
// including Revision.
type Update struct {
	Revision int64
	// Reset says that Put is everything there is: forget what you knew.
	Reset  bool
	Put    []Object
	Delete []Ref
}
