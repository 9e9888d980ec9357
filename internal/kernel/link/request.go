package link

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// request is a link message under construction.
type request struct {
	head  *nl.IfInfomsg
	attrs []nl.NetlinkRequestData
}

func newRequest() *request { return &request{head: nl.NewIfInfomsg(unix.AF_UNSPEC)} }

func (r *request) add(kind int, data []byte) *request {
	r.attrs = append(r.attrs, nl.NewRtAttr(kind, data))
	return r
}

func (r *request) name(s string) *request { return r.add(unix.IFLA_IFNAME, nl.ZeroTerminated(s)) }
func (r *request) index(i int) *request   { r.head.Index = int32(i); return r }
func (r *request) mac(m vnet.MAC) *request {
	if m.IsZero() {
		return r
	}
	return r.add(unix.IFLA_ADDRESS, m[:])
}
func (r *request) mtu(n int) *request {
	if n == 0 {
		return r
	}
	return r.add(unix.IFLA_MTU, nl.Uint32Attr(uint32(n)))
}
func (r *request) group(n uint32) *request { return r.add(unix.IFLA_GROUP, nl.Uint32Attr(n)) }
func (r *request) alias(o vnet.Ref) *request {
	return r.add(unix.IFLA_IFALIAS, []byte(plan.AliasPrefix+o.String()))
}
func (r *request) master(index int) *request {
	return r.add(unix.IFLA_MASTER, nl.Uint32Attr(uint32(index)))
}
func (r *request) flag(f uint32, on bool) *request {
	r.head.Change |= f
	if on {
		r.head.Flags |= f
	}
	return r
}

// info adds IFLA_LINKINFO with the kind and what data puts below it.
func (r *request) info(kind string, data func(*nl.RtAttr)) *request {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated(kind))
	data(info.AddRtAttr(nl.IFLA_INFO_DATA, nil))
	r.attrs = append(r.attrs, info)
	return r
}

// empty reports whether the request would change nothing.
func (r *request) empty() bool { return len(r.attrs) == 0 && r.head.Change == 0 }

func (r *request) send(c *netns.Conn, kind, flags int) error {
	req := nl.NewNetlinkRequest(kind, flags)
	req.AddData(r.head)
	for _, a := range r.attrs {
		req.AddData(a)
	}
	return c.Do(req)
}

// create makes the link; EEXIST if the name is taken.
func (r *request) create(c *netns.Conn) error {
	return r.send(c, unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
}

// change changes the link that index or name says.
func (r *request) change(c *netns.Conn) error { return r.send(c, unix.RTM_NEWLINK, 0) }

// remove deletes the link that index or name says, or all of the group.
func (r *request) remove(c *netns.Conn) error { return r.send(c, unix.RTM_DELLINK, 0) }

// kernelError words what the kernel refused.
func kernelError(what string, err error) error {
	if err == nil {
		return nil
	}
	var own *vnet.Error
	if errors.As(err, &own) {
		return err
	}
	e := vnet.Errorf(vnet.ErrHost, "%s: %w", what, err)
	switch {
	case errors.Is(err, unix.EPERM):
		return e.WithHint("run as root, or with CAP_NET_ADMIN")
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EAFNOSUPPORT):
		e.Kind = vnet.ErrUnsupported
		return e.WithHint("this kernel does not have it")
	}
	return e
}

// foreign says that a name is taken by a link that is not ours.
func foreign(d device) error {
	kind := d.kind
	if kind == "" {
		kind = "network card"
	}
	return vnet.Errorf(vnet.ErrConflict, "link %s exists and is not Sextant's (%s)", d.name, kind).
		WithHint("remove it (ip link delete %s) or choose another name", d.name)
}

// missing says that a link that something needs is not there.
func missing(ns, name string) error {
	where := ""
	if ns != "" {
		where = fmt.Sprintf(" in network namespace %s", ns)
	}
	return vnet.Errorf(vnet.ErrNotFound, "link %s does not exist%s", name, where)
}
