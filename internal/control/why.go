package control

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Reason is one thing that an address has to do with.
type Reason struct {
	Ref     vnet.Ref     `json:"ref"`
	Name    string       `json:"name,omitempty"`
	Network string       `json:"network,omitempty"`
	Text    string       `json:"text" doc:"one sentence"`
	Address netip.Addr   `json:"address,omitzero"`
	Prefix  netip.Prefix `json:"prefix,omitzero"`
	MAC     vnet.MAC     `json:"mac,omitzero"`
	Expires time.Time    `json:"expires,omitzero"`
}

// Why says who has an address and why, the most particular reason first: the
// port or reservation that owns it, the lease that was given or seen, the
// gateway it is, the subnet it lies in, also in a prefix of an uplink, the host
// that uses it or was delegated what it lies in.
func (c *Control) Why(ctx context.Context, who Identity, a netip.Addr) ([]Reason, error) {
	if !a.IsValid() {
		return nil, vnet.Invalid("address", "the address is missing")
	}
	a = a.WithZone("").Unmap()
	w := &whyer{c: c, who: who, a: a, f: newFiller(c, true), moving: map[vnet.ID][]*vnet.PrefixAssignment{}}
	if err := w.assigned(ctx); err != nil {
		return nil, err
	}
	if err := w.networks(ctx); err != nil {
		return nil, err
	}
	if err := w.uplinks(ctx); err != nil {
		return nil, err
	}
	return append(append(w.owners, w.leases...), w.rest...), nil
}

// whyer collects reasons.
type whyer struct {
	c                    *Control
	who                  Identity
	a                    netip.Addr
	f                    *filler
	owners, leases, rest []Reason
	// moving are the prefixes of uplinks and of hosts' choice that the address
	// lies in, by subnet: a subnet may have several.
	moving map[vnet.ID][]*vnet.PrefixAssignment
}

func (w *whyer) assigned(ctx context.Context) error {
	l, err := w.c.store.List(ctx, vnet.Query{Kind: vnet.KindAssignment})
	if err != nil {
		return err
	}
	for _, o := range l.Items {
		if a := o.(*vnet.PrefixAssignment); a.Prefix.Contains(w.a) {
			w.moving[a.Subnet] = append(w.moving[a.Subnet], a)
		}
	}
	return nil
}

func (w *whyer) networks(ctx context.Context) error {
	l, err := w.c.store.List(ctx, vnet.Query{Kind: vnet.KindNetwork})
	if err != nil {
		return err
	}
	for _, o := range l.Items {
		n := o.(*vnet.Network)
		if !w.who.may(n.Project) {
			continue
		}
		if err := w.f.load(ctx, n.ID); err != nil {
			return err
		}
		inside, err := w.subnets(ctx, n)
		if err != nil {
			return err
		}
		// A link-local address may be anywhere; others lie in a subnet, or
		// were seen outside of all.
		if inside || w.a.IsLinkLocalUnicast() {
			if err := w.fixed(ctx, n); err != nil {
				return err
			}
		}
		if err := w.seen(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (w *whyer) subnets(ctx context.Context, n *vnet.Network) (inside bool, err error) {
	for _, s := range w.f.subs[n.ID] {
		p, err := w.f.prefix(ctx, s)
		if err != nil {
			return false, err
		}
		inside = w.inMoving(n, s, p) || inside
		if !p.IsValid() || !p.Contains(w.a) {
			continue
		}
		inside = true
		r := Reason{Ref: vnet.RefOf(s), Name: s.Name, Network: n.Name, Prefix: p}
		if w.a == s.GatewayAddr(p) {
			g := r
			g.Ref, g.Name, g.Address, g.MAC = vnet.RefOf(n), n.Name, w.a, n.MAC
			g.Text = fmt.Sprintf("it is the gateway of network %s", n.Name)
			w.owners = append(w.owners, g)
		}
		r.Text = fmt.Sprintf("it lies in %s of network %s (source %s)", p, n.Name, s.Source)
		w.rest = append(w.rest, r)
	}
	return inside, nil
}

// inMoving says which prefixes of a subnet beside its own the address lies in.
func (w *whyer) inMoving(n *vnet.Network, s *vnet.Subnet, own netip.Prefix) (inside bool) {
	for _, a := range w.moving[s.ID] {
		if a.Prefix == own {
			continue
		}
		inside = true
		r := Reason{Ref: vnet.RefOf(s), Name: s.Name, Network: n.Name, Prefix: a.Prefix, Expires: a.ValidUntil}
		if a.Rung != vnet.EgressProxied && a.Rung != vnet.EgressNPTv6 && w.a == s.GatewayAddr(a.Prefix) {
			w.owners = append(w.owners, Reason{Ref: vnet.RefOf(n), Name: n.Name, Network: n.Name, Prefix: a.Prefix, Address: w.a, MAC: n.MAC,
				Text: fmt.Sprintf("it is the gateway of network %s on host %s", n.Name, a.Host)})
		}
		r.Text = fmt.Sprintf("it lies in %s of network %s on host %s", a.Prefix, n.Name, a.Host)
		if a.Uplink != "" {
			r.Text += fmt.Sprintf(" (%s over %s)", a.Rung, a.Uplink)
		}
		if a.State == vnet.PrefixDeprecated {
			r.Text += fmt.Sprintf(", which takes no new use and ends at %s", a.ValidUntil.UTC().Format(time.RFC3339))
		}
		w.rest = append(w.rest, r)
	}
	return inside
}

// completes reports whether a fixed address is the one asked for, in any prefix
// of its subnet.
func (w *whyer) completes(f vnet.FixedAddress) bool {
	if f.Address == w.a {
		return true
	}
	for _, a := range w.moving[f.Subnet] {
		if full, err := ipam.Join(a.Prefix, f.Host); err == nil && full == w.a {
			return true
		}
	}
	return false
}

func (w *whyer) fixed(ctx context.Context, n *vnet.Network) error {
	for _, k := range []vnet.Kind{vnet.KindPort, vnet.KindReservation} {
		l, err := w.c.store.List(ctx, vnet.Query{Kind: k, Network: n.ID})
		if err != nil {
			return err
		}
		for _, o := range l.Items {
			r := Reason{Ref: vnet.RefOf(o), Name: o.GetMeta().Name, Network: n.Name, Address: w.a}
			for _, f := range fixedOf(o) {
				if err := w.f.address(ctx, n.ID, &f); err != nil {
					return err
				}
				if !w.completes(f) {
					continue
				}
				switch o := o.(type) {
				case *vnet.Port:
					r.MAC, r.Text = o.MAC, fmt.Sprintf("port %s (%s) owns it", o.Name, o.MAC)
				case *vnet.Reservation:
					r.MAC, r.Text = o.MAC, fmt.Sprintf("it is reserved for %s", reservedFor(o))
				}
				w.owners = append(w.owners, r)
			}
			if p, ok := o.(*vnet.Port); ok {
				for _, allowed := range p.Allowed {
					if allowed.Contains(w.a) {
						r.MAC, r.Prefix, r.Text = p.MAC, allowed, fmt.Sprintf("port %s may use it (allowed %s)", p.Name, allowed)
						w.owners = append(w.owners, r)
					}
				}
			}
		}
	}
	return nil
}

func reservedFor(r *vnet.Reservation) string {
	switch {
	case !r.MAC.IsZero():
		return r.MAC.String()
	case r.DUID != "":
		return "DUID " + r.DUID
	}
	return "the client " + r.Client
}

// seen looks for the lease of the address, and for prefixes that were delegated
// and that it lies in.
func (w *whyer) seen(ctx context.Context, n *vnet.Network) error {
	at := []netip.Addr{w.a}
	for _, s := range w.f.subs[n.ID] {
		if s.Delegate == 0 || !s.Prefix.Contains(w.a) {
			continue
		}
		if p, err := w.a.Prefix(s.Delegate); err == nil && p.Addr() != w.a {
			at = append(at, p.Addr())
		}
	}
	for _, a := range at {
		l, err := w.c.store.List(ctx, vnet.Query{Kind: vnet.KindLease, Network: n.ID, Name: a.String()})
		if err != nil {
			return err
		}
		for _, o := range l.Items {
			w.lease(n, o.(*vnet.Lease))
		}
	}
	return nil
}

func (w *whyer) lease(n *vnet.Network, lease *vnet.Lease) {
	r := Reason{Ref: vnet.RefOf(lease), Name: lease.Hostname, Network: n.Name, Address: w.a, MAC: lease.MAC, Expires: lease.Expires}
	switch {
	case lease.Length > 0:
		r.Prefix = lease.Prefix()
		if !r.Prefix.Contains(w.a) {
			return
		}
		r.Text = fmt.Sprintf("it lies in %s, which %s has by %s on network %s", r.Prefix, lease.MAC, lease.How, n.Name)
	case lease.Address != w.a:
		return
	case lease.Declined:
		r.Text = fmt.Sprintf("a guest found it in use by somebody else; it is not given until %s", lease.Expires.Format(time.RFC3339))
	case lease.How == vnet.HowDHCPv4, lease.How == vnet.HowDHCPv6:
		r.Text = fmt.Sprintf("%s has it by %s on network %s", lease.MAC, lease.How, n.Name)
	default:
		r.Text = fmt.Sprintf("%s was seen to use it (%s) on network %s", lease.MAC, lease.How, n.Name)
	}
	w.leases = append(w.leases, r)
}

// givenBy says where a delegation comes from, if that is known.
func givenBy(d vnet.Delegation) string {
	if d.From == "" {
		return ""
	}
	return fmt.Sprintf(" (from %s)", d.From)
}

func (w *whyer) uplinks(ctx context.Context) error {
	l, err := w.c.store.List(ctx, vnet.Query{Kind: vnet.KindHost})
	if err != nil {
		return err
	}
	for _, o := range l.Items {
		h := o.(*vnet.Host)
		for _, u := range h.Facts.Uplinks {
			for _, p := range u.Addresses {
				if p.Addr() == w.a {
					w.owners = append(w.owners, Reason{Ref: vnet.RefOf(h), Name: string(h.ID), Address: w.a, Prefix: p.Masked(),
						Text: fmt.Sprintf("host %s has it on its uplink %s", h.ID, u.Name)})
				}
			}
			for _, r := range u.Routers {
				if r.Address == w.a {
					w.owners = append(w.owners, Reason{Ref: vnet.RefOf(h), Name: string(h.ID), Address: w.a, MAC: r.MAC, Expires: r.Until,
						Text: fmt.Sprintf("a router has it that host %s heard on its uplink %s", h.ID, u.Name)})
				}
			}
			for _, d := range u.Delegations {
				if d.Prefix.Contains(w.a) {
					w.rest = append(w.rest, Reason{Ref: vnet.RefOf(h), Name: string(h.ID), Prefix: d.Prefix, Expires: d.ValidUntil,
						Text: fmt.Sprintf("it lies in %s, which host %s may give to its networks%s", d.Prefix, h.ID, givenBy(d))})
				}
			}
		}
		for _, p := range h.Facts.Prefixes {
			if p.Contains(w.a) {
				w.rest = append(w.rest, Reason{Ref: vnet.RefOf(h), Name: string(h.ID), Prefix: p,
					Text: fmt.Sprintf("it lies in %s, which host %s uses itself%s", p, h.ID, usedBy(h.Facts, p))})
			}
		}
	}
	return nil
}
