package control

import (
	"context"
	"io"
	"net/netip"

	"github.com/sextant-net/sextant/internal/vnet"
)

// schema is the version of the store's layout that a new installation has.
const schema = 1

// installationID is the ID of the one installation object.
const installationID vnet.ID = "installation"

// madeBySetup tags what Setup makes, so that a store in which nobody did
// anything can be told from one in use.
const madeBySetup = "sextant/setup"

// wantsDefault tags an installation whose default network is still to be made.
const wantsDefault = "sextant/default-network"

// DefaultNetwork is the name of the network that a new installation has.
const DefaultNetwork = "default"

// Setup makes what every installation has: on a new store the installation
// object with its ULA /48 (RFC 4193 section 3.2.2), the project "default", and,
// if wanted, the network "default". On a store that has them it does nothing,
// so that a default network that was deleted stays so.
func (c *Control) Setup(ctx context.Context, defaultNetwork bool) error {
	ref := vnet.Ref{Kind: vnet.KindInstallation, ID: installationID}
	_, err := c.store.Get(ctx, ref)
	if vnet.Is(err, vnet.ErrNotFound) {
		err = c.install(ctx, defaultNetwork)
		if vnet.Is(err, vnet.ErrExists) {
			err = nil // another control was faster
		}
	}
	if err != nil {
		return err
	}
	o, err := c.store.Get(ctx, ref)
	if err != nil {
		return err
	}
	inst := o.(*vnet.Installation)
	if inst.Tags[wantsDefault] == "" {
		return nil
	}
	n := &vnet.Network{Meta: vnet.Meta{Name: DefaultNetwork, Tags: map[string]string{madeBySetup: "1"}}}
	if _, err := c.Create(ctx, Identity{Admin: true}, "", n); err != nil && !vnet.Is(err, vnet.ErrExists) {
		return err
	}
	delete(inst.Tags, wantsDefault)
	_, err = c.store.Commit(ctx, &vnet.Change{Put: []vnet.Object{inst}})
	return err
}

func (c *Control) install(ctx context.Context, defaultNetwork bool) error {
	ula, err := c.newULA()
	if err != nil {
		return err
	}
	now := c.now().UTC()
	inst := &vnet.Installation{Meta: vnet.Meta{ID: installationID, Generation: 1, Created: now, Updated: now}, ULA: ula, Schema: schema}
	if defaultNetwork {
		inst.Tags = map[string]string{wantsDefault: "1"}
	}
	p := &vnet.Project{Meta: vnet.Meta{ID: c.newID(), Name: vnet.DefaultProject, Generation: 1, Created: now, Updated: now}}
	_, err = c.store.Commit(ctx, &vnet.Change{Put: []vnet.Object{inst, p}})
	return err
}

// newULA makes a locally assigned /48: fd00::/8 and 40 random bits (RFC 4193
// section 3.1).
func (c *Control) newULA() (netip.Prefix, error) {
	b := [16]byte{0xfd}
	if _, err := io.ReadFull(c.rand, b[1:6]); err != nil {
		return netip.Prefix{}, vnet.Errorf(vnet.ErrInternal, "no random numbers: %w", err)
	}
	return netip.PrefixFrom(netip.AddrFrom16(b), 48), nil
}

func (c *Control) installation(ctx context.Context) (*vnet.Installation, error) {
	o, err := c.store.Get(ctx, vnet.Ref{Kind: vnet.KindInstallation, ID: installationID})
	if err != nil {
		return nil, err
	}
	return o.(*vnet.Installation), nil
}
