package control

import (
	"context"
	"slices"

	"github.com/sextant-net/sextant/internal/vnet"
)

func adminOnly(who Identity, what string) error {
	if who.Admin {
		return nil
	}
	return vnet.Errorf(vnet.ErrForbidden, "%s: only an administrator may", what).WithHint("be root, or join the group sextant")
}

// may says whether somebody may use a project.
func (who Identity) may(project vnet.ID) bool {
	return who.Admin || slices.Contains(who.Projects, project)
}

// project finds a project by name or ID; "" is the default one. One that the
// caller may not use is not found: its existence is nobody's business.
func (c *Control) project(ctx context.Context, who Identity, name string) (*vnet.Project, error) {
	if name == "" {
		name = vnet.DefaultProject
	}
	missing := vnet.Errorf(vnet.ErrNotFound, "there is no project %q", name).WithHint("see `sextant project list`")
	missing.Field = "project"
	var p *vnet.Project
	if isID(name) {
		o, err := c.store.Get(ctx, vnet.Ref{Kind: vnet.KindProject, ID: vnet.ID(name)})
		if err != nil && !vnet.Is(err, vnet.ErrNotFound) {
			return nil, err
		}
		p, _ = o.(*vnet.Project)
	}
	if p == nil {
		l, err := c.store.List(ctx, vnet.Query{Kind: vnet.KindProject, Name: name})
		if err != nil {
			return nil, err
		}
		if len(l.Items) == 0 {
			return nil, missing
		}
		p = l.Items[0].(*vnet.Project)
	}
	if !who.may(p.ID) {
		return nil, missing
	}
	return p, nil
}

// visible reports whether somebody may see the object. What belongs to no
// project (hosts, the installation) everybody may see.
func (c *Control) visible(ctx context.Context, who Identity, o vnet.Object) (bool, error) {
	if who.Admin {
		return true, nil
	}
	switch o := o.(type) {
	case *vnet.Host, *vnet.Installation, *vnet.UplinkPolicy:
		return true, nil
	case *vnet.Project:
		return who.may(o.ID), nil
	case *vnet.Pool:
		return o.Shared || who.may(o.Project), nil
	}
	project := o.GetMeta().Project
	if project == "" {
		n, err := c.networkOf(ctx, o)
		if err != nil || n == nil {
			return false, err
		}
		project = n.Project
	}
	return who.may(project), nil
}

// networkOf returns the network that o lies in, nil if in none that is there.
func (c *Control) networkOf(ctx context.Context, o vnet.Object) (*vnet.Network, error) {
	id := networkID(o)
	if id == "" {
		return nil, nil
	}
	n, err := c.getNetwork(ctx, id)
	if vnet.Is(err, vnet.ErrNotFound) {
		return nil, nil
	}
	return n, err
}

func networkID(o vnet.Object) vnet.ID {
	switch o := o.(type) {
	case *vnet.Network:
		return o.ID
	case *vnet.Subnet:
		return o.Network
	case *vnet.Port:
		return o.Network
	case *vnet.Reservation:
		return o.Network
	case *vnet.Activation:
		return o.Network
	case *vnet.Lease:
		return o.Network
	case *vnet.PrefixAssignment:
		return o.Network
	case *vnet.Status:
		if o.Target.Kind == vnet.KindNetwork {
			return o.Target.ID
		}
	}
	return ""
}

// isID reports whether s has the form of an ID.
func isID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (c == '-') || !dash && (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
