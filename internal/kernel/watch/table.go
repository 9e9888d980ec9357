package watch

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/kernel/link"
	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// table is the links of a namespace with their addresses, by index.
type table struct {
	links map[int]seen
}

// seen is a link as it was seen last.
type seen struct {
	plan.Link        // Master is filled when facts are built
	master    int    // index
	hardware  uint16 // ARPHRD_*
	flags     uint32
	group     uint32
	addresses map[netip.Prefix]bool
}

// ours reports whether the link carries our mark, whole or half-made.
func (s seen) ours() bool {
	return strings.HasPrefix(s.Alias, plan.AliasPrefix) || s.Alias == "" && s.group == link.Group
}

// shape is what we decide about a link of ours: a change of it is drift.
type shape struct {
	name, kind, alias string
	mac               vnet.MAC
	mtu, master       int
	up                bool
}

func (s seen) shape() shape {
	return shape{s.Name, s.Type, s.Alias, s.MAC, s.MTU, s.master, s.Up}
}

// parseLink decodes an RTM_NEWLINK or RTM_DELLINK message.
func parseLink(msg []byte) (seen, bool) {
	if len(msg) < unix.SizeofIfInfomsg {
		return seen{}, false
	}
	head := nl.DeserializeIfInfomsg(msg)
	if head.Family != unix.AF_UNSPEC {
		return seen{}, false // a bridge's word about a port
	}
	s := seen{hardware: head.Type, flags: head.Flags}
	s.Index = int(head.Index)
	s.Up = head.Flags&unix.IFF_UP != 0
	s.Carrier = head.Flags&unix.IFF_LOWER_UP != 0
	err := link.EachAttr(msg[unix.SizeofIfInfomsg:], func(kind uint16, v []byte) {
		switch kind {
		case unix.IFLA_IFNAME:
			s.Name = strings.TrimRight(string(v), "\x00")
		case unix.IFLA_IFALIAS:
			s.Alias = strings.TrimRight(string(v), "\x00")
		case unix.IFLA_ADDRESS:
			if len(v) == len(s.MAC) {
				s.MAC = vnet.MAC(v)
			}
		case unix.IFLA_MTU:
			s.MTU = number(v)
		case unix.IFLA_MASTER:
			s.master = number(v)
		case unix.IFLA_GROUP:
			s.group = uint32(number(v))
		case unix.IFLA_LINKINFO:
			_ = link.EachAttr(v, func(kind uint16, v []byte) {
				if kind == nl.IFLA_INFO_KIND {
					s.Type = strings.TrimRight(string(v), "\x00")
				}
			})
		}
	})
	return s, err == nil && s.Name != ""
}

func number(v []byte) int {
	if len(v) < 4 {
		return 0
	}
	return int(binary.NativeEndian.Uint32(v))
}

// address is one address of a link.
type address struct {
	index  int
	prefix netip.Prefix
	proto  uint8
	flags  uint32
}

// ifaProto is IFA_PROTO (Linux 5.18).
const ifaProto = 11

// parseAddress decodes an RTM_NEWADDR or RTM_DELADDR message.
func parseAddress(msg []byte) (address, bool) {
	if len(msg) < unix.SizeofIfAddrmsg {
		return address{}, false
	}
	a := address{index: int(binary.NativeEndian.Uint32(msg[4:])), flags: uint32(msg[2])}
	var local, other netip.Addr
	err := link.EachAttr(msg[unix.SizeofIfAddrmsg:], func(kind uint16, v []byte) {
		switch kind {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(v)
		case unix.IFA_ADDRESS:
			other, _ = netip.AddrFromSlice(v)
		case unix.IFA_FLAGS:
			a.flags = uint32(number(v))
		case ifaProto:
			if len(v) > 0 {
				a.proto = v[0]
			}
		}
	})
	if !local.IsValid() {
		local = other
	}
	a.prefix = netip.PrefixFrom(local, int(msg[1]))
	return a, err == nil && a.prefix.IsValid()
}

// readTable reads all links and addresses of a namespace.
func readTable(c *netns.Conn) (table, error) {
	t := table{links: map[int]seen{}}
	msgs, err := c.Dump(func() *nl.NetlinkRequest {
		req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
		req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
		return req
	}, unix.RTM_NEWLINK)
	if err != nil {
		return t, vnet.Errorf(vnet.ErrHost, "list links: %w", err)
	}
	for _, m := range msgs {
		if s, ok := parseLink(m); ok {
			t.put(s)
		}
	}
	msgs, err = c.Dump(func() *nl.NetlinkRequest {
		req := nl.NewNetlinkRequest(unix.RTM_GETADDR, 0)
		req.AddData(nl.NewIfAddrmsg(unix.AF_UNSPEC))
		return req
	}, unix.RTM_NEWADDR)
	if err != nil {
		return t, vnet.Errorf(vnet.ErrHost, "list addresses: %w", err)
	}
	for _, m := range msgs {
		if a, ok := parseAddress(m); ok {
			t.address(a, true)
		}
	}
	return t, nil
}

// put takes a link in, keeping the addresses it has.
func (t *table) put(s seen) {
	s.addresses = t.links[s.Index].addresses
	if s.addresses == nil {
		s.addresses = map[netip.Prefix]bool{}
	}
	t.links[s.Index] = s
}

// address takes an address in or out; false if that changes nothing.
func (t *table) address(a address, there bool) bool {
	s, ok := t.links[a.index]
	if !ok || s.addresses[a.prefix] == there {
		return false
	}
	if there {
		s.addresses[a.prefix] = true
	} else {
		delete(s.addresses, a.prefix)
	}
	return true
}

// link returns the link in the form of facts.
func (t *table) link(index int) plan.Link {
	s := t.links[index]
	l := s.Link
	if s.master != 0 {
		l.Master = t.links[s.master].Name
	}
	for p := range s.addresses {
		l.Addresses = append(l.Addresses, p)
	}
	slices.SortFunc(l.Addresses, comparePrefix)
	return l
}

func comparePrefix(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}
