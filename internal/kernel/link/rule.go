package link

import (
	"errors"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Attributes of a rule that package unix has no names for (linux/fib_rules.h).
const (
	fraIIFName        = 3
	fraPriority       = 6
	fraSuppressPrefix = 14 // u32
	fraTable          = 15
	fraProtocol       = 21 // u8; Linux 4.17
	frToTable         = 1  // FR_ACT_TO_TBL
	ruleHeader        = 12 // struct fib_rule_hdr
)

// makeRule adds a routing rule, or replaces our own other one of that place.
func (l *Links) makeRule(i plan.Rule) error {
	c, err := l.spaces.Conn(i.NS)
	if err != nil {
		return err
	}
	defer l.spaces.Release(i.NS, c)
	what := "add a routing rule for " + i.In
	// The kernel takes the same rule twice where it only half knows NLM_F_EXCL.
	have, err := rules(c, i.NS)
	if err != nil {
		return kernelError(what, err)
	}
	there := false
	for _, old := range have {
		switch {
		case old.Key() != i.Key():
		case !there && old == i.Bare():
			there = true
		default:
			if err := sendRule(c, unix.RTM_DELRULE, 0, old); err != nil && !errors.Is(err, unix.ENOENT) {
				return kernelError(what, err)
			}
		}
	}
	if there {
		return nil
	}
	return kernelError(what, sendRule(c, unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, i))
}

// deleteRule removes our rules of that place.
func (l *Links) deleteRule(i plan.Rule) error {
	c, err := l.spaces.Conn(i.NS)
	if vnet.Is(err, vnet.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer l.spaces.Release(i.NS, c)
	what := "remove the routing rule for " + i.In
	have, err := rules(c, i.NS)
	if err != nil {
		return kernelError(what, err)
	}
	for _, old := range have {
		if old.Key() != i.Key() {
			continue
		}
		if err := sendRule(c, unix.RTM_DELRULE, 0, old); err != nil && !errors.Is(err, unix.ENOENT) {
			return kernelError(what, err)
		}
	}
	return nil
}

func sendRule(c *netns.Conn, kind, flags int, r plan.Rule) error {
	req := nl.NewNetlinkRequest(kind, flags)
	msg := &nl.RtMsg{} // of the same shape as struct fib_rule_hdr
	msg.Family = uint8(unix.AF_INET)
	if r.Family == vnet.IPv6 {
		msg.Family = unix.AF_INET6
	}
	msg.Type = frToTable
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(fraIIFName, nl.ZeroTerminated(r.In)))
	req.AddData(nl.NewRtAttr(fraPriority, nl.Uint32Attr(uint32(r.Priority))))
	req.AddData(nl.NewRtAttr(fraTable, nl.Uint32Attr(uint32(r.Table))))
	req.AddData(nl.NewRtAttr(fraProtocol, nl.Uint8Attr(plan.RouteProtocol)))
	if r.NoDefault {
		req.AddData(nl.NewRtAttr(fraSuppressPrefix, nl.Uint32Attr(0)))
	}
	return c.Do(req)
}

// rules lists the routing rules of ours in a namespace.
func rules(c *netns.Conn, ns string) ([]plan.Rule, error) {
	var out []plan.Rule
	for _, family := range []uint8{unix.AF_INET6, unix.AF_INET} {
		msgs, err := c.Dump(func() *nl.NetlinkRequest {
			req := nl.NewNetlinkRequest(unix.RTM_GETRULE, 0)
			msg := &nl.RtMsg{}
			msg.Family = family
			req.AddData(msg)
			return req
		}, unix.RTM_NEWRULE)
		if errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) {
			continue // a kernel without IPv6, or without policy routing
		}
		if err != nil {
			return nil, err
		}
		for _, m := range msgs {
			if r, ok := ParseRule(m); ok {
				r.NS = ns
				out = append(out, r)
			}
		}
	}
	return out, nil
}

// ParseRule decodes an RTM_NEWRULE or RTM_DELRULE message; false for what is not
// ours.
func ParseRule(msg []byte) (plan.Rule, bool) {
	if len(msg) < ruleHeader {
		return plan.Rule{}, false
	}
	head := nl.DeserializeRtMsg(msg)
	r := plan.Rule{Family: vnet.IPv4, Table: int(head.Table)}
	if head.Family == unix.AF_INET6 {
		r.Family = vnet.IPv6
	}
	ours := false
	err := EachAttr(msg[ruleHeader:], func(kind uint16, v []byte) {
		switch kind {
		case fraIIFName:
			r.In = zeroTerminated(v)
		case fraPriority:
			r.Priority = int(u32(v))
		case fraTable:
			r.Table = int(u32(v))
		case fraSuppressPrefix:
			r.NoDefault = u32(v) == 0
		case fraProtocol:
			ours = len(v) == 1 && v[0] == plan.RouteProtocol
		}
	})
	return r, err == nil && ours && r.In != ""
}

func zeroTerminated(v []byte) string {
	for i, b := range v {
		if b == 0 {
			return string(v[:i])
		}
	}
	return string(v)
}

// rules reports the rules of ours in a namespace.
func (a *actual) rules(c *netns.Conn, ns string) error {
	all, err := rules(c, ns)
	if err != nil {
		return err
	}
	seen := map[plan.Key]bool{}
	for _, got := range all {
		if seen[got.Key()] {
			got.Table = 0 // twice: to be made again, which leaves one
		}
		seen[got.Key()] = true
		if w, ok := a.want[got.Key()].(plan.Rule); ok && w.Bare() == got {
			got = w
		}
		a.put(got)
	}
	return nil
}
