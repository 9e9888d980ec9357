package xml

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// dnsmasqOptions are the options that are understood: each takes the text
// behind the equals sign and reports whether it makes sense.
var dnsmasqOptions = map[string]func(*Objects, string) bool{
	"server":       takeServer,
	"local":        takeServer,
	"address":      takeAddress,
	"host-record":  takeHostRecord,
	"cname":        takeCNAME,
	"txt-record":   takeTXTRecord,
	"srv-host":     takeSRVHost,
	"ra-param":     takeRAParam,
	"dhcp-option":  takeDHCPOption,
	"dhcp-host":    takeDHCPHost,
	"dhcp-boot":    takeDHCPBoot,
	"dhcp-no-ping": func(o *Objects, s string) bool { no := false; o.Network.DHCP.Probe = &no; return s == "" },
}

// translateDnsmasq takes in what <dnsmasq:options> say. Nothing is ignored:
// what we do not know is refused by its name.
func (n *Network) translateDnsmasq(o *Objects) error {
	for _, option := range n.Dnsmasq {
		name, value, _ := strings.Cut(option, "=")
		name = strings.TrimSpace(name)
		take, ok := dnsmasqOptions[name]
		if !ok {
			known := make([]string, 0, len(dnsmasqOptions))
			for k := range dnsmasqOptions {
				known = append(known, k)
			}
			slices.Sort(known)
			return fail(CodeConfigUnsupported, "dnsmasq option '%s' in network '%s' is not supported here; known are %s", name, n.Name, strings.Join(known, ", "))
		}
		if !take(o, strings.TrimSpace(value)) {
			return fail(CodeConfigUnsupported, "dnsmasq option '%s' in network '%s' is not understood", option, n.Name)
		}
	}
	return nil
}

// takeServer reads [/DOMAIN/…/]ADDRESS[#PORT]; without an address the domains
// are asked of nobody.
func takeServer(o *Objects, s string) bool {
	domains := []string{""}
	if strings.HasPrefix(s, "/") {
		i := strings.LastIndex(s, "/")
		domains, s = strings.Split(strings.Trim(s[:i], "/"), "/"), s[i+1:]
	}
	var server netip.AddrPort
	if s != "" {
		host, port, _ := strings.Cut(s, "#")
		a, err := netip.ParseAddr(host)
		p, err2 := uint64(dnsPort), error(nil)
		if port != "" {
			p, err2 = strconv.ParseUint(port, 10, 16)
		}
		if err != nil || err2 != nil {
			return false
		}
		server = netip.AddrPortFrom(a, uint16(p))
	}
	for _, d := range domains {
		if d == "" && !server.IsValid() || d != "" && vnet.CheckDomain("", d) != nil {
			return false
		}
		o.Network.DNS.Forwarders = append(o.Network.DNS.Forwarders, vnet.Forwarder{Domain: strings.ToLower(d), Server: server})
	}
	return true
}

// takeAddress reads /DOMAIN/…/ADDRESS, which holds for the domains and all
// below them.
func takeAddress(o *Objects, s string) bool {
	words := strings.Split(s, "/")
	a, err := netip.ParseAddr(words[len(words)-1])
	if err != nil || len(words) < 3 || words[0] != "" {
		return false
	}
	for _, d := range words[1 : len(words)-1] {
		if vnet.CheckDomain("", d) != nil {
			return false
		}
		for _, name := range []string{absolute(d), "*." + absolute(d)} {
			r := addressRecord("x", a)
			r.Name = name
			o.addRecord(r)
		}
	}
	return true
}

// addRecord adds a record that a definition may say twice.
func (o *Objects) addRecord(r vnet.NameRecord) {
	if d := &o.Network.DNS; !slices.Contains(d.Records, r) {
		d.Records = append(d.Records, r)
	}
}

// takeHostRecord reads NAME,…[,IPV4][,IPV6][,TTL].
func takeHostRecord(o *Objects, s string) bool {
	var names []string
	var addrs []netip.Addr
	ttl := uint64(0)
	for _, w := range strings.Split(s, ",") {
		if a, err := netip.ParseAddr(w); err == nil {
			addrs = append(addrs, a)
		} else if n, err := strconv.ParseUint(w, 10, 31); err == nil && len(addrs) > 0 {
			ttl = n
		} else if vnet.CheckDomain("", w) == nil {
			names = append(names, w)
		} else {
			return false
		}
	}
	for _, name := range names {
		for _, a := range addrs {
			r := addressRecord(name, a)
			r.TTL = uint32(ttl)
			o.addRecord(r)
		}
	}
	return len(names) > 0 && len(addrs) > 0
}

// takeCNAME reads ALIAS,…,TARGET[,TTL].
func takeCNAME(o *Objects, s string) bool {
	words := strings.Split(s, ",")
	ttl := uint64(0)
	if n, err := strconv.ParseUint(words[len(words)-1], 10, 31); err == nil && len(words) > 2 {
		ttl, words = n, words[:len(words)-1]
	}
	if len(words) < 2 {
		return false
	}
	target := relative(words[len(words)-1])
	for _, alias := range words[:len(words)-1] {
		if vnet.CheckDomain("", strings.TrimPrefix(alias, "*.")) != nil || vnet.CheckDomain("", strings.TrimSuffix(target, ".")) != nil {
			return false
		}
		o.addRecord(vnet.NameRecord{Name: relative(alias), TTL: uint32(ttl), Type: "CNAME", Value: target})
	}
	return true
}

// relative leaves a name without dots in the domain.
func relative(name string) string {
	if strings.Contains(name, ".") {
		return absolute(name)
	}
	return strings.ToLower(name)
}

// takeTXTRecord reads NAME[,TEXT…].
func takeTXTRecord(o *Objects, s string) bool {
	name, text, _ := strings.Cut(s, ",")
	if vnet.CheckDomain("", name) != nil {
		return false
	}
	var parts []string
	for _, p := range strings.Split(text, ",") {
		p = strings.Trim(strings.TrimSpace(p), `"`)
		parts = append(parts, `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(p)+`"`)
	}
	o.addRecord(vnet.NameRecord{Name: absolute(name), Type: "TXT", Value: strings.Join(parts, " ")})
	return true
}

// takeSRVHost reads _SERVICE._PROTOCOL[.DOMAIN][,TARGET[,PORT[,PRIORITY[,WEIGHT]]]].
func takeSRVHost(o *Objects, s string) bool {
	words := strings.Split(s, ",")
	name := strings.ToLower(words[0])
	if strings.Count(name, ".") > 1 {
		name = absolute(name)
	}
	if !strings.HasPrefix(name, "_") || vnet.CheckDomain("", strings.TrimSuffix(name, ".")) != nil || len(words) > 5 {
		return false
	}
	r := vnet.NameRecord{Name: name, Type: "SRV", Value: "0 0 0 ."}
	if len(words) > 1 && words[1] != "" {
		n := []string{"1", "0", "0"} // port, priority, weight
		for i, w := range words[2:] {
			if _, err := strconv.ParseUint(w, 10, 16); err != nil {
				return false
			}
			n[i] = w
		}
		if vnet.CheckDomain("", strings.TrimSuffix(words[1], ".")) != nil {
			return false
		}
		r.Value = n[1] + " " + n[2] + " " + n[0] + " " + absolute(words[1])
	}
	o.addRecord(r)
	return true
}

// takeRAParam reads LINK,[mtu:N|off,][high|low,]INTERVAL[,LIFETIME], in seconds.
func takeRAParam(o *Objects, s string) bool {
	ra := &o.Network.RA
	var numbers []time.Duration
	for i, w := range strings.Split(s, ",") {
		mtu, isMTU := strings.CutPrefix(w, "mtu:")
		switch {
		case i == 0: // the link is the network's
		case isMTU:
			n, err := strconv.Atoi(mtu)
			if mtu != "off" && err != nil {
				return false
			}
			ra.MTU = &n
		case w == "high" || w == "low":
			ra.Preference = vnet.Preference(w)
		default:
			n, err := strconv.ParseUint(w, 10, 32)
			if err != nil || len(numbers) == 2 {
				return false
			}
			numbers = append(numbers, time.Duration(n)*time.Second)
		}
	}
	if len(numbers) > 0 {
		ra.MaxInterval = vnet.Duration(numbers[0])
	}
	if len(numbers) > 1 {
		l := vnet.Duration(numbers[1])
		ra.Lifetime = &l
	}
	return strings.Contains(s, ",")
}
