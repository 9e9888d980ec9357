package control

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

// networks: a network is stored with its policy only; the short form of its
// families lies in its primary subnets, and whether it is to run in an
// activation per host.
type networks struct{ c *Control }

// maxNetworks is how many networks an installation has at most: the /64s of
// its ULA /48, but the first and the last, which transit links use.
const maxNetworks = 0xfffe

func (w networks) create(ctx context.Context, d *draft) error {
	n := d.o.(*vnet.Network)
	n.Number, n.Retired = 0, nil
	if err := w.resolveRouter(ctx, d, n); err != nil {
		return err
	}
	if err := validate(n); err != nil {
		return err
	}
	if err := w.supported(ctx, n, nil); err != nil {
		return err
	}
	var err error
	if n.Number, err = w.c.number(ctx, d, vnet.KindNetwork, maxNetworks); err != nil {
		return err
	}
	if n.Bridge == "" {
		n.Bridge = w.bridgeName(d, n)
	}
	if n.MAC.IsZero() {
		n.MAC = w.c.newMAC()
	}
	subs, err := w.primaries(ctx, n, nil)
	if err != nil {
		return err
	}
	act := w.c.activation(n, vnet.Activation{Started: true, Autostart: true})
	takeActivation(n, act)
	if act.Started {
		if err := w.c.claimPrefixes(ctx, d, n, subs); err != nil {
			return w.sameName(ctx, n, err)
		}
	}
	for _, s := range subs {
		d.change.Put = append(d.change.Put, s)
	}
	d.change.Put = append(d.change.Put, act)
	return nil
}

// sameName prefers to say that the network is there already over saying that
// its prefix overlaps that of itself.
func (w networks) sameName(ctx context.Context, n *vnet.Network, err error) error {
	l, lerr := w.c.store.List(ctx, vnet.Query{Kind: vnet.KindNetwork, Project: n.Project, Name: n.Name})
	if lerr != nil || len(l.Items) == 0 || !vnet.Is(err, vnet.ErrOverlap) {
		return err
	}
	ref := vnet.RefOf(l.Items[0])
	return &vnet.Error{Kind: vnet.ErrExists, Field: "name", Ref: &ref}
}

func (w networks) resolveRouter(ctx context.Context, d *draft, n *vnet.Network) error {
	if n.Router == "" {
		return nil
	}
	o, err := w.c.find(ctx, d.who, Selector{Kind: vnet.KindRouter, Project: string(n.Project), Name: string(n.Router)})
	if err != nil {
		return inField(err, "router")
	}
	n.Router = o.GetMeta().ID
	return nil
}

// maxLinkName is the longest name of a network device (IFNAMSIZ less the NUL).
const maxLinkName = 15

// bridgeName is sx-NAME where that is short enough and free, else one that
// begins with what fits and ends at random.
func (w networks) bridgeName(d *draft, n *vnet.Network) string {
	d.chosen["bridge"] = true
	label := strings.ReplaceAll(vnet.DNSLabel(n.Name), ".", "-")
	if name := "sx-" + label; len(name) <= maxLinkName && label == n.Name && !d.clashed["bridge"] {
		return name
	}
	tail := fmt.Sprintf("%04x", w.c.random()&0xffff)
	room := maxLinkName - len("sx-") - len("-") - len(tail)
	return "sx-" + strings.TrimRight(label[:min(len(label), room)], "-") + "-" + tail
}

// newMAC makes a random address in the range that QEMU and libvirt use for
// guests (52:54:00).
func (c *Control) newMAC() vnet.MAC {
	r := c.random()
	return vnet.MAC{0x52, 0x54, 0x00, byte(r >> 16), byte(r >> 8), byte(r)}
}

// primaries makes the primary subnets that the network's short form speaks of,
// over those that are there already (by family), and empties the short form.
func (w networks) primaries(ctx context.Context, n *vnet.Network, old map[vnet.Family]*vnet.Subnet) ([]*vnet.Subnet, error) {
	var out []*vnet.Subnet
	advertise := n.Advertise
	n.Advertise = vnet.PrefixPolicy{}
	for _, f := range vnet.Families {
		p := n.Policy(f)
		short := *p
		p.Address, p.Guests, p.Ranges = netip.Prefix{}, "", nil
		if !short.Mode.Addressed() && !besideNAT(n, f) {
			continue
		}
		s := &vnet.Subnet{Network: n.ID, Family: f, Primary: true, Guests: short.Guests, Ranges: short.Ranges}
		if f == vnet.IPv6 {
			s.Advertise = advertise
		}
		if was := old[f]; was != nil {
			s.Meta = was.Meta
			s.Generation++
			s.Updated = n.Updated
		} else {
			s.Meta = vnet.Meta{ID: w.c.newID(), Project: n.Project, Generation: 1, Created: n.Updated, Updated: n.Updated}
		}
		switch {
		case short.Mode == vnet.EgressBridged:
			s.Source, s.Guests, s.Gateway = vnet.SourceProxied, vnet.GuestsSLAACStateful, vnet.GatewayNone
		case short.Mode == vnet.EgressProxied:
			s.Source, s.Prefix, s.Gateway = vnet.SourceProxied, short.Address, vnet.GatewayNone
		case short.Mode == vnet.EgressDelegated:
			s.Source = vnet.SourceDelegated
		case short.Address.IsValid():
			gw := vnet.GatewayPrefix(short.Address)
			s.Source, s.Prefix, s.Gateway = vnet.SourceFixed, gw.Masked(), gw.Addr().String()
		case f == vnet.IPv4:
			s.Source = vnet.SourceAuto
		default:
			inst, err := w.c.installation(ctx)
			if err != nil {
				return nil, err
			}
			s.Source = vnet.SourceULA
			if s.Prefix, err = ipam.NthSubnet(inst.ULA, 64, uint64(n.Number)); err != nil {
				return nil, err
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// besideNAT reports whether the family is bridged IPv6 beside another IPv4: where
// the uplink cannot be bridged, its prefix is shared instead, and the network
// has a subnet for that.
func besideNAT(n *vnet.Network, f vnet.Family) bool {
	return f == vnet.IPv6 && n.IPv6.Mode == vnet.EgressBridged && n.IPv4.Mode != vnet.EgressBridged
}

// activationSpace makes the IDs of activations: one per network and host.
var activationSpace = uuid.MustParse("5f0c5d1e-6f0a-4c56-9b6c-0b6c1d0a7e11")

func activationID(network vnet.ID, host string) vnet.ID {
	return vnet.ID(uuid.NewSHA1(activationSpace, []byte(string(network)+"@"+host)).String())
}

// activation makes the network's activation on this host like a.
func (c *Control) activation(n *vnet.Network, a vnet.Activation) *vnet.Activation {
	if a.ID == "" {
		a.Meta = vnet.Meta{ID: activationID(n.ID, c.host), Project: n.Project, Created: n.Updated}
	}
	a.Network, a.Host = n.ID, c.host
	a.Generation++
	a.Updated = c.now().UTC()
	return &a
}

// takeActivation moves the wishes about running from the network, which shows
// them, to the activation, which is them.
func takeActivation(n *vnet.Network, a *vnet.Activation) {
	if n.Started != nil {
		a.Started = *n.Started
	}
	if n.Autostart != nil {
		a.Autostart = *n.Autostart
	}
	n.Started, n.Autostart = nil, nil
}

// family is what a network has in the store beside itself.
type family struct {
	subs []*vnet.Subnet
	act  *vnet.Activation // on this host; nil: never started here
}

func (f *family) primaries() map[vnet.Family]*vnet.Subnet {
	out := map[vnet.Family]*vnet.Subnet{}
	for _, s := range f.subs {
		if s.Primary {
			out[s.Family] = s
		}
	}
	return out
}

func (f *family) started() bool { return f.act != nil && f.act.Started }

func (c *Control) familyOf(ctx context.Context, network vnet.ID) (*family, error) {
	l, err := c.store.List(ctx, vnet.Query{Kind: vnet.KindSubnet, Network: network})
	if err != nil {
		return nil, err
	}
	f := &family{}
	for _, o := range l.Items {
		f.subs = append(f.subs, o.(*vnet.Subnet))
	}
	inOrder(f.subs)
	o, err := c.store.Get(ctx, vnet.Ref{Kind: vnet.KindActivation, ID: activationID(network, c.host)})
	if err == nil {
		f.act = o.(*vnet.Activation)
	} else if !vnet.Is(err, vnet.ErrNotFound) {
		return nil, err
	}
	return f, nil
}

// inOrder sorts subnets as they are shown: the primary ones first, IPv4 before
// IPv6, then by ID.
func inOrder(subs []*vnet.Subnet) {
	slices.SortFunc(subs, func(a, b *vnet.Subnet) int {
		switch {
		case a.Primary != b.Primary && a.Primary:
			return -1
		case a.Primary != b.Primary:
			return 1
		}
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.ID, b.ID))
	})
}

func (w networks) update(ctx context.Context, d *draft) error {
	n, old := d.o.(*vnet.Network), d.old.(*vnet.Network)
	fam, err := w.c.familyOf(ctx, n.ID)
	if err != nil {
		return err
	}
	if err := w.keep(ctx, d, n, old); err != nil {
		return err
	}
	was := fam.primaries()
	if err := w.c.forgetShown(ctx, n, was); err != nil {
		return err
	}
	if err := validate(n); err != nil {
		return err
	}
	if err := w.supported(ctx, n, old); err != nil {
		return err
	}
	subs, err := w.primaries(ctx, n, was)
	if err != nil {
		return err
	}
	if err := w.changeSubnets(ctx, d, n, was, subs); err != nil {
		return err
	}
	active := mergeSubnets(fam.subs, subs)
	if _, err := w.c.retire(ctx, n, old, lostPrefixes(was, subs), active); err != nil {
		return err
	}
	startedBefore := fam.started()
	act := w.c.activation(n, vnet.Activation{Autostart: true})
	if fam.act != nil {
		act = w.c.activation(n, *fam.act)
	}
	takeActivation(n, act)
	if act.Started && (!startedBefore || prefixesChanged(was, subs)) {
		if err := w.c.claimPrefixes(ctx, d, n, active); err != nil {
			return err
		}
	}
	if fam.act == nil || act.Started != fam.act.Started || act.Autostart != fam.act.Autostart {
		d.change.Put = append(d.change.Put, act)
	}
	return nil
}

// keep holds on to what an update cannot change, and completes what it may
// leave out.
func (w networks) keep(ctx context.Context, d *draft, n, old *vnet.Network) error {
	n.Number, n.Retired = old.Number, old.Retired
	if n.Bridge == "" {
		n.Bridge = old.Bridge
	}
	if n.MAC.IsZero() {
		n.MAC = old.MAC
	}
	if err := w.resolveRouter(ctx, d, n); err != nil {
		return err
	}
	if n.Router != old.Router {
		return vnet.Invalid("router", "a network cannot move to another router").WithHint("make a new network there")
	}
	return nil
}

// forgetShown empties the addresses of the short form that were only shown:
// chosen ones, which a wish does not name.
func (c *Control) forgetShown(ctx context.Context, n *vnet.Network, was map[vnet.Family]*vnet.Subnet) error {
	for f, s := range was {
		p := n.Policy(f)
		if s.Source == vnet.SourceFixed || s.Source.Moves() && s.Prefix.IsValid() || !p.Address.IsValid() || p.Mode == vnet.EgressRouted {
			continue
		}
		shown, err := c.shownAddress(ctx, s)
		if err != nil {
			return err
		}
		if p.Address == shown || vnet.GatewayPrefix(p.Address) == shown {
			p.Address = netip.Prefix{}
		}
	}
	// A family that was switched off keeps nothing of what was shown with it.
	for f, s := range was {
		p := n.Policy(f)
		if !p.Mode.Addressed() && p.Mode != "" && p.Guests == s.Guests && (!p.Address.IsValid() || p.Address == shown(s, s.Prefix)) {
			p.Address, p.Guests, p.Ranges = netip.Prefix{}, "", nil
			if f == vnet.IPv6 {
				n.Advertise = vnet.PrefixPolicy{}
			}
		}
	}
	return nil
}

// shownAddress is the gateway address and length that the short form shows.
func (c *Control) shownAddress(ctx context.Context, s *vnet.Subnet) (netip.Prefix, error) {
	prefix := s.Prefix
	if s.Source.Moves() && !prefix.IsValid() {
		as, err := c.assignments(ctx, s.Network)
		if err != nil {
			return netip.Prefix{}, err
		}
		prefix = as[s.ID]
	}
	return shown(s, prefix), nil
}

func shown(s *vnet.Subnet, prefix netip.Prefix) netip.Prefix {
	if !prefix.IsValid() {
		return netip.Prefix{}
	}
	if s.Source == vnet.SourceProxied {
		return prefix // nothing of it is the gateway's
	}
	if gw := s.GatewayAddr(prefix); gw.IsValid() {
		return netip.PrefixFrom(gw, prefix.Bits())
	}
	return netip.Prefix{}
}

// changeSubnets adds what is different about the primary subnets to d. Ports
// whose fixed addresses would be lost are in the way.
func (w networks) changeSubnets(ctx context.Context, d *draft, n *vnet.Network, was map[vnet.Family]*vnet.Subnet, subs []*vnet.Subnet) error {
	is := map[vnet.Family]*vnet.Subnet{}
	for _, s := range subs {
		is[s.Family] = s
		old := was[s.Family]
		if old != nil {
			if sameSubnet(old, s) {
				s.Meta = old.Meta
				continue
			}
			if err := w.c.stranded(ctx, n, old, s); err != nil {
				return err
			}
		}
		d.change.Put = append(d.change.Put, s)
	}
	for _, f := range vnet.Families {
		if old := was[f]; old != nil && is[f] == nil {
			if err := w.c.stranded(ctx, n, old, nil); err != nil {
				return err
			}
			d.change.Delete = append(d.change.Delete, vnet.Deletion{Ref: vnet.RefOf(old), Revision: old.Revision})
		}
	}
	return nil
}

func sameSubnet(a, b *vnet.Subnet) bool {
	if a.Source != b.Source || a.Prefix != b.Prefix || a.Gateway != b.Gateway || a.Guests != b.Guests || len(a.Ranges) != len(b.Ranges) ||
		!reflect.DeepEqual(a.Advertise, b.Advertise) {
		return false
	}
	for i := range a.Ranges {
		if a.Ranges[i] != b.Ranges[i] {
			return false
		}
	}
	return true
}

// lostPrefixes are the subnets whose prefix is another one now, or gone.
func lostPrefixes(was map[vnet.Family]*vnet.Subnet, subs []*vnet.Subnet) []*vnet.Subnet {
	var out []*vnet.Subnet
	for _, old := range was {
		if old.Source.Moves() { // the host knows what guests had
			continue
		}
		if !slices.ContainsFunc(subs, func(s *vnet.Subnet) bool { return s.Family == old.Family && s.Prefix == old.Prefix }) {
			out = append(out, old)
		}
	}
	return out
}

func prefixesChanged(was map[vnet.Family]*vnet.Subnet, subs []*vnet.Subnet) bool {
	for _, s := range subs {
		if old := was[s.Family]; old == nil || old.Prefix != s.Prefix {
			return true
		}
	}
	return false
}

// mergeSubnets is all subnets with the changed ones in place of the old.
func mergeSubnets(all, changed []*vnet.Subnet) []*vnet.Subnet {
	out := append([]*vnet.Subnet{}, changed...)
	for _, s := range all {
		if !s.Primary {
			out = append(out, s)
		}
	}
	return out
}
