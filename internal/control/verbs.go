package control

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/google/uuid"
	"github.com/sextant-net/sextant/internal/vnet"
)

// draft is a change in the making: one object of one noun, and what goes with
// it.
type draft struct {
	who     Identity
	project *vnet.Project
	old     vnet.Object // nil when creating
	o       vnet.Object // nil when deleting
	change  vnet.Change
	// chosen are the fields whose values we picked: if one of them turns out
	// to be taken, another is picked.
	chosen map[string]bool
	// clashed are the fields whose chosen value turned out to be taken.
	clashed map[string]bool
	attempt int // how often it was started again
}

// noun is what is particular about one kind of object.
type noun interface {
	// create completes d.o, which has its Meta, and adds what goes with it.
	create(ctx context.Context, d *draft) error
	// update does so for a d.o that was changed from d.old.
	update(ctx context.Context, d *draft) error
	// remove adds what goes with d.old.
	remove(ctx context.Context, d *draft) error
}

func (c *Control) noun(k vnet.Kind) (noun, error) {
	switch k {
	case vnet.KindProject:
		return projects{c}, nil
	case vnet.KindNetwork:
		return networks{c}, nil
	case vnet.KindSubnet:
		return subnets{c}, nil
	case vnet.KindPool:
		return pools{c}, nil
	case vnet.KindRouter:
		return routers{c}, nil
	case vnet.KindPort:
		return ports{c}, nil
	case vnet.KindReservation:
		return reservations{c}, nil
	case vnet.KindUplink:
		return uplinks{c: c}, nil
	}
	return nil, vnet.Invalid("kind", "a %s cannot be written by hand", k)
}

const verbAttempts = 20

// Create makes an object. Its project is the one named, or that of the network
// it lies in. What is left out is chosen.
func (c *Control) Create(ctx context.Context, who Identity, project string, o vnet.Object) (vnet.Object, error) {
	op := string(o.Kind()) + " create"
	n, err := c.noun(o.Kind())
	if err != nil {
		return nil, inOp(err, op)
	}
	d := &draft{who: who}
	if o.Kind() != vnet.KindProject {
		if d.project, err = c.project(ctx, who, project); err != nil {
			return nil, inOp(err, op)
		}
	}
	done, err := c.run(ctx, d, func(d *draft) error {
		if d.o, err = clone(o); err != nil {
			return err
		}
		c.begin(d)
		return n.create(ctx, d)
	})
	if err != nil {
		return nil, inOp(err, op)
	}
	return done, nil
}

// begin gives a new object its Meta.
func (c *Control) begin(d *draft) {
	m := d.o.GetMeta()
	now := c.now().UTC()
	*m = vnet.Meta{Name: m.Name, Tags: m.Tags, ID: c.newID(), Generation: 1, Created: now, Updated: now}
	if d.project != nil {
		m.Project = d.project.ID
	}
}

// Update reads an object, lets change edit it in the form in which Get shows
// it, and writes it. With an ifMatch that is neither 0 nor vnet.AnyRevision the
// object must be at that revision, else ErrConflict; without one, change may be
// called again when others were faster.
func (c *Control) Update(ctx context.Context, who Identity, sel Selector, ifMatch int64, change func(vnet.Object) error) (vnet.Object, error) {
	op := string(sel.Kind) + " set"
	n, err := c.noun(sel.Kind)
	if err != nil {
		return nil, inOp(err, op)
	}
	d := &draft{who: who}
	done, err := c.run(ctx, d, func(d *draft) error {
		if err := c.load(ctx, d, sel, ifMatch); err != nil {
			return err
		}
		m := *d.o.GetMeta()
		if err := change(d.o); err != nil {
			return err
		}
		c.edited(d.o, m)
		return n.update(ctx, d)
	})
	if err != nil {
		return nil, inOp(err, op)
	}
	return done, nil
}

// load reads the object that is to be changed into d.
func (c *Control) load(ctx context.Context, d *draft, sel Selector, ifMatch int64) error {
	o, err := c.find(ctx, d.who, sel)
	if err != nil {
		return err
	}
	if err := c.mayWrite(ctx, d.who, o); err != nil {
		return err
	}
	if rev := o.GetMeta().Revision; ifMatch > 0 && ifMatch != rev {
		return changedMeanwhile(o, ifMatch)
	}
	if d.old, err = clone(o); err != nil {
		return err
	}
	d.o = o
	return c.fill(ctx, o)
}

func changedMeanwhile(o vnet.Object, ifMatch int64) error {
	m, ref := o.GetMeta(), vnet.RefOf(o)
	e := vnet.Errorf(vnet.ErrConflict, "%s %q changed since it was read (revision %d, now %d)", o.Kind(), m.Name, ifMatch, m.Revision).
		WithHint("read it again and repeat the change")
	e.Ref, e.Op = &ref, finalOp
	return e
}

// mayWrite: what may be seen because it is shared is not therefore anybody's
// to change.
func (c *Control) mayWrite(ctx context.Context, who Identity, o vnet.Object) error {
	p := o.GetMeta().Project
	if o.Kind() == vnet.KindProject {
		p = ""
	}
	if who.Admin || p != "" && who.may(p) {
		return nil
	}
	return vnet.Errorf(vnet.ErrForbidden, "%s %s belongs to others", o.Kind(), o.GetMeta().Name)
}

// edited puts back what an edit cannot change.
func (c *Control) edited(o vnet.Object, was vnet.Meta) {
	m := o.GetMeta()
	name, tags := m.Name, m.Tags
	*m = was
	m.Name, m.Tags = name, tags
	m.Generation++
	m.Updated = c.now().UTC()
}

// Delete removes an object and what belongs to it; what others depend on is
// ErrInUse. It returns the revision at which the object was gone.
func (c *Control) Delete(ctx context.Context, who Identity, sel Selector, ifMatch int64) (int64, error) {
	op := string(sel.Kind) + " delete"
	n, err := c.noun(sel.Kind)
	if err != nil {
		return 0, inOp(err, op)
	}
	var rev int64
	err = c.repeat(ctx, &draft{who: who}, func(d *draft) error {
		if err := c.load(ctx, d, sel, ifMatch); err != nil {
			return err
		}
		d.o = nil
		m := d.old.GetMeta()
		d.change.Delete = append(d.change.Delete, vnet.Deletion{Ref: vnet.RefOf(d.old), Revision: m.Revision})
		if err := n.remove(ctx, d); err != nil {
			return err
		}
		d.note(c, d.old, "deleted")
		rev, err = c.store.Commit(ctx, &d.change)
		return err
	})
	return rev, inOp(err, op)
}

// run prepares d and commits it, again and again while others are faster or
// what was picked is taken, and returns the object completed for reading.
func (c *Control) run(ctx context.Context, d *draft, prepare func(*draft) error) (vnet.Object, error) {
	err := c.repeat(ctx, d, func(d *draft) error {
		if err := prepare(d); err != nil {
			return err
		}
		what := "changed"
		if d.old == nil {
			what = "created"
		}
		d.change.Put = append(d.change.Put, d.o)
		d.note(c, d.o, what)
		rev, err := c.store.Commit(ctx, &d.change)
		if err == nil {
			d.o.GetMeta().Revision = rev
			c.committed(d, rev)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return d.o, c.fill(ctx, d.o)
}

// repeat calls f until it succeeds, fails for good, or has been tried enough.
func (c *Control) repeat(ctx context.Context, d *draft, f func(*draft) error) error {
	d.clashed = map[string]bool{}
	for {
		d.change, d.chosen = vnet.Change{}, map[string]bool{}
		err := f(d)
		if len(d.change.Scopes) > 0 {
			c.admit.Unlock() // see scope
		}
		if err == nil || d.attempt == verbAttempts || ctx.Err() != nil || !d.again(err) {
			return clearer(d, err)
		}
		d.attempt++
	}
}

// again says whether starting anew may help against the error.
func (d *draft) again(err error) bool {
	e, ok := err.(*vnet.Error)
	if !ok {
		return false
	}
	switch e.Kind {
	case vnet.ErrConflict:
		return e.Op != finalOp
	case vnet.ErrOverlap:
		// Another one cut the same piece between our two looks.
		return d.chosen[e.Field] && d.attempt < 5
	case vnet.ErrExists:
		d.clashed[e.Field] = true
		return d.chosen[e.Field]
	}
	return false
}

// finalOp marks an ErrConflict that trying again does not mend.
const finalOp = "final"

// clearer says in the words of the noun that a name is taken.
func clearer(d *draft, err error) error {
	e, ok := err.(*vnet.Error)
	if !ok || d.o == nil {
		return err
	}
	switch {
	case e.Kind == vnet.ErrExists && e.Field == "name":
		n := vnet.Errorf(vnet.ErrExists, "there is a %s %q already", d.o.Kind(), d.o.GetMeta().Name).WithHint("choose another name")
		n.Field, n.Ref = "name", e.Ref
		return n
	case e.Kind == vnet.ErrExists && e.Hint == "":
		n := *e
		n.Msg = addressIn(d.o, e.Msg)
		return n.WithHint("choose another one")
	}
	return err
}

// addressIn puts the address that was asked for where the store, which knows
// of host parts only, speaks of one.
func addressIn(o vnet.Object, msg string) string {
	asked := map[uint64]netip.Addr{}
	switch o := o.(type) {
	case *vnet.Port:
		for i, a := range o.Addresses {
			if i < len(o.Fixed) { // what was asked for comes first
				asked[o.Fixed[i].Host] = a
			}
		}
	case *vnet.Reservation:
		asked[o.Fixed.Host] = o.Address
	}
	for host, a := range asked {
		if rest, ok := strings.CutPrefix(msg, fmt.Sprintf("the address with host part 0x%x ", host)); ok && a.IsValid() {
			return a.String() + " " + rest
		}
	}
	return msg
}

// inOp says which verb failed.
func inOp(err error, op string) error {
	e, ok := err.(*vnet.Error)
	if !ok || e == nil {
		return err
	}
	c := *e
	if c.Op == "" || c.Op == finalOp || c.Kind != vnet.ErrUnavailable {
		c.Op = op
	}
	return &c
}

// note adds an event to the change.
func (d *draft) note(c *Control, o vnet.Object, what string) {
	m := o.GetMeta()
	name := m.Name
	if name == "" {
		name = string(m.ID)
	}
	now := c.now().UTC()
	e := &vnet.Event{Time: now, Host: c.host, Target: vnet.RefOf(o), What: what, Msg: fmt.Sprintf("%s %s %s", o.Kind(), name, what)}
	e.ID, e.Project = vnet.EventID(now, c.random()), m.Project
	if d.who.User != "" {
		e.Msg += " by " + d.who.User
	}
	d.change.Put = append(d.change.Put, e)
}

// newID makes a random ID.
func (c *Control) newID() vnet.ID {
	u, err := uuid.NewRandomFromReader(c.rand)
	if err != nil {
		panic(fmt.Sprintf("no random numbers: %v", err)) // the system's never fail
	}
	return vnet.ID(u.String())
}

// random returns 64 random bits.
func (c *Control) random() uint64 {
	var b [8]byte
	if _, err := io.ReadFull(c.rand, b[:]); err != nil {
		panic(fmt.Sprintf("no random numbers: %v", err))
	}
	return binary.BigEndian.Uint64(b[:])
}

// clone copies an object through its JSON form, revision included.
func clone(o vnet.Object) (vnet.Object, error) {
	b, err := json.Marshal(o)
	if err != nil {
		e := vnet.Invalid("", "this %s cannot be written as JSON", o.Kind())
		e.Err = err
		return nil, e
	}
	return vnet.DecodeObject(o.Kind(), b)
}

// validate fills in defaults and checks.
func validate(o vnet.Object) error {
	if d, ok := o.(interface{ SetDefaults() }); ok {
		d.SetDefaults()
	}
	if v, ok := o.(interface{ Validate() error }); ok {
		return v.Validate()
	}
	return nil
}
