package link

import (
	"errors"
	"io/fs"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// makeTap makes the tap or brings it into line.
//
// It is a plain one: no packet information, one queue, no virtio-net header.
// QEMU and libvirt set the header flag themselves whenever they attach
// (TUNSETIFF on an existing tap takes the flags anew), but the kernel refuses
// an attach that asks for several queues of a tap made with one: a guest with
// multi-queue needs a tap that libvirt makes itself.
func (l *Links) makeTap(i plan.Tap) error {
	c, err := l.spaces.Conn("")
	if err != nil {
		return err
	}
	uid, err := lookupUser(i.User)
	if err != nil {
		return err
	}
	what := "tap " + i.Name
	d, found, err := lookup(c, i.Name)
	if err != nil {
		return kernelError(what, err)
	}
	if found && !d.ours() {
		return foreign(d)
	}
	if found && (d.kind != kindTun || d.tun.tap == i.L3) {
		if err := newRequest().index(d.index).remove(c); err != nil {
			return kernelError("replace "+d.kind+" "+i.Name, err)
		}
		found = false
	}
	if found {
		return kernelError("change "+what, l.mendTap(c, i, uid, d))
	}
	return l.spaces.Do("", func() error { return createTap(c, i, uid) })
}

// createTap makes the tap persistent last, when it has its mark: if we die
// before, the kernel removes it.
func createTap(c *netns.Conn, i plan.Tap, uid int) error {
	what := "make tap " + i.Name
	fd, err := openTun(i)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := newRequest().name(i.Name).mac(i.MAC).mtu(i.MTU).group(Group).alias(i.Owner).change(c); err != nil {
		return kernelError(what, err)
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETOWNER, uid); err != nil {
		return kernelError(what, err)
	}
	return kernelError(what, unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1))
}

func openTun(i plan.Tap) (int, error) {
	name, mode := i.Name, uint16(unix.IFF_TAP)
	if i.L3 {
		mode = unix.IFF_TUN
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENXIO) {
		return -1, vnet.Errorf(vnet.ErrUnsupported, "tap %s: there is no /dev/net/tun", name).
			WithHint("load the driver: modprobe tun")
	}
	if err != nil {
		return -1, kernelError("open /dev/net/tun", err)
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		unix.Close(fd)
		return -1, vnet.Invalid("device", "%q is no interface name", name).WithHint("use 1 to 15 characters")
	}
	req.SetUint16(mode | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		unix.Close(fd)
		return -1, kernelError("tap "+name, err)
	}
	return fd, nil
}

func (l *Links) mendTap(c *netns.Conn, i plan.Tap, uid int, d device) error {
	r := newRequest().index(d.index)
	if !i.MAC.IsZero() && d.mac != i.MAC {
		r.mac(i.MAC)
	}
	if i.MTU != 0 && d.mtu != i.MTU {
		r.mtu(i.MTU)
	}
	if d.alias != plan.AliasPrefix+i.Owner.String() {
		r.alias(i.Owner)
	}
	if !r.empty() {
		if err := r.change(c); err != nil {
			return err
		}
	}
	if tapHolds(uid, d.tun) {
		return nil
	}
	return l.spaces.Do("", func() error {
		fd, err := openTun(i)
		if errors.Is(err, unix.EBUSY) {
			// A guest has it open, so it has passed the owner check: the new
			// owner takes effect when the guest lets go.
			return vnet.Errorf(vnet.ErrInUse, "tap %s is open: its owner cannot be changed", i.Name).
				WithHint("stop the guest that uses it")
		}
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.IoctlSetInt(fd, unix.TUNSETOWNER, uid); err != nil {
			return err
		}
		return unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1)
	})
}

// tapHolds reports whether the tap lasts and that user may open it.
func tapHolds(uid int, s tunState) bool {
	return s.persist && s.owned && int(s.owner) == uid
}

// lookupUser returns the number of a user: a name, a number, or "" for root.
func lookupUser(name string) (int, error) {
	if name == "" {
		return 0, nil
	}
	if n, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(n), nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, vnet.Invalid("owner", "there is no user %q", name).WithHint("make the user, or leave owner= out for root")
	}
	n, err := strconv.Atoi(u.Uid)
	if err != nil {
		return 0, vnet.Invalid("owner", "user %q has no numeric id", name)
	}
	return n, nil
}

// asTap is the item that the tap holds, want itself where nothing differs.
func asTap(d device, want plan.Tap) plan.Item {
	got := plan.Tap{Name: d.name, L3: !d.tun.tap, Owner: d.owner(), User: strconv.Itoa(int(d.tun.owner)), MAC: d.mac, MTU: d.mtu}
	if want.MAC.IsZero() {
		got.MAC = want.MAC
	}
	if want.MTU == 0 {
		got.MTU = 0
	}
	if uid, err := lookupUser(want.User); err == nil && tapHolds(uid, d.tun) {
		got.User = want.User
	} else if got.User == want.User {
		got.User = "none" // right owner, but it does not last
	}
	return got
}
