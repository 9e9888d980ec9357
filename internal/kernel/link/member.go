package link

import (
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// join puts the link into the bridge and sets it up.
func (l *Links) join(i plan.Member) error {
	c, err := l.spaces.Conn("")
	if err != nil {
		return err
	}
	what := "put " + i.Link + " into bridge " + i.Bridge
	b, found, err := lookup(c, i.Bridge)
	if err != nil {
		return kernelError(what, err)
	}
	if !found {
		return missing("", i.Bridge)
	}
	if b.kind != kindBridge {
		return vnet.Errorf(vnet.ErrInvalid, "link %s is no bridge", i.Bridge)
	}
	d, found, err := lookup(c, i.Link)
	if err != nil {
		return kernelError(what, err)
	}
	if !found {
		return missing("", i.Link)
	}
	return kernelError(what, joinDevice(c, i, d, b.index))
}

// joinDevice isolates before it sets up, so that an isolated port never
// forwards to others of its kind.
func joinDevice(c *netns.Conn, i plan.Member, d device, bridge int) error {
	moved := d.master != bridge
	isolate := i.Isolated != d.isolated || moved && i.Isolated
	if moved && isolate {
		// A link that is up forwards as soon as it has joined.
		if err := newRequest().index(d.index).flag(unix.IFF_UP, false).master(bridge).change(c); err != nil {
			return err
		}
		d.up = false
	} else if moved {
		return newRequest().index(d.index).master(bridge).flag(unix.IFF_UP, true).change(c)
	}
	if isolate {
		if err := setIsolated(c, d.index, i.Isolated); err != nil {
			return err
		}
	}
	if d.up {
		return nil
	}
	return newRequest().index(d.index).flag(unix.IFF_UP, true).change(c)
}

func setIsolated(c *netns.Conn, index int, on bool) error {
	v := uint8(0)
	if on {
		v = 1
	}
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_SLAVE_KIND, nl.NonZeroTerminated(kindBridge))
	info.AddRtAttr(nl.IFLA_INFO_SLAVE_DATA, nil).AddRtAttr(nl.IFLA_BRPORT_ISOLATED, nl.Uint8Attr(v))
	r := newRequest().index(index)
	r.attrs = append(r.attrs, info)
	return r.change(c)
}

// leave takes the link out of the bridge, if it is still in it.
func (l *Links) leave(i plan.Member) error {
	c, err := l.spaces.Conn("")
	if err != nil {
		return err
	}
	what := "take " + i.Link + " out of bridge " + i.Bridge
	d, found, err := lookup(c, i.Link)
	if err != nil || !found || d.master == 0 {
		return kernelError(what, err)
	}
	b, found, err := lookupIndex(c, d.master)
	if err != nil || !found || b.name != i.Bridge {
		return kernelError(what, err)
	}
	return kernelError(what, newRequest().index(d.index).master(0).change(c))
}

// setUp sets the link up.
func (l *Links) setUp(i plan.Up) error {
	c, err := l.spaces.Conn(i.NS)
	if err != nil {
		return err
	}
	defer l.spaces.Release(i.NS, c)
	d, found, err := lookup(c, i.Link)
	if err != nil {
		return kernelError("set "+i.Link+" up", err)
	}
	if !found {
		return missing(i.NS, i.Link)
	}
	if d.up {
		return nil
	}
	return kernelError("set "+i.Link+" up", newRequest().index(d.index).flag(unix.IFF_UP, true).change(c))
}

// setDown sets a link of ours down, if it is still there.
func (l *Links) setDown(i plan.Up) error {
	c, err := l.spaces.Conn(i.NS)
	if vnet.Is(err, vnet.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer l.spaces.Release(i.NS, c)
	d, found, err := lookup(c, i.Link)
	if err != nil || !found || !d.up || i.NS == "" && !d.ours() {
		return kernelError("set "+i.Link+" down", err)
	}
	return kernelError("set "+i.Link+" down", newRequest().index(d.index).flag(unix.IFF_UP, false).change(c))
}

// leaving is the device group that links join to be removed together.
const leaving = 8384

// deleteLinks removes links of ours. The kernel waits some milliseconds for
// each removal, but removes a whole group at the price of one.
func (l *Links) deleteLinks(items []plan.Item, fail func(plan.Key, error)) {
	byNS := map[string][]plan.Item{}
	for _, i := range items {
		byNS[i.Key().NS] = append(byNS[i.Key().NS], i)
	}
	for ns, items := range byNS {
		c, err := l.spaces.Conn(ns)
		if vnet.Is(err, vnet.ErrNotFound) {
			continue // gone with its namespace
		}
		for _, i := range items {
			e := err
			if e == nil {
				e = deleteLink(c, i.Key().Name, len(items) > 2)
			}
			fail(i.Key(), e)
		}
		if err != nil {
			continue
		}
		if len(items) > 2 {
			// ENODEV: nothing was left to remove.
			if err := newRequest().group(leaving).remove(c); err != nil && !isNoDevice(err) {
				for _, i := range items {
					fail(i.Key(), kernelError("remove links", err))
				}
			}
		}
		l.spaces.Release(ns, c)
	}
}

// deleteLink removes the link if it is ours, or puts it into the group of
// those to be removed.
func deleteLink(c *netns.Conn, name string, later bool) error {
	d, found, err := lookup(c, name)
	if err != nil || !found || !d.ours() {
		return kernelError("remove link "+name, err)
	}
	r := newRequest().index(d.index)
	if later {
		err = r.group(leaving).change(c)
	} else {
		err = r.remove(c)
	}
	if isNoDevice(err) {
		return nil
	}
	return kernelError("remove link "+name, err)
}
