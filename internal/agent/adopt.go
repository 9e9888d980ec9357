package agent

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// adoptedTag marks ports that the agent made for devices which somebody else
// (QEMU, libvirt) put into our bridges. They go with their device.
const adoptedTag = "sextant.adopted"

// adopt looks at the members of our bridges. A device that is not ours becomes
// the binding of the port whose MAC its own resembles: libvirt gives a tap its
// guest's MAC with the first octet fe. Otherwise the first source MAC heard
// behind it makes a port of its own (see strange).
func (a *Agent) adopt(ctx context.Context) {
	for _, p := range a.snap.Ports {
		if b := p.Binding; b != nil && b.Host == a.cfg.Host && b.Plug == vnet.PlugAdopted {
			if _, there := a.facts.Links[b.Device]; !there {
				a.leave(ctx, p)
			}
		}
	}
	for _, l := range a.strangers() {
		network := a.ears.bridges[l.Master]
		for _, p := range a.snap.PortsOf(network) {
			if p.Binding == nil && slices.Equal(p.MAC[1:], l.MAC[1:]) {
				a.bind(ctx, p, l.Name)
				break
			}
		}
	}
}

// strangers lists the members of our networks' bridges that belong to no port.
func (a *Agent) strangers() []plan.Link {
	bound := map[string]bool{}
	for _, p := range a.snap.Ports {
		if b := p.Binding; b != nil && b.Host == a.cfg.Host {
			bound[b.Device] = true
		}
	}
	var out []plan.Link
	for _, l := range a.facts.Links {
		_, ours := a.ears.bridges[l.Master]
		if ours && !bound[l.Name] && !strings.HasPrefix(l.Alias, plan.AliasPrefix) && !a.isNetworkLink(l.Name) {
			out = append(out, l)
		}
	}
	return out
}

// isNetworkLink reports whether a NIC is the link of a bridged network, whose
// far side is the whole outside and no guest.
func (a *Agent) isNetworkLink(name string) bool {
	for _, n := range a.snap.Networks {
		if n.Link == name {
			return true
		}
	}
	return false
}

// strangeAgain is how long after an attempt to adopt a device its guest is
// passed over: the store may be away, or the MAC another port's.
const strangeAgain = 3 * time.Second

// strangeLink takes note of a guest behind a member of our bridge that belongs
// to no port.
func (a *Agent) strangeLink(l plan.Link, network vnet.ID, mac vnet.MAC) {
	if strings.HasPrefix(l.Alias, plan.AliasPrefix) || a.isNetworkLink(l.Name) {
		return
	}
	now := a.cfg.Now()
	if now.Before(a.odd[l.Index]) {
		return
	}
	a.odd[l.Index] = now.Add(strangeAgain)
	a.strange(a.ctx, l.Name, network, mac)
}

// strange makes a port for a guest that was heard behind somebody else's
// device.
func (a *Agent) strange(ctx context.Context, device string, network vnet.ID, mac vnet.MAC) {
	n := a.snap.Networks[network]
	if n == nil || !mac.IsUnicast() {
		return
	}
	if i := slices.IndexFunc(a.snap.PortsOf(network), func(p *vnet.Port) bool { return p.MAC == mac }); i >= 0 {
		p := a.snap.PortsOf(network)[i]
		if p.Binding == nil {
			a.bind(ctx, p, device)
			return
		}
		a.event(vnet.RefOf(p), "problem", "%s speaks with its MAC %v, too", device, mac)
		return
	}
	now := a.cfg.Now()
	a.claimPort(ctx, &vnet.Port{
		Meta: vnet.Meta{ID: vnet.ID(uuid.NewString()), Name: device, Project: n.Project, Generation: 1, Created: now, Updated: now,
			Tags: map[string]string{adoptedTag: "true"}, Revision: vnet.AnyRevision},
		Network: network, MAC: mac, Binding: &vnet.Binding{Host: a.cfg.Host, Plug: vnet.PlugAdopted, Device: device},
	})
}

// bind ties a known port to a device that somebody else plugged.
func (a *Agent) bind(ctx context.Context, p *vnet.Port, device string) {
	c := *p
	c.Binding = &vnet.Binding{Host: a.cfg.Host, Plug: vnet.PlugAdopted, Device: device}
	a.claimPort(ctx, &c)
}

// leave ends an adopted port's binding, and the port if it was made for it.
func (a *Agent) leave(ctx context.Context, p *vnet.Port) {
	if p.Tags[adoptedTag] == "" {
		c := *p
		c.Binding = nil
		a.claimPort(ctx, &c)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	if err := a.cfg.Store.Claim(ctx, nil, []vnet.Ref{vnet.RefOf(p)})[0]; err != nil {
		a.log.Warn("adopted port not given up", "port", p.Name, "error", err)
		return
	}
	a.event(vnet.RefOf(p), "deleted", "%s is gone", p.Binding.Device)
	a.remove(vnet.RefOf(p))
}

// claimPort writes an adopted port and takes it in at once.
func (a *Agent) claimPort(ctx context.Context, p *vnet.Port) {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	if err := a.cfg.Store.Claim(ctx, []vnet.Object{p}, nil)[0]; err != nil {
		a.log.Warn("device not adopted", "port", p.Name, "error", err)
		return
	}
	a.put(p)
	if p.Binding != nil {
		a.event(vnet.RefOf(p), "adopted", "%s, MAC %v", p.Binding.Device, p.MAC)
	}
}
