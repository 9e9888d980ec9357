package attach

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/vnet"
)

// fit finds the NIC and says why it cannot be shared, in the words of whoever
// manages it.
func (h *Host) fit(c *netns.Conn, nic string) (device, error) {
	d, found, err := ask(c, nic, 0)
	switch {
	case err != nil:
		return d, kernelError("find "+nic, err)
	case !found:
		return d, vnet.Errorf(vnet.ErrNotFound, "this host has no link %s", nic)
	case d.kind == "bridge":
		return d, refuse("%s is a bridge", nic).WithHint("networks can be on it as it is: say link=%s", nic)
	case h.wireless(nic):
		return d, refuse("%s is Wi-Fi, whose access points carry no frames of other stations", nic).
			WithHint("share a wired NIC; ipv6=proxied works over Wi-Fi")
	case !d.ethernet || d.mac.IsZero():
		return d, refuse("%s is no Ethernet", nic).WithHint("share an Ethernet NIC; over a tunnel or PPP say ipv6=delegated or ipv6=nptv6")
	case d.master != 0:
		m, _, _ := ask(c, "", d.master)
		return d, refuse("%s already belongs to %s", nic, m.name).WithHint("say link=%s if that is a bridge", m.name)
	}
	if err := h.unmanaged(d); err != nil {
		return d, err
	}
	return d, nil
}

func refuse(format string, args ...any) *vnet.Error {
	return vnet.Errorf(vnet.ErrUnsupported, format, args...)
}

func (h *Host) wireless(nic string) (yes bool) {
	_ = h.spaces.Do("", func() error {
		for _, dir := range []string{"phy80211", "wireless"} {
			if unix.Access("/sys/class/net/"+nic+"/"+dir, unix.F_OK) == nil {
				yes = true
			}
		}
		return nil
	})
	return yes
}

// unmanaged says no where another program keeps the NIC as it wants it: it would
// put the addresses back, or take the NIC out of the bridge again.
func (h *Host) unmanaged(d device) error {
	index := strconv.Itoa(d.index)
	switch {
	case says(h.opt.Run, "systemd/netif/links/"+index, "ADMIN_STATE=", "configured", "configuring", "degraded", "pending", "initialized"):
		return refuse("%s is managed by systemd-networkd, which would move its addresses back", d.name).
			WithHint("make a bridge in /etc/systemd/network: a .netdev with Kind=bridge and MACAddress=%s, a .network for it with what %s's has, and Bridge= in %s's; then `networkctl reload`. By DHCP the address stays if the bridge's [DHCPv4] has IAID= as `networkctl status %s` shows it now. Networks share any bridge: link=BRIDGE", d.mac, d.name, d.name, d.name)
	case says(h.opt.Run, "NetworkManager/devices/"+index, "managed=", "true", "1", "yes"):
		return refuse("%s is managed by NetworkManager, which would move its addresses back", d.name).
			WithHint("nmcli connection add type bridge ifname br0 con-name br0 bridge.stp no bridge.mac-address %s && nmcli connection add type ethernet ifname %s master br0 con-name br0-port && nmcli connection up br0-port. Networks share any bridge: link=br0", d.mac, d.name)
	case interfaces(h.opt.Run, d.name):
		return refuse("%s is managed by ifupdown, which would not find its addresses any more", d.name).
			WithHint("in /etc/network/interfaces say `iface br0 inet …` with what %s has, and `bridge_ports %s`, `bridge_stp off`, `bridge_fd 0`; then `ifdown %s; ifup br0`. Networks share any bridge: link=br0", d.name, d.name, d.name)
	}
	if who := h.client(d.name); who != "" {
		return refuse("%s keeps %s's address; it would renew it on a NIC that no longer hears the answers", who, d.name).
			WithHint("make a bridge with %s in it, have %s run on the bridge, and say link=BRIDGE", d.name, who)
	}
	return nil
}

// steady says no where an IPv4 address has an end: whoever prolongs it would do
// so on the NIC. Those of IPv6 are the kernel's business.
func steady(nic string, s *state) error {
	for _, m := range s.Addresses {
		if _, a, _, err := readAddress(m); err == nil && a.prefix.Addr().Is4() && lifetime(m) != ^uint32(0) {
			return refuse("the address %s of %s has an end: a DHCP client keeps it, which would prolong it on %s", a.prefix, nic, nic).
				WithHint("have the client run on a bridge with %s in it, and say link=BRIDGE", nic)
		}
	}
	return nil
}

// maxFile bounds what is read of one file.
const maxFile = 64 << 10

func read(root fs.FS, name string) string {
	f, err := root.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, maxFile)) // what could be read of it
	return string(b)
}

// says reports whether a line of a file is the key with one of the values.
func says(root fs.FS, name, key string, values ...string) bool {
	for line := range strings.Lines(read(root, name)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), key); ok {
			for _, want := range values {
				if v == want {
					return true
				}
			}
		}
	}
	return false
}

// interfaces reports whether ifupdown has the link up.
func interfaces(root fs.FS, nic string) bool {
	for line := range strings.Lines(read(root, "network/ifstate") + "\n" + read(root, "network/ifstate."+nic)) {
		if link, _, _ := strings.Cut(strings.TrimSpace(line), "="); link == nic {
			return true
		}
	}
	return false
}

// clients are programs that keep an address by DHCP.
var clients = map[string]bool{"dhclient": true, "dhcpcd": true, "udhcpc": true, "dhcp6c": true, "wide-dhcpv6-client": true, "connmand": true}

// client names a DHCP client that runs for the NIC in the host's namespace.
func (h *Host) client(nic string) string {
	var own unix.Stat_t
	f, err := h.spaces.Open("")
	if err != nil {
		return ""
	}
	defer f.Close()
	if unix.Fstat(int(f.Fd()), &own) != nil {
		return ""
	}
	entries, err := fs.ReadDir(h.opt.Proc, ".")
	if err != nil {
		return ""
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		if who := clientOf(read(h.opt.Proc, path.Join(e.Name(), "cmdline")), nic); who != "" {
			var st unix.Stat_t
			at := fmt.Sprintf("/proc/%s/ns/net", e.Name())
			if unix.Stat(at, &st) == nil && st.Ino == own.Ino {
				return who
			}
		}
	}
	return ""
}

// clientOf is the program of a command line if it is a DHCP client for the NIC,
// or for all.
func clientOf(cmdline, nic string) string {
	args := bytes.Split([]byte(strings.TrimRight(cmdline, "\x00")), []byte{0})
	// dhcpcd writes its title over its arguments, with blanks.
	if len(args) == 1 {
		args = bytes.Fields(args[0])
	}
	if len(args) == 0 {
		return ""
	}
	name := strings.TrimSuffix(path.Base(string(args[0])), ":")
	if !clients[name] {
		return ""
	}
	links := 0
	for _, a := range args[1:] {
		if string(a) == nic {
			return name
		}
		if len(a) > 0 && a[0] != '-' && a[0] != '/' {
			links++
		}
	}
	if links == 0 {
		return name
	}
	return ""
}
