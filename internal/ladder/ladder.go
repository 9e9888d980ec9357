// Package ladder decides which prefixes a host holds for its networks and on
// which rung each network stands: how it reaches the outside, why so, and why
// not better.
//
// The package is pure. Decide is a function of what is wished, what the host's
// uplink and routes are, what is held already, and the time; the agent asks it
// again whenever one of these changes, claims what it returns before anything
// is advertised, and asks it again at Output.Next.
package ladder

import (
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// MoveGrace is how long an IPv4 prefix that had to move at least stays deprecated
// before it is given up. IPv4 knows no deprecation: nothing is served from the
// prefix any more. But guests that renew at their old gateway are still heard
// there for as long as their leases last, and told to ask again.
const MoveGrace = vnet.DefaultLease

// DeprecatedFor is how long an IPv6 prefix stays deprecated where nothing longer
// was promised.
const DeprecatedFor = 2 * time.Hour

// Input is everything that a decision depends on.
type Input struct {
	Now    time.Time
	Host   string // the name of this host; goes into claims and into the choice of prefixes
	Uplink Uplink
	// Used is what the host uses that is not ours: routes of every table,
	// addresses, resolvers. Default routes do not belong here; prefixes so
	// short that they stand for one are passed over. It may be a full table.
	Used []Used
	// Taken is what other started networks have: those that are not wished
	// here, such as networks of other hosts in the same scope.
	Taken []Used
	// Wishes are the networks of this host, stopped ones too: what a stopped
	// network holds is kept for its next start.
	Wishes []Wish
	// Held are the assignments of this host; those of others are passed over.
	Held []vnet.PrefixAssignment
	// ClockSet is by how much the wall clock was set since Held was written: its
	// deadlines are of time that passes, and are moved along.
	ClockSet time.Duration
	// ULA is the installation's /48.
	ULA netip.Prefix
	// Present is the IPv6 rung on which each network of mode auto stood until
	// now. One that is not in it makes its first choice, which acts at once.
	Present map[vnet.ID]vnet.Egress
	// Settle is how long an uplink must have offered what auto climbs to; 0:
	// the constant of that name, negative: not at all.
	Settle time.Duration
}

// Uplink is what the ladder must know of the host's ways out.
type Uplink struct {
	// V4 and V6 say that the host has an active default route of the family;
	// Link4 and Link6 over which link.
	V4, V6       bool
	Link4, Link6 string
	// Addresses6 are the host's IPv6 addresses with which it can speak to the
	// outside; link-local ones do not count.
	Addresses6 []netip.Prefix
	// Delegated are the prefixes delegated to this host, and those it was
	// given by hand; those of other uplinks than Link6 wait for their turn.
	Delegated []Source
	// OnLink are the prefixes on Link6 in which the host has an address: see
	// the function of that name.
	OnLink []Source
	// Since6 is when Link6 became the way out: auto does not climb on one that
	// comes and goes, however long its prefixes are known. Zero: long ago.
	Since6 time.Time
	// UnheardDelegated and UnheardOnLink say that it is too early to know what
	// Link6 offers: what is held of that kind stays meanwhile.
	UnheardDelegated, UnheardOnLink bool
}

// Used is a prefix that somebody else has.
type Used struct {
	Prefix netip.Prefix
	Scope  vnet.Scope // where; empty means vnet.ScopeHost
	Label  string     // what it is, to complete "overlaps PREFIX, …": "a route over wg0"
}

// Wish is one network as far as the ladder cares.
type Wish struct {
	Network    vnet.ID
	Name       string
	Number     int        // picks the ULA /64
	Scope      vnet.Scope // address scope; empty means vnet.ScopeHost
	Stopped    bool
	LeaseTime  time.Duration // the longest that guests are promised an address
	IPv4, IPv6 vnet.Egress   // modes as wished
	Subnets    []vnet.Subnet // of both families
	// Beside says that its IPv6 is to be bridged beside an IPv4 that is not;
	// Wire is the bridge that it joins, without one NoWire says why: then it
	// stands on proxied.
	Beside       bool
	Wire, NoWire string
}

// mode is the wished mode of a family.
func (w *Wish) mode(f vnet.Family) vnet.Egress {
	if f == vnet.IPv4 {
		return w.IPv4
	}
	return w.IPv6
}

func (w *Wish) scope() vnet.Scope { return scopeOr(w.Scope) }

func scopeOr(s vnet.Scope) vnet.Scope {
	if s == "" {
		return vnet.ScopeHost
	}
	return s
}

// Output is the decision.
type Output struct {
	// Held is what the host holds once Claim and Release are done, in the
	// order of networks, subnets and age. Decide with it as Input.Held, no
	// ClockSet and all else the same, changes nothing.
	Held []vnet.PrefixAssignment
	// Claim are those of Held that are new (without ID) or changed.
	Claim []vnet.PrefixAssignment
	// Release are those that were held and no longer are.
	Release []vnet.PrefixAssignment
	// Moves say which prefixes had to go just now and why, for events.
	Moves []Move
	// Networks has one decision for each wish, stopped ones too.
	Networks map[vnet.ID]Decision
	// Next is when time alone will change the decision; zero: never.
	Next time.Time
}

// Decision is what was decided about one network.
type Decision struct {
	Network      vnet.ID
	Rung4, Rung6 vnet.Egress // never auto
	Why4, Why6   string      // why this rung, and what would lift it
	// ULA is the network's /64 of the installation's /48, whatever the modes.
	ULA      netip.Prefix
	Problems []vnet.Problem
}

// Move is a prefix that could not stay.
type Move struct {
	Network, Subnet vnet.ID
	From            netip.Prefix
	To              netip.Prefix // not valid if nothing is free
	Because         string       // "overlaps PREFIX, a route in …"
}

// Decide decides. It never changes its input.
func Decide(in Input) Output {
	d := newDecider(in)
	for i := range d.wishes {
		d.climb(&d.wishes[i])
	}
	d.warnOfFixed()
	d.keep()
	d.choose()
	d.reach()
	return d.output()
}
