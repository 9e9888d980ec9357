package xml

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/sextant-net/sextant/internal/vnet"
)

// optionNames are dnsmasq's names for options, by family.
var optionNames = map[vnet.Family]map[string]uint16{
	vnet.IPv4: {
		"netmask": 1, "time-offset": 2, "router": 3, "dns-server": 6, "log-server": 7, "lpr-server": 9, "domain-name": 15,
		"root-path": 17, "mtu": 26, "broadcast": 28, "nis-domain": 40, "nis-server": 41, "ntp-server": 42, "netbios-ns": 44,
		"tftp-server": 66, "bootfile-name": 67, "posix-timezone": 100, "tzdb-timezone": 101, "domain-search": 119,
		"sip-server": 120, "classless-static-route": 121, "server-ip-address": 255,
	},
	vnet.IPv6: {
		"sip-server-domain": 21, "sip-server": 22, "dns-server": 23, "domain-search": 24, "nis-server": 27, "sntp-server": 31,
		"information-refresh-time": 32, "ntp-server": 56, "bootfile-url": 59, "bootfile-param": 60,
	},
}

// optionTypes are those of options whose values do not show it.
var optionTypes = map[vnet.Family]map[uint16]string{
	vnet.IPv4: {2: "u32", 13: "u16", 19: "u8", 20: "u8", 23: "u8", 24: "u32", 26: "u16", 35: "u32", 37: "u8", 38: "u32", 116: "u8", 119: "name"},
	vnet.IPv6: {21: "name", 24: "name", 32: "u32"},
}

// takeDHCPOption reads [option:NAME|option6:NAME|option6:N|N],VALUE…. Tags and
// vendor classes are not known.
func takeDHCPOption(o *Objects, s string) bool {
	key, value, _ := strings.Cut(s, ",")
	f := vnet.IPv4
	if rest, ok := strings.CutPrefix(key, "option6:"); ok {
		f, key = vnet.IPv6, rest
	} else {
		key = strings.TrimPrefix(key, "option:")
	}
	code, ok := optionNames[f][key]
	if !ok {
		n, err := strconv.ParseUint(key, 10, 16)
		if err != nil {
			return false
		}
		code = uint16(n)
	}
	out := vnet.DHCPOption{Family: f, Code: code}
	out.Type, out.Value = optionValue(f, code, value)
	if _, err := out.Bytes(); err != nil {
		return false
	}
	l := &o.Network.DHCP.Options
	*l = append(*l, out)
	return true
}

// optionValue finds the type of a value as dnsmasq does: addresses, numbers of
// options that have them, bytes in hexadecimal, else text.
func optionValue(f vnet.Family, code uint16, value string) (kind, text string) {
	words := strings.Split(value, ",")
	if t := optionTypes[f][code]; t != "" {
		return t, strings.Join(words, " ")
	}
	addresses := true
	for i, w := range words {
		w = strings.TrimSuffix(strings.TrimPrefix(w, "["), "]")
		a, err := netip.ParseAddr(w)
		addresses = addresses && err == nil && vnet.FamilyOf(a) == f
		words[i] = w
	}
	if addresses {
		return "ip", strings.Join(words, " ")
	}
	if hex := strings.Split(value, ":"); len(hex) > 1 {
		all := true
		for _, w := range hex {
			_, err := strconv.ParseUint(w, 16, 8)
			all = all && err == nil && len(w) == 2
		}
		if all {
			return "hex", value
		}
	}
	return "text", strings.Trim(value, `"`)
}

// takeDHCPHost reads MAC|id:DUID|NAME,…ADDRESS|[IPV6]…: an address of each
// family for one guest, and its name.
func takeDHCPHost(o *Objects, s string) bool {
	var r vnet.Reservation
	var addrs []netip.Addr
	for _, w := range strings.Split(s, ",") {
		w = strings.TrimSpace(w)
		id, isID := strings.CutPrefix(w, "id:")
		six := strings.TrimSuffix(strings.TrimPrefix(w, "["), "]")
		if mac, ok := parseMAC(w); ok && r.MAC == (vnet.MAC{}) {
			r.MAC = mac
		} else if isID && r.DUID == "" {
			r.DUID = duid(id)
		} else if a, err := netip.ParseAddr(six); err == nil && a.Is6() == (six != w) {
			addrs = append(addrs, a)
		} else if vnet.CheckHostname("", w) == nil && r.Client == "" {
			r.Client = strings.ToLower(w)
		} else {
			return false
		}
	}
	name := r.Client
	if r.MAC != (vnet.MAC{}) || r.DUID != "" {
		r.Client = ""
	}
	for _, a := range addrs {
		one := r
		one.Network, one.Address = o.Network.ID, a
		o.Reservations = append(o.Reservations, &one)
		if name != "" && r.Client == "" {
			o.addRecord(addressRecord(name, a))
		}
	}
	return len(addrs) > 0 && (r.MAC != (vnet.MAC{}) || r.DUID != "" || r.Client != "")
}

// takeDHCPBoot reads FILE[,SERVER[,ADDRESS]].
func takeDHCPBoot(o *Objects, s string) bool {
	words := strings.Split(s, ",")
	if words[0] == "" || len(words) > 3 {
		return false
	}
	b := &o.Network.Boot
	b.Files = []vnet.BootFile{{Client: "any", File: words[0]}}
	if server := words[len(words)-1]; len(words) > 1 && server != "" {
		b.Server = server
	}
	return true
}
