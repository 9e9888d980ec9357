package attach

import (
	"errors"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/vnet"
)

// device is what matters of a link here.
type device struct {
	index, master, mtu int
	name, kind, alias  string
	mac                vnet.MAC
	up, carrier        bool
	ethernet           bool
}

// ask finds a link by its name or, without one, its index.
func ask(c *netns.Conn, name string, index int) (device, bool, error) {
	req := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	req.AddData(msg)
	if name != "" {
		req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	}
	msgs, err := c.Get(req, unix.RTM_NEWLINK)
	if errors.Is(err, unix.ENODEV) || err == nil && len(msgs) == 0 {
		return device{}, false, nil
	}
	if err != nil {
		return device{}, false, err
	}
	d, err := readDevice(msgs[0])
	return d, err == nil, err
}

// devices lists all links.
func devices(c *netns.Conn) ([]device, error) {
	msgs, err := dump(c, unix.RTM_GETLINK, unix.RTM_NEWLINK, make([]byte, unix.SizeofIfInfomsg))
	if err != nil {
		return nil, err
	}
	var out []device
	for _, m := range msgs {
		if d, err := readDevice(m); err == nil {
			out = append(out, d)
		}
	}
	return out, nil
}

func readDevice(msg []byte) (device, error) {
	head, attrs, err := cut(msg, unix.SizeofIfInfomsg)
	if err != nil {
		return device{}, err
	}
	info := nl.DeserializeIfInfomsg(head)
	d := device{index: int(info.Index), up: info.Flags&unix.IFF_UP != 0, carrier: info.Flags&unix.IFF_LOWER_UP != 0, ethernet: info.Type == unix.ARPHRD_ETHER}
	for _, a := range attrs {
		switch a.typ() {
		case unix.IFLA_IFNAME:
			d.name = strings.TrimRight(string(a.value), "\x00")
		case unix.IFLA_IFALIAS:
			d.alias = strings.TrimRight(string(a.value), "\x00")
		case unix.IFLA_ADDRESS:
			if len(a.value) == len(d.mac) {
				d.mac = vnet.MAC(a.value)
			}
		case unix.IFLA_MASTER:
			d.master = int(word(a.value))
		case unix.IFLA_MTU:
			d.mtu = int(word(a.value))
		case unix.IFLA_LINKINFO:
			inner, _ := attributes(a.value)
			d.kind = strings.TrimRight(string(find(inner, nl.IFLA_INFO_KIND)), "\x00")
		}
	}
	return d, nil
}

// link sends a message about a link.
func link(c *netns.Conn, kind, flags, index int, change, set uint32, attrs ...*nl.RtAttr) error {
	req := nl.NewNetlinkRequest(kind, flags)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index, msg.Change, msg.Flags = int32(index), change, set
	req.AddData(msg)
	for _, a := range attrs {
		req.AddData(a)
	}
	return c.Do(req)
}

// makeBridge makes the bridge that shares a NIC: with its MAC, which stays
// whatever else joins, and nothing that would talk or hold frames back by itself.
func makeBridge(c *netns.Conn, name string, nic device) error {
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("bridge"))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	data.AddRtAttr(nl.IFLA_BR_FORWARD_DELAY, nl.Uint32Attr(0))
	data.AddRtAttr(nl.IFLA_BR_STP_STATE, nl.Uint32Attr(0))
	data.AddRtAttr(nl.IFLA_BR_MCAST_SNOOPING, nl.Uint8Attr(0))
	attrs := []*nl.RtAttr{
		nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)),
		nl.NewRtAttr(unix.IFLA_ADDRESS, nic.mac[:]),
		nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(nic.mtu))),
		info,
	}
	if err := link(c, unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, 0, 0, 0, attrs...); err != nil {
		return err
	}
	d, found, err := ask(c, name, 0)
	if err != nil || !found {
		return errors.Join(err, unix.ENODEV)
	}
	// The kernel takes no alias with the creation. Until it has one, the record
	// knows whose it is.
	return link(c, unix.RTM_NEWLINK, 0, d.index, 0, 0, nl.NewRtAttr(unix.IFLA_IFALIAS, []byte(alias(nic.name))))
}

func setUp(c *netns.Conn, index int) error {
	return link(c, unix.RTM_NEWLINK, 0, index, unix.IFF_UP, unix.IFF_UP)
}

// setMaster puts a link into a bridge, 0 takes it out.
func setMaster(c *netns.Conn, index, master int) error {
	return link(c, unix.RTM_NEWLINK, 0, index, 0, 0, nl.NewRtAttr(unix.IFLA_MASTER, nl.Uint32Attr(uint32(master))))
}

func remove(c *netns.Conn, index int) error {
	return link(c, unix.RTM_DELLINK, 0, index, 0, 0)
}
