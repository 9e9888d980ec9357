package control

import (
	"context"
	"fmt"

	"github.com/sextant-net/sextant/internal/vnet"
)

// routers are address scopes of their own.
type routers struct{ c *Control }

// maxRouters keeps transit prefixes within one /64 and one small IPv4 range.
const maxRouters = 0x3fff

func (w routers) create(ctx context.Context, d *draft) error {
	r := d.o.(*vnet.Router)
	r.Number = 0
	d.chosen["netns"] = true
	r.Netns = "sextant-" + vnet.DNSLabel(r.Name)
	if d.clashed["netns"] {
		r.Netns = fmt.Sprintf("sextant-%.40s-%04x", vnet.DNSLabel(r.Name), w.c.random()&0xffff)
	}
	if err := validate(r); err != nil {
		return err
	}
	var err error
	r.Number, err = w.c.number(ctx, d, vnet.KindRouter, maxRouters)
	return err
}

func (w routers) update(_ context.Context, d *draft) error {
	r, old := d.o.(*vnet.Router), d.old.(*vnet.Router)
	r.Number, r.Netns = old.Number, old.Netns
	return validate(r)
}

// remove: networks on the router refer to it and are in the way.
func (w routers) remove(_ context.Context, d *draft) error {
	w.c.freeNumber(vnet.KindRouter, d.old.(*vnet.Router).Number)
	return nil
}
