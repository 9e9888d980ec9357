package attach

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Options are what tests put in the place of the host's own, and who is told.
type Options struct {
	Run  fs.FS  // /run, where programs say what they manage
	Proc fs.FS  // /proc, where DHCP clients are found
	Boot string // the kernel's boot_id
	// Step is called after each step; its error has everything moved back.
	Step func(name string) error
	// Moved is called when a link has the settings of another one.
	Moved func(from, to string)
	Now   func() time.Time
	// SinceBoot is the time since the host was started, sleep included.
	SinceBoot func() time.Duration
}

// Host shares the NICs of one host. It is safe for concurrent use; what is
// moved is moved one after the other.
type Host struct {
	spaces *netns.Set
	dir    string
	opt    Options

	mu  sync.Mutex
	rec *record
}

// New returns the host that spaces stands on; dir is where the record is kept.
// Recover comes before anything else.
func New(spaces *netns.Set, dir string, opt Options) (*Host, error) {
	if opt.Run == nil {
		opt.Run = os.DirFS("/run")
	}
	if opt.Proc == nil {
		opt.Proc = os.DirFS("/proc")
	}
	if opt.Step == nil {
		opt.Step = func(string) error { return nil }
	}
	if opt.Moved == nil {
		opt.Moved = func(string, string) {}
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.SinceBoot == nil {
		opt.SinceBoot = sinceBoot
	}
	if opt.Boot == "" {
		boot, err := bootID()
		if err != nil {
			return nil, err
		}
		opt.Boot = boot
	}
	rec, err := load(dir, opt.Boot)
	if err != nil {
		return nil, err
	}
	return &Host{spaces: spaces, dir: dir, opt: opt, rec: rec}, nil
}

// Share puts the NIC into a bridge of ours, which from then on carries what the
// NIC carried. With a deadline it is undone then, unless Set confirms it. If
// anything fails, everything is moved back at once.
func (h *Host) Share(ctx context.Context, nic string, until time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	c, err := h.spaces.Conn("")
	if err != nil {
		return err
	}
	if e := h.rec.NICs[nic]; e != nil && e.Phase == phaseShared {
		return nil
	}
	d, err := h.fit(c, nic)
	if err != nil {
		return err
	}
	e := &entry{Phase: phaseMoving, Bridge: BridgeName(nic, taken(c)), Index: d.index, MAC: d.mac, Until: until, Clock: h.clockAt(until)}
	if e.Was, err = h.read(c, d.index, nic); err != nil {
		return kernelError("read what "+nic+" carries", err)
	}
	if err := steady(nic, e.Was); err != nil {
		return err
	}
	_ = h.spaces.Do("", func() error { e.Settings = readSettings(nic); return nil })
	answered, err := answering(ctx, c, d.index, e.Was.gateways(), probeFirst)
	if err != nil {
		return kernelError("ask the gateways on "+nic, err)
	}
	if e.Was, err = h.read(c, d.index, nic); err != nil { // with who has answered just now
		return kernelError("read what "+nic+" carries", err)
	}
	h.rec.NICs[nic] = e
	if err := h.rec.save(h.dir); err != nil {
		delete(h.rec.NICs, nic)
		return err
	}
	if err := h.onto(ctx, d, e, answered); err != nil {
		err = kernelError("share "+nic, err)
		back := h.backTo(nic, e)
		h.ended(nic, e, back, err.Error())
		return errors.Join(err, back)
	}
	e.Phase, e.Was = phaseShared, nil
	return h.rec.save(h.dir)
}

// ended writes down that an attempt is over; if the way back failed, the record
// stays as it is, to be tried again.
func (h *Host) ended(nic string, e *entry, failed error, why string) {
	if failed == nil {
		h.rec.NICs[nic] = &entry{Phase: phaseOver, Bridge: e.Bridge, Until: e.Until, Why: why}
		if e.Until.IsZero() {
			delete(h.rec.NICs, nic)
		}
	}
	_ = h.rec.save(h.dir) // in memory it holds; on disk the older one leads to the same
}

// Unshare moves everything back to the NIC and removes the bridge. What is over
// with it is remembered if it was never confirmed.
func (h *Host) Unshare(nic, why string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.rec.NICs[nic]
	if e == nil || e.Phase == phaseOver {
		return nil
	}
	e.Phase = phaseBack
	if err := h.rec.save(h.dir); err != nil {
		return err
	}
	err := h.backTo(nic, e)
	h.ended(nic, e, err, why)
	return kernelError("move "+e.Bridge+" back to "+nic, err)
}

// Recover ends what was interrupted: the NIC gets back what it had. It returns
// the NICs of which that is true, and those whose time to confirm went by.
func (h *Host) Recover() (ended []Shared, err error) {
	h.mu.Lock()
	h.adopt()
	var todo []string
	for _, nic := range slices.Sorted(maps.Keys(h.rec.NICs)) {
		e := h.rec.NICs[nic]
		if e.Phase == phaseMoving || e.Phase == phaseBack || e.Phase == phaseShared && h.lapsed(e) {
			todo = append(todo, nic)
		}
	}
	h.mu.Unlock()
	var errs []error
	for _, nic := range todo {
		h.mu.Lock()
		e := h.rec.NICs[nic]
		why := "it was interrupted"
		if e.Phase == phaseShared {
			why = "it was not confirmed in time"
		}
		back := h.backTo(nic, e)
		h.ended(nic, e, back, why)
		h.mu.Unlock()
		ended = append(ended, Shared{NIC: nic, Until: e.Until, Ended: true, Why: why})
		errs = append(errs, kernelError("move back to "+nic, back))
	}
	return ended, errors.Join(errs...)
}

// adopt takes over bridges with our mark of which the record knows nothing, for
// example since the state directory was emptied.
func (h *Host) adopt() {
	c, err := h.spaces.Conn("")
	if err != nil {
		return
	}
	all, err := devices(c)
	if err != nil {
		return
	}
	for _, d := range all {
		nic := nicOf(d.alias)
		if nic == "" || d.kind != "bridge" || h.rec.NICs[nic] != nil && h.rec.NICs[nic].Phase != phaseOver {
			continue
		}
		e := &entry{Phase: phaseShared, Bridge: d.name}
		if n, found, _ := ask(c, nic, 0); found {
			e.Index, e.MAC = n.index, n.mac
		}
		_ = h.spaces.Do("", func() error { e.Settings = readSettings(d.name); return nil }) // which it had from the NIC
		h.rec.NICs[nic] = e
	}
}

// Mend puts a NIC that was unplugged and came back into its bridge again.
func (h *Host) Mend(nic string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.rec.NICs[nic]
	if e == nil || e.Phase != phaseShared {
		return nil
	}
	c, err := h.spaces.Conn("")
	if err != nil {
		return err
	}
	b, found, err := ask(c, e.Bridge, 0)
	d, here, err2 := ask(c, nic, 0)
	if err := errors.Join(err, err2); err != nil || !found || !here || d.master != 0 {
		return err
	}
	_ = h.spaces.Do("", func() error { return writeSetting(nic, "ipv6/conf/disable_ipv6", "1") })
	return kernelError("put "+nic+" into "+e.Bridge, errors.Join(setMaster(c, d.index, b.index), setUp(c, d.index)))
}

// onto moves what the NIC carries onto a new bridge. At every moment the host
// has its addresses and routes on at least one of the two.
func (h *Host) onto(ctx context.Context, nic device, e *entry, answered map[netip.Addr]bool) error {
	c, err := h.spaces.Conn("")
	if err != nil {
		return err
	}
	if err := h.opt.Step("recorded"); err != nil {
		return err
	}
	if err := makeBridge(c, e.Bridge, nic); err != nil {
		return fmt.Errorf("make bridge %s: %w", e.Bridge, err)
	}
	b, found, err := ask(c, e.Bridge, 0)
	if err != nil || !found {
		return errors.Join(err, fmt.Errorf("bridge %s is gone", e.Bridge))
	}
	s := swap{nic.index, b.index, nic.name, b.name}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"made", func() error { return h.spaces.Do("", func() error { prepare(b.name, e.Settings); return nil }) }},
		{"up", func() error { return setUp(c, b.index) }},
		{"joined", func() error { return setMaster(c, nic.index, b.index) }},
		{"addresses", func() error { return addAddresses(c, e.Was, s) }},
		{"routes", func() error { addNeighbours(c, e.Was, s); return addRoutes(h.spaces, c, e.Was, s) }},
		{"rules", func() error { return moveRules(c, e.Was, s) }},
		{"stripped", func() error { return strip(c, e.Was, nic.index) }},
		{"settled", func() error {
			h.opt.Moved(nic.name, b.name)
			return h.spaces.Do("", func() error { settle(b.name, e.Settings); return quiet(nic.name) })
		}},
		{"verified", func() error { return h.verify(ctx, c, e.Was, s, answered) }},
	} {
		if err := step.do(); err != nil {
			return err
		}
		if err := h.opt.Step(step.name); err != nil {
			return err
		}
	}
	return nil
}

// verify looks whether the other link does what the one did.
func (h *Host) verify(ctx context.Context, c *netns.Conn, was *state, s swap, answered map[netip.Addr]bool) error {
	if err := carries(c, was, s); err != nil {
		return err
	}
	who := slices.Collect(maps.Keys(answered))
	who = slices.DeleteFunc(who, func(a netip.Addr) bool { return !answered[a] })
	now, err := answering(ctx, c, s.toIndex, who, probeAgain)
	if err != nil {
		return err
	}
	for _, a := range who {
		if !now[a] {
			return fmt.Errorf("the gateway %s does not answer on %s", a, s.to)
		}
	}
	return nil
}

// backTo moves what the bridge carries back to the NIC and removes the bridge,
// however far things were.
func (h *Host) backTo(nic string, e *entry) error {
	c, err := h.spaces.Conn("")
	if err != nil {
		return err
	}
	b, bridged, err := ask(c, e.Bridge, 0)
	if err != nil {
		return err
	}
	bridged = bridged && b.kind == "bridge" && (nicOf(b.alias) == nic || b.alias == "" && b.mac == e.MAC)
	d, plugged, err := ask(c, nic, 0)
	if err != nil {
		return err
	}
	if !plugged {
		if bridged {
			return remove(c, b.index)
		}
		return nil
	}
	carried := &state{}
	s := swap{b.index, d.index, e.Bridge, nic}
	if bridged {
		if carried, err = h.read(c, b.index, e.Bridge); err != nil {
			return err
		}
		if err := h.takeSettings(e); err != nil {
			return err
		}
		for i, m := range carried.Routes {
			if carried.Routes[i], err = apart(m, d.index); err != nil {
				return err
			}
		}
	}
	return h.giveBack(c, d, e, carried, s, bridged)
}

// takeSettings has the NIC get back what is set for the bridge now: somebody may
// have changed it since. That of an attempt that was not finished is not whole.
func (h *Host) takeSettings(e *entry) error {
	if e.Was != nil {
		return nil
	}
	var now map[string]string
	_ = h.spaces.Do("", func() error { now = readSettings(e.Bridge); return nil })
	if len(now) == 0 || maps.Equal(now, e.Settings) {
		return nil
	}
	e.Settings = now
	return h.rec.save(h.dir)
}

func (h *Host) giveBack(c *netns.Conn, nic device, e *entry, carried *state, s swap, bridged bool) error {
	err := h.spaces.Do("", func() error { prepare(nic.name, e.Settings); return nil })
	// One thing that cannot be moved must not keep the rest from it.
	errs := []error{err, setUp(c, nic.index), addAddresses(c, carried, s)}
	own := swap{nic.index, nic.index, nic.name, nic.name}
	if e.Was != nil { // of an attempt that was not finished
		errs = append(errs, addAddresses(c, e.Was, own))
	}
	addNeighbours(c, carried, s)
	errs = append(errs, addRoutes(h.spaces, c, carried, s))
	if e.Was != nil {
		errs = append(errs, addRoutes(h.spaces, c, e.Was, own), putRules(c, e.Was))
	}
	errs = append(errs, moveRules(c, carried, s), h.opt.Step("returned"))
	if err := errors.Join(errs...); err != nil {
		return err // the bridge stays, and what is on it
	}
	if bridged {
		// What is sent goes out by the NIC from now on, as a port as well as
		// without the bridge: whoever ends us here, the host is not cut off.
		if err := errors.Join(strip(c, carried, s.fromIndex), h.opt.Step("bare")); err != nil {
			return err
		}
		if nic.master == s.fromIndex {
			if err := errors.Join(setMaster(c, nic.index, 0), h.opt.Step("left")); err != nil {
				return err
			}
		}
		if err := remove(c, s.fromIndex); err != nil {
			return err
		}
	}
	if err := h.opt.Step("removed"); err != nil {
		return err
	}
	h.opt.Moved(e.Bridge, nic.name)
	return h.spaces.Do("", func() error { settle(nic.name, e.Settings); return nil })
}

func taken(c *netns.Conn) func(string) bool {
	return func(name string) bool {
		_, found, err := ask(c, name, 0)
		return found || err != nil
	}
}

// kernelError words what went wrong.
func kernelError(what string, err error) error {
	if err == nil {
		return nil
	}
	var own *vnet.Error
	if errors.As(err, &own) {
		return err
	}
	return vnet.Errorf(vnet.ErrHost, "%s: %s", what, strings.ReplaceAll(err.Error(), "\n", "; "))
}
