package control

import (
	"context"

	"github.com/sextant-net/sextant/internal/vnet"
)

// projects are made and changed by administrators only.
type projects struct{ c *Control }

func (projects) create(_ context.Context, d *draft) error {
	if err := adminOnly(d.who, "project"); err != nil {
		return err
	}
	return validate(d.o)
}

func (p projects) update(_ context.Context, d *draft) error {
	if err := notDefault(d.old); err != nil && d.o.GetMeta().Name != vnet.DefaultProject {
		return err
	}
	return validate(d.o)
}

func (projects) remove(_ context.Context, d *draft) error { return notDefault(d.old) }

func notDefault(o vnet.Object) error {
	if o.GetMeta().Name != vnet.DefaultProject {
		return nil
	}
	return vnet.Errorf(vnet.ErrForbidden, "the project %q is always there", vnet.DefaultProject).
		WithHint("delete what is in it instead")
}
