package link

import (
	"errors"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/plan"
)

// makeBridge makes the bridge or brings it into line.
func (l *Links) makeBridge(i plan.Bridge) error {
	c, err := l.spaces.Conn("")
	if err != nil {
		return err
	}
	what := "bridge " + i.Name
	for range 2 {
		d, found, err := lookup(c, i.Name)
		if err != nil {
			return kernelError(what, err)
		}
		if !found {
			err := l.createBridge(c, i)
			if errors.Is(err, unix.EEXIST) {
				continue // somebody was faster: look what it is
			}
			return kernelError("make "+what, err)
		}
		if !d.ours() {
			return foreign(d)
		}
		if d.kind != kindBridge {
			if err := newRequest().index(d.index).remove(c); err != nil {
				return kernelError("replace "+d.kind+" "+i.Name, err)
			}
			continue
		}
		return kernelError("change "+what, mendBridge(c, i, d))
	}
	return kernelError("make "+what, unix.EEXIST)
}

func (l *Links) createBridge(c *netns.Conn, i plan.Bridge) error {
	// A bridge whose MTU was changed after its creation keeps it; one that
	// was only created with it follows the smallest of its ports. So create
	// with another one, and change.
	first := 0
	if i.MTU != 0 {
		first = i.MTU - 1
		if first < 1280 { // with less a link has no IPv6 (RFC 8200 section 5)
			first = i.MTU + 1
		}
	}
	r := newRequest().name(i.Name).mac(i.MAC).mtu(first).group(Group)
	r.info(kindBridge, func(data *nl.RtAttr) { bridgeData(data, i) })
	if err := r.create(c); err != nil {
		return err
	}
	if err := newRequest().name(i.Name).mtu(i.MTU).alias(i.Owner).change(c); err != nil {
		_ = newRequest().name(i.Name).remove(c)
		return err
	}
	return nil
}

// bridgeData fixes what must not depend on the distribution's defaults. The
// group forward mask stays as it is.
func bridgeData(data *nl.RtAttr, i plan.Bridge) {
	data.AddRtAttr(nl.IFLA_BR_FORWARD_DELAY, nl.Uint32Attr(0))
	data.AddRtAttr(nl.IFLA_BR_STP_STATE, nl.Uint32Attr(0))
	snoop := uint8(0)
	if i.MLDSnoop {
		snoop = 1
	}
	data.AddRtAttr(nl.IFLA_BR_MCAST_SNOOPING, nl.Uint8Attr(snoop))
	// Passed over by kernels without br_netfilter.
	data.AddRtAttr(nl.IFLA_BR_NF_CALL_IPTABLES, nl.Uint8Attr(0))
	data.AddRtAttr(nl.IFLA_BR_NF_CALL_IP6TABLES, nl.Uint8Attr(0))
	data.AddRtAttr(nl.IFLA_BR_NF_CALL_ARPTABLES, nl.Uint8Attr(0))
}

// bridgeHolds reports whether the settings of the bridge are as wanted.
func bridgeHolds(i plan.Bridge, s bridgeState) bool {
	return s == bridgeState{snooping: i.MLDSnoop}
}

func mendBridge(c *netns.Conn, i plan.Bridge, d device) error {
	if d.bridge.stp != 0 {
		// On its own first: with STP on, no forward delay of 0 is taken.
		r := newRequest().index(d.index).info(kindBridge, func(data *nl.RtAttr) {
			data.AddRtAttr(nl.IFLA_BR_STP_STATE, nl.Uint32Attr(0))
		})
		if err := r.change(c); err != nil {
			return err
		}
	}
	r := newRequest().index(d.index)
	if !i.MAC.IsZero() && d.mac != i.MAC {
		r.mac(i.MAC)
	}
	if d.mtu != i.MTU {
		r.mtu(i.MTU)
	}
	if d.alias != plan.AliasPrefix+i.Owner.String() {
		r.alias(i.Owner)
	}
	if !bridgeHolds(i, d.bridge) {
		r.info(kindBridge, func(data *nl.RtAttr) { bridgeData(data, i) })
	}
	if r.empty() {
		return nil
	}
	return r.change(c)
}

// asBridge is the item that the bridge holds, want itself where nothing
// differs.
func asBridge(d device, want plan.Bridge) plan.Item {
	got := plan.Bridge{Name: d.name, Owner: d.owner(), MAC: d.mac, MTU: d.mtu, MLDSnoop: d.bridge.snooping}
	if want.MAC.IsZero() {
		got.MAC = want.MAC
	}
	if want.MTU == 0 {
		got.MTU = 0
	}
	if !bridgeHolds(want, d.bridge) {
		got.MLDSnoop = !want.MLDSnoop // differs, whatever it is
	}
	return got
}
