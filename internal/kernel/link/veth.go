package link

import (
	"errors"
	"os"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/plan"
)

// makeVeth makes the pair, or brings its near end into line. A pair whose far
// end is not where it should be is made anew.
func (l *Links) makeVeth(i plan.Veth) error {
	peerNS, err := l.spaces.Open(i.PeerNS)
	if err != nil {
		return err // names the namespace that is missing
	}
	defer peerNS.Close()
	c, err := l.spaces.Conn(i.NS)
	if err != nil {
		return err
	}
	defer l.spaces.Release(i.NS, c)
	what := "veth pair " + i.Name
	for range 2 {
		d, found, err := lookup(c, i.Name)
		if err != nil {
			return kernelError(what, err)
		}
		if !found {
			err := l.createVeth(c, i, peerNS)
			if errors.Is(err, unix.EEXIST) {
				if _, found, _ := lookup(c, i.Name); !found {
					return kernelError("make "+what, l.peerTaken(i))
				}
				continue
			}
			return kernelError("make "+what, err)
		}
		if !d.ours() {
			return foreign(d)
		}
		if d.kind == kindVeth && l.peerHolds(c, i, d) {
			return kernelError("change "+what, l.mendVeth(c, i, d))
		}
		if err := newRequest().index(d.index).remove(c); err != nil {
			return kernelError("replace "+what, err)
		}
	}
	return kernelError("make "+what, unix.EEXIST)
}

// peerTaken says whose name is in the way at the far end.
func (l *Links) peerTaken(i plan.Veth) error {
	c, err := l.spaces.Conn(i.PeerNS)
	if err != nil {
		return err
	}
	defer l.spaces.Release(i.PeerNS, c)
	d, found, err := lookup(c, i.Peer)
	if err != nil || !found {
		return unix.EEXIST
	}
	return foreign(d)
}

func (l *Links) createVeth(c *netns.Conn, i plan.Veth, peerNS *os.File) error {
	r := newRequest().name(i.Name).mac(i.MAC).mtu(i.MTU).group(Group)
	r.info(kindVeth, func(data *nl.RtAttr) {
		// The far end is described by a link message of its own. It cannot be
		// up from the start: the kernel opens it before it is one of a pair.
		peer := nl.NewRtAttr(nl.VETH_INFO_PEER, nil)
		peer.AddChild(nl.NewIfInfomsg(unix.AF_UNSPEC))
		peer.AddRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(i.Peer))
		peer.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(peerNS.Fd())))
		if !i.PeerMAC.IsZero() {
			peer.AddRtAttr(unix.IFLA_ADDRESS, i.PeerMAC[:])
		}
		if i.MTU != 0 {
			peer.AddRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(i.MTU)))
		}
		data.AddChild(peer)
	})
	if err := r.create(c); err != nil {
		return err
	}
	err := newRequest().name(i.Name).alias(i.Owner).change(c)
	if err == nil && i.PeerNS == i.NS {
		err = newRequest().name(i.Peer).add(unix.IFLA_IFALIAS, []byte(farAlias(i.Name))).change(c)
	}
	if err == nil && i.PeerUp {
		err = l.peerUp(i)
	}
	if err != nil {
		_ = newRequest().name(i.Name).remove(c)
	}
	return err
}

// farKind stands in the place of the owner's kind in the alias of a far end in
// the same namespace: it is ours, and comes and goes with its near end.
const farKind = "far"

func farAlias(near string) string { return plan.AliasPrefix + farKind + "/" + near }

func (l *Links) peerUp(i plan.Veth) error {
	c, err := l.spaces.Conn(i.PeerNS)
	if err != nil {
		return err
	}
	defer l.spaces.Release(i.PeerNS, c)
	return newRequest().name(i.Peer).flag(unix.IFF_UP, true).change(c)
}

// peerHolds reports whether the far end is where and what it should be. In a
// guest's namespace its name, MAC and flags are the guest's to change.
func (l *Links) peerHolds(c *netns.Conn, i plan.Veth, d device) bool {
	if d.peer == 0 {
		return false // the far end is gone
	}
	if i.PeerNS == i.NS {
		if d.peerNS >= 0 {
			return false
		}
	} else {
		f, err := l.spaces.Open(i.PeerNS)
		if err != nil {
			return false
		}
		defer f.Close()
		if id, err := c.NSID(f); err != nil || id < 0 || id != d.peerNS {
			return false
		}
	}
	if i.PeerNS != "" && !strings.HasPrefix(i.PeerNS, plan.NetnsPrefix) {
		return true
	}
	pc, err := l.spaces.Conn(i.PeerNS)
	if err != nil {
		return false
	}
	p, found, err := lookupIndex(pc, d.peer)
	if i.PeerNS == i.NS && p.alias != farAlias(i.Name) {
		return false
	}
	return err == nil && found && p.name == i.Peer && (i.PeerMAC.IsZero() || p.mac == i.PeerMAC) && (p.up || !i.PeerUp)
}

func (l *Links) mendVeth(c *netns.Conn, i plan.Veth, d device) error {
	r := newRequest().index(d.index)
	if !i.MAC.IsZero() && d.mac != i.MAC {
		r.mac(i.MAC)
	}
	resize := i.MTU != 0 && d.mtu != i.MTU
	if resize {
		r.mtu(i.MTU)
	}
	if d.alias != plan.AliasPrefix+i.Owner.String() {
		r.alias(i.Owner)
	}
	if r.empty() {
		return nil
	}
	if err := r.change(c); err != nil {
		return err
	}
	if resize {
		// The far end follows where we can reach it; a guest hears of the
		// new MTU by RA and DHCP too.
		if pc, err := l.spaces.Conn(i.PeerNS); err == nil {
			_ = newRequest().index(d.peer).mtu(i.MTU).change(pc)
			l.spaces.Release(i.PeerNS, pc)
		}
	}
	return nil
}

// asVeth is the item that the near end holds, want itself where nothing
// differs.
func (l *Links) asVeth(c *netns.Conn, ns string, d device, want plan.Veth) plan.Item {
	got := plan.Veth{NS: ns, Name: d.name, Owner: d.owner(), MAC: d.mac, MTU: d.mtu}
	if want.Name == "" {
		return got
	}
	if want.MAC.IsZero() {
		got.MAC = want.MAC
	}
	if want.MTU == 0 {
		got.MTU = 0
	}
	if l.peerHolds(c, want, d) {
		got.PeerNS, got.Peer, got.PeerMAC, got.PeerUp = want.PeerNS, want.Peer, want.PeerMAC, want.PeerUp
	}
	return got
}
