package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/vnet"
)

// order takes an order in. One that was told twice is carried out once.
func (a *Agent) order(o *vnet.LeaseOrder) {
	if o.Host == a.cfg.Host {
		a.orders[o.ID] = o
	}
}

// obey carries out the orders that can be: an import waits until its network is
// served, so that the servers learn of the leases and what is in the way is
// known.
func (a *Agent) obey() {
	if len(a.orders) == 0 || !a.settled || a.resting {
		return
	}
	now := a.cfg.Now()
	for id, o := range a.orders {
		w := &orderWork{a: a, o: o, now: now}
		switch {
		case now.After(o.Until):
			w.void()
		case o.Action == vnet.OrderRelease:
			w.all(w.release)
		case o.Action == vnet.OrderImport && a.srv.services[o.Network] == nil:
			continue
		case o.Action == vnet.OrderImport:
			w.look()
			w.all(w.take)
		default:
			w.void()
		}
		delete(a.orders, id)
	}
}

// orderWork is an order that is being carried out. It belongs to the loop.
type orderWork struct {
	a   *Agent
	o   *vnet.LeaseOrder
	now time.Time

	left     int // leases whose claims are under way
	done     int
	problems []vnet.Problem

	// What an import looks up.
	svc      *plan.Service
	reserved map[netip.Addr]vnet.Reservation
	twice    map[netip.Addr]bool
}

// all carries out each lease of the order; one that cannot be leaves the others
// alone.
func (w *orderWork) all(each func(*vnet.LeaseRecord, func(error)) error) {
	w.left = 1 // until all are under way
	for i := range w.o.Leases {
		r := &w.o.Leases[i]
		w.left++
		if err := each(r, func(err error) { w.a.do(func() { w.result(r, err) }) }); err != nil {
			w.result(r, err)
		}
	}
	w.ended()
}

func (w *orderWork) result(r *vnet.LeaseRecord, err error) {
	if err == nil {
		w.done++
	} else {
		p := vnet.Problem{Kind: kindOr(err, vnet.ErrInternal), Field: r.Text(), Msg: err.Error(), Family: r.Family()}
		if e, ok := err.(*vnet.Error); ok {
			p.Msg, p.Hint = e.Msg, e.Hint
		}
		w.problems = append(w.problems, p)
	}
	w.ended()
}

// ended reports and deletes the order once nothing of it is under way.
func (w *orderWork) ended() {
	if w.left--; w.left > 0 {
		return
	}
	state := vnet.StateRunning
	if len(w.problems) > 0 {
		state = vnet.StateDegraded
	}
	w.finish(state)
	what := map[vnet.OrderAction]string{vnet.OrderRelease: "released", vnet.OrderImport: "imported"}[w.o.Action]
	if w.done > 0 {
		w.a.event(vnet.Ref{Kind: vnet.KindNetwork, ID: w.o.Network}, "lease", "%s %s", leases(w.done), what)
	}
}

func leases(n int) string {
	if n == 1 {
		return "1 lease"
	}
	return fmt.Sprintf("%d leases", n)
}

// void reports an order that came too late, or that this agent does not know.
func (w *orderWork) void() {
	w.problems = []vnet.Problem{{
		Kind: vnet.ErrUnavailable, Msg: fmt.Sprintf("host %s could not do it in time: its network is not served there", w.o.Host),
		Hint: "see sextant status, and try again",
	}}
	w.finish(vnet.StateFailed)
}

// finish reports the result. The order goes after that: until it does, whoever
// waits finds either of them.
func (w *orderWork) finish(state vnet.State) {
	a, ref := w.a, vnet.RefOf(w.o)
	a.rep.status(&vnet.Status{
		Target: ref, Host: a.cfg.Host, Applied: max(a.snap.Revision, w.o.Revision), State: state, Problems: w.problems,
	})
	ctx := a.ctx
	go func() {
		ctx, cancel := context.WithTimeout(ctx, claimTimeout)
		defer cancel()
		if err := a.cfg.Store.Claim(ctx, nil, []vnet.Ref{ref})[0]; err != nil && !vnet.Is(err, vnet.ErrNotFound) {
			a.log.Warn("an order that is done stays", "order", ref, "error", err)
		}
	}()
}

// release gives a lease back. The servers learn so from the store: to them the
// address is idle then, kept for its guest as long as nobody else needs it.
func (w *orderWork) release(r *vnet.LeaseRecord, done func(error)) error {
	held := w.a.snap.Lease(w.a.claim.holder(w.o.Network, r.Address))
	if held == nil {
		done(nil) // it ended meanwhile
		return nil
	}
	l := held.Whole()
	switch {
	case r.Lease != "" && l.ID != r.Lease:
		done(nil) // it ended meanwhile
	case !r.MAC.IsZero() && !l.MAC.IsZero() && r.MAC != l.MAC:
		return vnet.Errorf(vnet.ErrConflict, "it is another guest's by now, %s", l.MAC).WithHint("look again: sextant lease list")
	default:
		w.a.claim.giveBack(*l, done)
	}
	return nil
}

// look gathers what is in the way of imports.
func (w *orderWork) look() {
	w.svc = w.a.srv.services[w.o.Network]
	w.reserved, w.twice = map[netip.Addr]vnet.Reservation{}, map[netip.Addr]bool{}
	for _, r := range w.a.reservationsOf(w.o.Network) {
		w.reserved[r.Address] = r
	}
}

// take makes a lease of another server ours. The servers know of it before the
// store does, so that they do not give the address to somebody else meanwhile.
func (w *orderWork) take(r *vnet.LeaseRecord, done func(error)) error {
	l := w.lease(r)
	if err := w.fits(r, l); err != nil {
		return err
	}
	if err := w.whose(l); err != nil {
		return err
	}
	w.twice[r.Address] = true
	w.a.srv.lease(pack.Of(l))
	w.a.claim.Commit(*l, func(err error) {
		if err != nil {
			w.a.do(func() { w.a.srv.leaseGone(pack.Of(l)) })
		}
		done(err)
	})
	return nil
}

// Tried is the answer to "import": what an order would come to.
type Tried struct {
	Done     int            `json:"done"`
	Problems []vnet.Problem `json:"problems,omitempty"`
}

// tryImport looks what an import would come to, and changes nothing.
func (a *Agent) tryImport(args json.RawMessage) (*Tried, error) {
	o := &vnet.LeaseOrder{}
	if err := json.Unmarshal(args, o); err != nil || len(o.Leases) > vnet.OrderMost {
		return nil, vnet.Errorf(vnet.ErrInvalid, "the order cannot be read: %w", err)
	}
	if a.srv.services[o.Network] == nil {
		return nil, vnet.Errorf(vnet.ErrUnavailable, "host %s does not serve the network yet", a.cfg.Host).WithHint("see `sextant status`")
	}
	w := &orderWork{a: a, o: o, now: a.cfg.Now(), left: len(o.Leases) + 1} // which never ends
	w.look()
	for i := range o.Leases {
		r := &o.Leases[i]
		l := w.lease(r)
		err := w.fits(r, l)
		if err == nil {
			err = w.whose(l)
		}
		if err == nil {
			w.twice[r.Address] = true
		}
		w.result(r, err)
	}
	return &Tried{w.done, w.problems}, nil
}

// lease is the lease that a record is.
func (w *orderWork) lease(r *vnet.LeaseRecord) *vnet.Lease {
	l := &vnet.Lease{
		Network: w.o.Network, Host: w.a.cfg.Host, Address: r.Address, Length: r.Length, Family: r.Family(), How: vnet.HowDHCPv6,
		MAC: r.MAC, DUID: r.DUID, IAID: r.IAID, Client: r.Client, Hostname: r.Hostname, Expires: r.Expires, Declined: r.Declined,
	}
	l.Project = w.svc.Project
	if l.Family == vnet.IPv4 {
		l.How = vnet.HowDHCPv4
	}
	// The servers find what a guest has by its subnet.
	for i := range w.svc.Subnets {
		if s := &w.svc.Subnets[i]; !s.Deprecated && s.Prefix.Contains(r.Address) {
			l.Subnet = s.ID
			break
		}
	}
	if l.MAC.IsZero() && l.DUID != "" {
		if d, err := ipam.ParseDUID(l.DUID); err == nil {
			l.MAC, _ = d.MAC()
		}
	}
	if quarantine := w.now.Add(lease.Quarantine); l.Declined && (l.Expires.IsZero() || l.Expires.After(quarantine)) {
		l.Expires = quarantine
	}
	return l
}

// fits refuses what the network's servers could not have given.
func (w *orderWork) fits(r *vnet.LeaseRecord, l *vnet.Lease) error {
	if err := r.Validate(); err != nil {
		return err
	}
	if w.twice[r.Address] {
		return vnet.Errorf(vnet.ErrExists, "it is there twice").WithHint("the first one was taken")
	}
	if expired(l.Expires, w.now) {
		return vnet.Errorf(vnet.ErrInvalid, "it ended at %s", l.Expires.UTC().Format(time.RFC3339))
	}
	i := slices.IndexFunc(w.svc.Subnets, func(s plan.Subnet) bool { return !s.Deprecated && s.Prefix.Contains(r.Address) })
	if i < 0 {
		return vnet.Errorf(vnet.ErrInvalid, "it is in no subnet of network %s", w.svc.Name).
			WithHint("see `sextant subnet list network=%s`", w.svc.Name)
	}
	s := &w.svc.Subnets[i]
	switch {
	case r.Length != s.Delegate:
		return vnet.Errorf(vnet.ErrInvalid, "guests do not get such prefixes from %s", s.Prefix).WithHint("see delegate= of the subnet")
	case r.Length > 0:
		return nil
	case r.Address == s.Gateway || r.Address == s.Router || slices.Contains(s.Reserved, r.Address):
		return vnet.Errorf(vnet.ErrConflict, "it is a gateway of network %s", w.svc.Name)
	case ipam.ReservedIn(s.Prefix, r.Address):
		return vnet.Errorf(vnet.ErrInvalid, "it is reserved in %s, no guest can have it", s.Prefix)
	case s.Guests != vnet.GuestsDHCP && s.Guests != vnet.GuestsStateful && s.Guests != vnet.GuestsSLAACStateful:
		return vnet.Errorf(vnet.ErrInvalid, "guests of %s get no addresses by DHCP (guests=%s)", s.Prefix, s.Guests)
	}
	return nil
}

// whose finds out whose lease it is here, and refuses one of an address that is
// somebody else's.
func (w *orderWork) whose(l *vnet.Lease) error {
	a := w.a
	port := a.ears.macs[macKey{l.Network, l.MAC}]
	if l.MAC.IsZero() || l.Declined {
		port = ""
	}
	if owner := a.index.ownerOf(l.Network, l.Address); owner != "" && owner != port {
		return vnet.Errorf(vnet.ErrConflict, "it is %s's", a.nameOf(vnet.Ref{Kind: vnet.KindPort, ID: owner}))
	} else if owner == "" && port != "" && l.Length == 0 {
		if own := w.ownedBeside(port, l); own.IsValid() {
			return vnet.Errorf(vnet.ErrConflict, "%s is %s, which has %s here", l.MAC, a.nameOf(vnet.Ref{Kind: vnet.KindPort, ID: port}), own)
		}
	}
	l.Port = port
	if r, ok := w.reserved[l.Address]; ok && (r.MAC != l.MAC || r.MAC.IsZero()) && (r.DUID == "" || r.DUID != l.DUID) &&
		(r.Client == "" || r.Client != l.Hostname) {
		return vnet.Errorf(vnet.ErrConflict, "it is reserved for another guest").WithHint("see `sextant reservation list network=%s`", w.svc.Name)
	}
	id := a.claim.holder(l.Network, l.Address)
	var old *vnet.Lease
	if p := a.snap.Lease(id); p != nil {
		old = p.Whole()
	}
	switch {
	case id == "", old != nil && expired(old.Expires, w.now), old != nil && sameClient(old, l):
		return nil
	case old == nil:
		return vnet.Errorf(vnet.ErrConflict, "it was just given to another guest")
	}
	whom := "by another guest"
	if !old.MAC.IsZero() {
		whom = "by " + old.MAC.String()
	}
	return vnet.Errorf(vnet.ErrConflict, "it is in use here %s", whom).WithHint("see `sextant lease list address=%s`", l.Address)
}

// ownedBeside is the address that a port owns in the subnet that another
// address is in.
func (w *orderWork) ownedBeside(port vnet.ID, l *vnet.Lease) netip.Addr {
	sub, ok := w.a.index.subnetOf(l.Network, l.Address)
	if !ok {
		return netip.Addr{}
	}
	for _, g := range w.a.ears.guest(port).Addresses {
		if sub.Prefix.Contains(g.Address) {
			return g.Address
		}
	}
	return netip.Addr{}
}

// sameClient reports whether two leases are of one client, as far as either
// says: lease files of other servers lack the one or the other.
func sameClient(a, b *vnet.Lease) bool {
	switch {
	case a.Declined || b.Declined:
		return a.Declined && b.Declined
	case a.Port != "" || b.Port != "":
		return a.Port == b.Port
	case !a.MAC.IsZero() && !b.MAC.IsZero():
		return a.MAC == b.MAC && (a.DUID == "" || b.DUID == "" || a.DUID == b.DUID)
	case a.DUID != "" && a.DUID == b.DUID:
		return a.IAID == b.IAID
	}
	return a.Client != "" && a.Client == b.Client
}

// nameOf is an object as people call it: "port vm1".
func (a *Agent) nameOf(r vnet.Ref) string {
	if o := a.snap.Get(r); o != nil && o.GetMeta().Name != "" {
		return string(r.Kind) + " " + o.GetMeta().Name
	}
	return r.String()
}
