package agent

import (
	"cmp"
	"maps"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/uplink"
	"github.com/sextant-net/sextant/internal/uplink/given"
	"github.com/sextant-net/sextant/internal/uplink/owner"
	"github.com/sextant-net/sextant/internal/uplink/pd"
	"github.com/sextant-net/sextant/internal/vnet"
)

// uplinks is what the loop knows of the host's ways out beyond what the kernel
// says: which links are listened on, what was heard there, what is held.
type uplinks struct {
	links    *uplink.Links
	keep     *heldKeeper
	told     []uplink.Link                 // what links was last told
	asked    map[string]bool               // links that are listened on for as long as they exist
	heard    map[string]uplink.Facts       // as of the last change: what is held in it is kept on disk
	since    map[vnet.Family]time.Duration // when each family's way out became what it is, since boot
	reported []vnet.Uplink
	said     map[vnet.ID]saidOf            // of policies
	policies map[string]*vnet.UplinkPolicy // of this host, by link
	begun    time.Duration                 // of hearing, since boot; 0: it does not yet
	clocks   pd.Instant                    // up to when they were followed
	clockSet time.Duration                 // by how much since the deadlines in the store were written
}

// hearFirst is for how long after the begin what is held stays although nobody
// was heard to offer it: routers are asked within a second and answer within
// 3.5 (RFC 4861 sections 6.3.7 and 6.2.6), a DHCPv6 server may take a Solicit
// or three (RFC 9915 section 15: 1, 2 and 4 seconds).
const hearFirst = 10 * time.Second

// hearing is for how much longer it is too early to know what is offered; 0: it
// is known.
func (u *uplinks) hearing(boot time.Duration) time.Duration {
	if u.begun == 0 {
		return 0
	}
	return max(0, u.begun+hearFirst-boot)
}

func newUplinks(c *Config) *uplinks {
	u := &uplinks{keep: newHeldKeeper(c.StateDir, c.Log), asked: map[string]bool{}, heard: map[string]uplink.Facts{}, since: map[vnet.Family]time.Duration{},
		said: map[vnet.ID]saidOf{}}
	duid := c.UplinkDUID
	if len(duid) == 0 {
		duid = keptDUID(c.StateDir, c.Log)
	}
	held := u.keep.load(c.Now())
	for name := range held {
		u.asked[name] = true
	}
	u.clocks = c.UplinkClock()
	u.links = uplink.New(uplink.Config{
		DUID: duid, Held: held, Log: c.Log.With("part", "uplink"), Clock: c.UplinkClock,
		InNS: func(f func() error) error { return c.InNS("", f) },
	})
	return u
}

// setUplinks says which links are listened on and what is wished of each: every
// link that has or had a default route, for as long as it exists, and those
// that somebody wrote a policy for.
func (a *Agent) setUplinks() {
	if a.up.begun == 0 {
		if !a.settled {
			return // what is wished is not known yet: nothing must be given back
		}
		a.up.begun = max(a.cfg.UplinkClock().Boot, 1)
		a.askAgain(a.cfg.Now().Add(hearFirst))
	}
	policies := a.up.policies
	for name := range a.facts.Uplinks {
		a.up.asked[name] = true
	}
	names := map[string]bool{}
	for name := range a.up.asked {
		names[name] = true
	}
	for name := range policies {
		names[name] = true
	}
	var links []uplink.Link
	for _, name := range slices.Sorted(maps.Keys(names)) {
		p := policies[name]
		if name == vnet.AnyUplink {
			links = append(links, uplink.Link{Given: givenOf(p)})
			continue
		}
		l, there := a.facts.Links[name]
		if !there || name == "lo" || plan.SharedNIC(a.facts.Links[l.Master]) != "" || strings.HasPrefix(l.Alias, plan.AliasPrefix) {
			continue
		}
		links = append(links, uplink.Link{
			Name: name, Lower: plan.SharedNIC(l), Index: l.Index, MAC: l.MAC, Up: l.Up && l.Carrier,
			Ask: a.asks(p, name), Hint: hintOf(p), Given: givenOf(p),
		})
	}
	if reflect.DeepEqual(links, a.up.told) {
		return
	}
	was := a.up.told
	a.up.told = links
	a.up.links.Set(links)
	a.up.carry(was)
	for name := range a.up.heard {
		if !slices.ContainsFunc(links, func(l uplink.Link) bool { return l.Name == name }) {
			delete(a.up.heard, name)
		}
	}
	for _, l := range links { // what was kept counts before anybody has answered
		if _, known := a.up.heard[l.Name]; !known {
			a.up.heard[l.Name] = a.up.links.Facts(l.Name)
		}
	}
}

// carry takes what was told of links that have gone for told of those that took
// their place, with what is delegated there: a NIC and the bridge that has its
// addresses, which may both be there for a moment.
func (u *uplinks) carry(was []uplink.Link) {
	named := func(name string) bool {
		return slices.ContainsFunc(u.told, func(l uplink.Link) bool { return l.Name == name })
	}
	for _, gone := range was {
		if gone.Name == "" || named(gone.Name) {
			continue
		}
		for _, l := range u.told {
			if l.Name != "" && (l.Name == gone.Lower || l.Lower == gone.Name) {
				u.heard[l.Name] = u.links.Facts(l.Name)
			}
		}
	}
}

// policies are what is wished of this host's uplinks, by link.
func (a *Agent) policies() map[string]*vnet.UplinkPolicy {
	out := map[string]*vnet.UplinkPolicy{}
	for _, p := range a.snap.Uplinks {
		if p.Host == a.cfg.Host && p.Deleting == nil {
			out[p.Name] = p
		}
	}
	return out
}

// asks reports whether prefixes are asked for on a link. With auto, not where a
// DHCPv6 client of the host has a prefix whose pieces it gives to other links:
// the provider may delegate only one. Who holds one and does nothing with it, as
// systemd-networkd does unless told otherwise, is in nobody's way; and what we
// hold ourselves is not given up because another client comes.
func (a *Agent) asks(p *vnet.UplinkPolicy, name string) bool {
	switch {
	case p != nil && p.Ask == vnet.AskOff:
		return false
	case p != nil && p.Ask == vnet.AskOn, a.up.links.Held(name) != nil:
		return true
	}
	_, used := inUseByHost(a.facts)
	return !used
}

// inUseByHost returns a prefix that a DHCPv6 client of the host holds and gives
// pieces of to links of the host.
func inUseByHost(f *plan.Facts) (netip.Prefix, bool) {
	for _, p := range f.Delegated {
		for _, l := range f.Links {
			if _, uplink := f.Uplinks[l.Name]; uplink || l.Name == "lo" || strings.HasPrefix(l.Alias, plan.AliasPrefix) {
				continue
			}
			if slices.ContainsFunc(l.Addresses, func(a netip.Prefix) bool { return p.Contains(a.Addr()) }) {
				return p, true
			}
		}
	}
	return netip.Prefix{}, false
}

// hintOf is the length to ask for, not valid if the provider may choose.
func hintOf(p *vnet.UplinkPolicy) netip.Prefix {
	if p == nil || p.Hint < 1 || p.Hint > 64 {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), p.Hint)
}

// givenOf is where prefixes come from beside the provider.
func givenOf(p *vnet.UplinkPolicy) given.Wish {
	if p == nil {
		return given.Wish{}
	}
	return given.Wish{Prefixes: p.Prefixes, File: p.File, Command: p.Command, Every: p.Every.Std()}
}

// takeUplinks takes in what happened on the uplinks. What is held goes to the
// disk first: a prefix that guests have must not be forgotten by a crash, since
// nobody could tell them then that it is over.
func (a *Agent) takeUplinks(c uplink.Change) {
	if len(c.Held) > 0 {
		held := map[string]bool{}
		for _, name := range c.Held {
			held[name] = true
			a.up.keep.set(name, a.up.links.Held(name))
		}
		if err := a.up.keep.write(); err != nil {
			a.log.Warn("what providers delegated is not kept", "error", err)
		}
	}
	for _, n := range c.Notes {
		a.uplinkEvent(n.Link, "uplink", "%s", n.Text)
	}
	for _, name := range c.Facts {
		now := a.up.links.Facts(name)
		a.tellDelegations(name, a.up.heard[name], now)
		a.up.heard[name] = now
	}
	if len(c.Facts) > 0 {
		a.takeFacts()
	}
}

// uplinkEvent tells what happened on a link.
func (a *Agent) uplinkEvent(link, what, format string, args ...any) {
	if link == "" {
		link = vnet.AnyUplink
	}
	target := plan.HostOwner(a.cfg.Host)
	for id, p := range a.snap.Uplinks {
		if p.Host == a.cfg.Host && p.Name == link {
			target = vnet.Ref{Kind: vnet.KindUplink, ID: id}
		}
	}
	if target.Kind == vnet.KindHost {
		format, args = "uplink %s: "+format, append([]any{link}, args...)
	}
	a.event(target, what, format, args...)
}

// tellDelegations tells which prefixes came and went on a link, once each.
func (a *Agent) tellDelegations(link string, was, now uplink.Facts) {
	differ := func(a, b []vnet.Delegation) (out []vnet.Delegation) {
		for _, d := range a {
			if !slices.ContainsFunc(b, func(o vnet.Delegation) bool { return o.Prefix == d.Prefix && o.From == d.From }) {
				out = append(out, d)
			}
		}
		return out
	}
	came, went := differ(now.Delegations, was.Delegations), differ(was.Delegations, now.Delegations)
	if len(came) == 1 && len(went) == 1 {
		a.uplinkEvent(link, "delegation", "%v from %s takes the place of %v", came[0].Prefix, cmp.Or(came[0].From, "somewhere"), went[0].Prefix)
		return
	}
	for _, d := range came {
		if n, p := a.fixedIn(d.Prefix); n != "" {
			a.uplinkEvent(link, "problem", "%v, from %s, overlaps %v of network %s, which stays: other networks get what is left of it", d.Prefix, cmp.Or(d.From, "somewhere"), p, n)
		}
		a.uplinkEvent(link, "delegation", "%v may be used for guests, from %s", d.Prefix, cmp.Or(d.From, "somewhere"))
	}
	for _, d := range went {
		a.uplinkEvent(link, "delegation", "%v is not ours any more, from %s", d.Prefix, cmp.Or(d.From, "somewhere"))
	}
}

// fixedIn finds a network whose prefix does not move and overlaps another.
func (a *Agent) fixedIn(p netip.Prefix) (name string, fixed netip.Prefix) {
	for _, s := range a.snap.Subnets {
		if n := a.snap.Networks[s.Network]; n != nil && s.Source == vnet.SourceFixed && s.Prefix.IsValid() && s.Prefix.Overlaps(p) &&
			(name == "" || s.Prefix.Compare(fixed) < 0) {
			name, fixed = n.Name, s.Prefix
		}
	}
	return name, fixed
}

// newest is what is known of a link: what was told of it, with the deadlines of
// the moment.
func (u *uplinks) newest(link string) uplink.Facts {
	told, now := u.heard[link], u.links.Facts(link)
	out := uplink.Facts{Routers: now.Routers, Problem: now.Problem}
	for _, d := range told.Delegations {
		for _, n := range now.Delegations {
			if n.Prefix == d.Prefix && n.From == d.From {
				d.Since, d.PreferredUntil, d.ValidUntil = n.Since, n.PreferredUntil, n.ValidUntil
			}
		}
		out.Delegations = append(out.Delegations, d)
	}
	return out
}

// managerOf says who manages a link, "" if nobody is known.
func managerOf(l plan.Link) string { return string(owner.Of(os.DirFS("/run"), l.Name, l.Index)) }
