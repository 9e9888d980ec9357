package link

import (
	"encoding/binary"
	"errors"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// The kinds of link that we make (IFLA_INFO_KIND).
const (
	kindBridge = "bridge"
	kindVeth   = "veth"
	kindTun    = "tun"
)

// device is what the kernel says of one link.
type device struct {
	index  int
	name   string
	kind   string
	alias  string
	mac    vnet.MAC
	mtu    int
	up     bool
	master int // index, 0: none
	group  uint32

	peer   int // veth: index of the other end in its namespace, 0: unknown
	peerNS int // veth: number of the other end's namespace, -1: this one

	bridge   bridgeState
	tun      tunState
	isolated bool // as a bridge port
}

// bridgeState is what is fixed on our bridges.
type bridgeState struct {
	stp          uint32
	forwardDelay uint32
	snooping     bool
	nfCall       bool // any of the three
}

// tunState is what is fixed on our taps.
type tunState struct {
	owner   uint32
	owned   bool
	tap     bool
	persist bool
}

// ours reports whether the link carries our mark, whole or half-made.
func (d device) ours() bool {
	return strings.HasPrefix(d.alias, plan.AliasPrefix) || d.alias == "" && d.group == Group
}

// owner returns what the alias names, zero if it names nothing.
func (d device) owner() vnet.Ref {
	kind, id, ok := strings.Cut(strings.TrimPrefix(d.alias, plan.AliasPrefix), "/")
	if !ok || !strings.HasPrefix(d.alias, plan.AliasPrefix) {
		return vnet.Ref{}
	}
	return vnet.Ref{Kind: vnet.Kind(kind), ID: vnet.ID(id)}
}

// parseDevice decodes an RTM_NEWLINK message.
func parseDevice(msg []byte) (device, error) {
	if len(msg) < unix.SizeofIfInfomsg {
		return device{}, errors.New("short link message")
	}
	head := nl.DeserializeIfInfomsg(msg)
	d := device{index: int(head.Index), up: head.Flags&unix.IFF_UP != 0, peerNS: -1}
	err := EachAttr(msg[unix.SizeofIfInfomsg:], func(kind uint16, v []byte) {
		switch kind {
		case unix.IFLA_IFNAME:
			d.name = text(v)
		case unix.IFLA_IFALIAS:
			d.alias = text(v)
		case unix.IFLA_ADDRESS:
			if len(v) == len(d.mac) {
				d.mac = vnet.MAC(v)
			}
		case unix.IFLA_MTU:
			d.mtu = int(u32(v))
		case unix.IFLA_MASTER:
			d.master = int(u32(v))
		case unix.IFLA_GROUP:
			d.group = u32(v)
		case unix.IFLA_LINK:
			d.peer = int(u32(v))
		case unix.IFLA_LINK_NETNSID:
			d.peerNS = int(int32(u32(v)))
		case unix.IFLA_LINKINFO:
			d.parseInfo(v)
		}
	})
	return d, err
}

// parseInfo decodes IFLA_LINKINFO. Its attributes come in the order kind,
// data, slave kind, slave data; what is broken in them is left zero.
func (d *device) parseInfo(b []byte) {
	slave := ""
	_ = EachAttr(b, func(kind uint16, v []byte) {
		switch kind {
		case nl.IFLA_INFO_KIND:
			d.kind = text(v)
		case nl.IFLA_INFO_DATA:
			switch d.kind {
			case kindBridge:
				d.bridge = parseBridge(v)
			case kindTun:
				d.tun = parseTun(v)
			}
		case nl.IFLA_INFO_SLAVE_KIND:
			slave = text(v)
		case nl.IFLA_INFO_SLAVE_DATA:
			if slave == kindBridge {
				_ = EachAttr(v, func(kind uint16, v []byte) {
					if kind == nl.IFLA_BRPORT_ISOLATED {
						d.isolated = u8(v) != 0
					}
				})
			}
		}
	})
}

func parseBridge(b []byte) (s bridgeState) {
	_ = EachAttr(b, func(kind uint16, v []byte) {
		switch kind {
		case nl.IFLA_BR_STP_STATE:
			s.stp = u32(v)
		case nl.IFLA_BR_FORWARD_DELAY:
			s.forwardDelay = u32(v)
		case nl.IFLA_BR_MCAST_SNOOPING:
			s.snooping = u8(v) != 0
		case nl.IFLA_BR_NF_CALL_IPTABLES, nl.IFLA_BR_NF_CALL_IP6TABLES, nl.IFLA_BR_NF_CALL_ARPTABLES:
			s.nfCall = s.nfCall || u8(v) != 0
		}
	})
	return s
}

func parseTun(b []byte) (s tunState) {
	_ = EachAttr(b, func(kind uint16, v []byte) {
		switch kind {
		case nl.IFLA_TUN_OWNER:
			s.owner, s.owned = u32(v), true
		case nl.IFLA_TUN_TYPE:
			s.tap = u8(v) == unix.IFF_TAP
		case nl.IFLA_TUN_PERSIST:
			s.persist = u8(v) != 0
		}
	})
	return s
}

// EachAttr calls f for each netlink attribute in b, nested and byte-order
// flags taken off its kind. It fails on an attribute that does not fit.
func EachAttr(b []byte, f func(kind uint16, value []byte)) error {
	for len(b) >= unix.SizeofRtAttr {
		size := int(binary.NativeEndian.Uint16(b))
		kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		if size < unix.SizeofRtAttr || size > len(b) {
			return errors.New("attribute does not fit its message")
		}
		f(kind, b[unix.SizeofRtAttr:size])
		b = b[min(len(b), (size+3)&^3):]
	}
	return nil
}

func text(b []byte) string { return strings.TrimRight(string(b), "\x00") }

func u8(b []byte) uint8 {
	if len(b) < 1 {
		return 0
	}
	return b[0]
}

func u32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}

// lookup returns the link with that name, and false if there is none.
func lookup(c *netns.Conn, name string) (device, bool, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	return answer(c, req)
}

// lookupIndex is lookup by index.
func lookupIndex(c *netns.Conn, index int) (device, bool, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	req.AddData(msg)
	return answer(c, req)
}

func answer(c *netns.Conn, req *nl.NetlinkRequest) (device, bool, error) {
	msgs, err := c.Get(req, unix.RTM_NEWLINK)
	if errors.Is(err, unix.ENODEV) {
		return device{}, false, nil
	}
	if err != nil {
		return device{}, false, err
	}
	if len(msgs) == 0 {
		return device{}, false, nil
	}
	d, err := parseDevice(msgs[0])
	return d, err == nil, err
}

// devices lists the links of a namespace.
func devices(c *netns.Conn) ([]device, error) {
	msgs, err := c.Dump(func() *nl.NetlinkRequest {
		req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
		req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
		return req
	}, unix.RTM_NEWLINK)
	if err != nil {
		return nil, err
	}
	out := make([]device, 0, len(msgs))
	for _, m := range msgs {
		d, err := parseDevice(m)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}
