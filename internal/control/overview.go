package control

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Overview is the state of an installation in short.
type Overview struct {
	Version string `json:"version"`
	Host    string `json:"host" doc:"the host that answers"`
	// Ready says that the store and this host's agent answer: see Control.Ready.
	Ready    bool              `json:"ready"`
	ULA      netip.Prefix      `json:"ula,omitzero" doc:"the installation's /48"`
	Networks []NetworkOverview `json:"networks"`
	Hosts    []*vnet.Host      `json:"hosts,omitempty"`
	Statuses []*vnet.Status    `json:"statuses,omitempty"`
	// Problems are those of this host; the networks' are with them.
	Problems []vnet.Problem `json:"problems,omitempty"`
}

// NetworkOverview is the state of one network on this host.
type NetworkOverview struct {
	ID       vnet.ID        `json:"id"`
	Name     string         `json:"name"`
	Project  vnet.ID        `json:"project"`
	Started  bool           `json:"started"`
	State    vnet.State     `json:"state"`
	Bridge   string         `json:"bridge,omitempty"`
	MTU      int            `json:"mtu,omitempty"`
	Mode4    vnet.Egress    `json:"mode4"`
	Mode6    vnet.Egress    `json:"mode6"`
	Rung4    vnet.Egress    `json:"rung4,omitempty" doc:"what auto came to"`
	Rung6    vnet.Egress    `json:"rung6,omitempty"`
	Why4     string         `json:"why4,omitempty"`
	Why6     string         `json:"why6,omitempty"`
	Prefixes []netip.Prefix `json:"prefixes,omitempty" doc:"gateway addresses in service"`
	Problems []vnet.Problem `json:"problems,omitempty"`
}

// readyTime is how long the agent may take to answer that it is ready. It
// answers between two passes of its work.
const readyTime = 5 * time.Second

// Ready returns nil when the store answers, and this host's agent does and has
// taken in what is wished.
func (c *Control) Ready(ctx context.Context) error {
	_, err := c.store.Get(ctx, vnet.Ref{Kind: vnet.KindHost, ID: vnet.ID(c.host)})
	if vnet.Is(err, vnet.ErrNotFound) {
		return c.notReady("has not reported yet")
	}
	if err != nil || c.asker == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	_, err = c.asker.Ask(ctx, Question{Host: c.host, Verb: "ready"})
	switch {
	case err == nil, vnet.Is(err, vnet.ErrUnsupported): // an agent of an earlier build
		return nil
	case ctx.Err() != nil:
		return c.notReady("does not answer")
	}
	c.log.Debug("the agent is not ready", "err", err)
	return c.notReady("is away")
}

func (c *Control) notReady(what string) error {
	return vnet.Errorf(vnet.ErrUnavailable, "the agent of host %s %s", c.host, what).
		WithHint("wait, or see the daemon's log: journalctl -u sextant")
}

// Status returns the overview of what the caller may see.
func (c *Control) Status(ctx context.Context, who Identity) (*Overview, error) {
	out := &Overview{Version: c.version, Host: c.host, Networks: []NetworkOverview{}}
	inst, err := c.installation(ctx)
	if err != nil && !vnet.Is(err, vnet.ErrNotFound) {
		return nil, err
	}
	if inst != nil {
		out.ULA = inst.ULA
	}
	out.Ready = c.Ready(ctx) == nil
	if err := c.overviewHosts(ctx, who, out); err != nil {
		return nil, err
	}
	nets, err := c.List(ctx, who, Query{Kind: vnet.KindNetwork, AllProjects: true})
	if err != nil {
		return nil, err
	}
	l, err := c.store.List(ctx, vnet.Query{Kind: vnet.KindStatus})
	if err != nil {
		return nil, err
	}
	here := map[vnet.Ref]*vnet.Status{}
	for _, o := range l.Items {
		s := o.(*vnet.Status)
		if s.Host == c.host {
			here[s.Target] = s
		}
		if who.Admin {
			out.Statuses = append(out.Statuses, s)
		}
	}
	for _, o := range nets.Items {
		n := o.(*vnet.Network)
		out.Networks = append(out.Networks, overviewOf(n, here[vnet.RefOf(n)]))
	}
	slices.SortFunc(out.Networks, func(a, b NetworkOverview) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

func (c *Control) overviewHosts(ctx context.Context, who Identity, out *Overview) error {
	l, err := c.store.List(ctx, vnet.Query{Kind: vnet.KindHost})
	if err != nil {
		return err
	}
	for _, o := range l.Items {
		h := o.(*vnet.Host)
		if string(h.ID) == c.host {
			out.Problems = h.Facts.Problems
		}
		if who.Admin {
			out.Hosts = append(out.Hosts, h)
		}
	}
	return nil
}

func overviewOf(n *vnet.Network, s *vnet.Status) NetworkOverview {
	out := NetworkOverview{
		ID: n.ID, Name: n.Name, Project: n.Project, Started: n.Started != nil && *n.Started, Bridge: n.Bridge, MTU: n.MTU,
		Mode4: n.IPv4.Mode, Mode6: n.IPv6.Mode, State: vnet.StatePending,
	}
	if !out.Started {
		out.State = vnet.StateStopped
	}
	if s == nil {
		return out
	}
	out.State, out.Problems, out.Prefixes = s.State, s.Problems, s.Prefixes
	out.Rung4, out.Rung6, out.Why4, out.Why6 = s.Rung4, s.Rung6, s.Why4, s.Why6
	out.Bridge, out.MTU = cmp.Or(s.Bridge, out.Bridge), cmp.Or(s.MTU, out.MTU)
	return out
}

// PrefixUse is a prefix in use.
type PrefixUse struct {
	Prefix         netip.Prefix     `json:"prefix"`
	Network        string           `json:"network,omitempty"`
	Subnet         vnet.ID          `json:"subnet,omitempty"`
	Source         vnet.Source      `json:"source,omitempty"`
	State          vnet.PrefixState `json:"state,omitempty"`
	PreferredUntil time.Time        `json:"preferredUntil,omitzero" doc:"absent: no end in sight"`
	ValidUntil     time.Time        `json:"validUntil,omitzero"`
	Host           string           `json:"host,omitempty" doc:"of a prefix that was chosen on a host"`
	Uplink         string           `json:"uplink,omitempty" doc:"the link that carries it"`
	Rung           vnet.Egress      `json:"rung,omitempty" doc:"how the network that has it reaches the outside"`
	From           string           `json:"from,omitempty" doc:"who gave it to the host"`
}

// PrefixUnused is the state of a prefix that a host holds for networks and of
// which none has a part.
const PrefixUnused vnet.PrefixState = "unused"

// Prefixes lists every prefix in use, in order of address: those of subnets,
// those that were taken away and that guests may still use, and those that
// hosts hold for subnets whose prefix moves, and those that were delegated to
// hosts, used or not.
func (c *Control) Prefixes(ctx context.Context, who Identity) ([]PrefixUse, error) {
	nets, err := c.store.List(ctx, vnet.Query{Kind: vnet.KindNetwork})
	if err != nil {
		return nil, err
	}
	names := map[vnet.ID]string{}
	out := []PrefixUse{}
	for _, o := range nets.Items {
		n := o.(*vnet.Network)
		if !who.may(n.Project) {
			continue
		}
		names[n.ID] = n.Name
		for _, r := range n.Retired {
			if c.now().Before(r.Until) {
				out = append(out, PrefixUse{Prefix: r.Prefix, Network: n.Name, Subnet: r.Subnet, State: vnet.PrefixDeprecated,
					PreferredUntil: r.Since, ValidUntil: r.Until})
			}
		}
	}
	subs, err := c.store.List(ctx, vnet.Query{Kind: vnet.KindSubnet})
	if err != nil {
		return nil, err
	}
	source := map[vnet.ID]vnet.Source{}
	for _, o := range subs.Items {
		s := o.(*vnet.Subnet)
		source[s.ID] = s.Source
		if name, ok := names[s.Network]; ok && s.Prefix.IsValid() && !s.Source.Moves() {
			out = append(out, PrefixUse{Prefix: s.Prefix, Network: name, Subnet: s.ID, Source: s.Source, State: vnet.PrefixActive})
		}
	}
	as, err := c.store.List(ctx, vnet.Query{Kind: vnet.KindAssignment})
	if err != nil {
		return nil, err
	}
	for _, o := range as.Items {
		a := o.(*vnet.PrefixAssignment)
		if name, ok := names[a.Network]; ok {
			out = append(out, PrefixUse{Prefix: a.Prefix, Network: name, Subnet: a.Subnet, Source: sourceOf(a, source[a.Subnet]), State: a.State,
				PreferredUntil: a.PreferredUntil, ValidUntil: a.ValidUntil, Host: a.Host, Uplink: a.Uplink, Rung: a.Rung})
		}
	}
	delegated, err := c.delegated(ctx, as.Items)
	if err != nil {
		return nil, err
	}
	out = append(out, delegated...)
	slices.SortFunc(out, func(a, b PrefixUse) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()), cmp.Compare(a.Network, b.Network))
	})
	return out, nil
}

// sourceOf is where an assignment's prefix comes from: a network of mode auto
// has prefixes of its uplink in a subnet whose own is another.
func sourceOf(a *vnet.PrefixAssignment, subnet vnet.Source) vnet.Source {
	switch a.Rung {
	case vnet.EgressDelegated, vnet.EgressNPTv6:
		return vnet.SourceDelegated
	case vnet.EgressProxied:
		return vnet.SourceProxied
	}
	return subnet
}

// delegated lists what was delegated to hosts as a whole. Assigned are the
// pieces of it that networks have.
func (c *Control) delegated(ctx context.Context, assigned []vnet.Object) ([]PrefixUse, error) {
	hosts, err := c.store.List(ctx, vnet.Query{Kind: vnet.KindHost})
	if err != nil {
		return nil, err
	}
	var out []PrefixUse
	for _, o := range hosts.Items {
		h := o.(*vnet.Host)
		for _, u := range h.Facts.Uplinks {
			for _, d := range u.Delegations {
				p := PrefixUse{Prefix: d.Prefix, Source: vnet.SourceDelegated, State: PrefixUnused, PreferredUntil: d.PreferredUntil,
					ValidUntil: d.ValidUntil, Host: string(h.ID), Uplink: u.Name, From: d.From}
				if slices.ContainsFunc(assigned, func(o vnet.Object) bool {
					a := o.(*vnet.PrefixAssignment)
					return a.Host == p.Host && a.State == vnet.PrefixActive && d.Prefix.Overlaps(a.Prefix)
				}) {
					p.State = vnet.PrefixActive
				}
				out = append(out, p)
			}
		}
	}
	return out, nil
}
