package plan

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Plan is what one host must have: the union of all fragments.
type Plan struct {
	Fragments map[vnet.Ref]*Fragment
}

// Make plans the whole host. The agent does the same fragment by fragment.
func Make(s *Snapshot, f *Facts) *Plan {
	p := &Plan{Fragments: map[vnet.Ref]*Fragment{}}
	for _, r := range Owners(s) {
		p.Fragments[r] = FragmentOf(s, f, r)
	}
	return p
}

// Owners lists everything that may have a fragment.
func Owners(s *Snapshot) []vnet.Ref {
	out := []vnet.Ref{HostOwner(s.Host)}
	for id := range s.Routers {
		out = append(out, vnet.Ref{Kind: vnet.KindRouter, ID: id})
	}
	for id := range s.Networks {
		out = append(out, vnet.Ref{Kind: vnet.KindNetwork, ID: id})
	}
	for id := range s.Ports {
		out = append(out, vnet.Ref{Kind: vnet.KindPort, ID: id})
	}
	for id := range s.delegated {
		out = append(out, s.DelegatedOf(id)...)
	}
	for _, of := range s.lent.of {
		for r := range of {
			if r.Kind == vnet.KindLease {
				out = append(out, r)
			}
		}
	}
	return out
}

// FragmentOf returns the fragment of one owner, empty if it has none.
func FragmentOf(s *Snapshot, f *Facts, owner vnet.Ref) *Fragment {
	switch owner.Kind {
	case vnet.KindHost:
		return Host(s, f)
	case vnet.KindRouter:
		return Router(s, f, owner.ID)
	case vnet.KindNetwork:
		return Network(s, f, owner.ID)
	case vnet.KindPort:
		return Port(s, f, owner.ID)
	case vnet.KindLease:
		return Lease(s, f, owner.ID)
	}
	return &Fragment{Owner: owner}
}

// Affected lists the owners whose fragments may change when the object does.
// Call it with the object's old and new form.
func Affected(s *Snapshot, o vnet.Object) []vnet.Ref {
	network := func(id vnet.ID) []vnet.Ref {
		out := []vnet.Ref{HostOwner(s.Host), {Kind: vnet.KindNetwork, ID: id}}
		if n := s.Networks[id]; n != nil && n.Router != "" {
			out = append(out, vnet.Ref{Kind: vnet.KindRouter, ID: n.Router})
		}
		for _, p := range s.PortsOf(id) {
			out = append(out, vnet.RefOf(p))
		}
		out = append(out, s.LeasesPlanned(id)...)
		out = append(out, s.lendingBeside(id)...)
		return append(out, s.retiringBeside(id)...)
	}
	switch o := o.(type) {
	case *vnet.Network:
		out := network(o.ID)
		if o.Router != "" {
			out = append(out, vnet.Ref{Kind: vnet.KindRouter, ID: o.Router})
		}
		return out
	case *vnet.Subnet:
		return network(o.Network)
	case *vnet.Activation:
		return network(o.Network)
	case *vnet.PrefixAssignment:
		return network(o.Network)
	case *vnet.Port:
		return append([]vnet.Ref{vnet.RefOf(o)}, s.besides(o.Network, vnet.RefOf(o))...)
	case *vnet.Lease:
		return s.affectedByLease(o.Network, vnet.RefOf(o), o.Length > 0)
	case *vnet.Router:
		out := []vnet.Ref{vnet.RefOf(o)}
		for _, n := range s.NetworksOf(o.ID) {
			out = append(out, network(n.ID)...)
		}
		return out
	case *vnet.Installation:
		return Owners(s)
	}
	return nil
}

// Items returns the union of the fragments' items in the order in which they
// are made: by stage, then by key.
func (p *Plan) Items() []Item {
	all := map[Key]Item{}
	for _, f := range p.Fragments {
		for _, i := range f.Items {
			all[i.Key()] = i
		}
	}
	out := slices.Collect(maps.Values(all))
	slices.SortFunc(out, func(a, b Item) int {
		ka, kb := a.Key(), b.Key()
		return cmp.Or(cmp.Compare(a.Stage(), b.Stage()), kindOrder(ka.Kind)-kindOrder(kb.Kind),
			strings.Compare(ka.NS, kb.NS), strings.Compare(ka.Kind, kb.Kind), strings.Compare(ka.Name, kb.Name))
	})
	return out
}

// kindOrder puts the chains of a table before their elements.
func kindOrder(kind string) int {
	if kind == "element" {
		return 1
	}
	return 0
}

// String prints the plan as the commands that an operator would type.
func (p *Plan) String() string {
	var b strings.Builder
	stage := Stage(-1)
	for _, i := range p.Items() {
		if i.Stage() != stage {
			stage = i.Stage()
			b.WriteString("# " + stage.String() + "\n")
		}
		for _, c := range i.Commands() {
			b.WriteString(c + "\n")
		}
	}
	return b.String()
}

// String is the stage's heading in printed plans.
func (s Stage) String() string {
	return [...]string{"routing namespaces", "host settings", "links", "link settings", "filter", "up", "addresses", "members", "routes", "forwarding"}[s]
}
