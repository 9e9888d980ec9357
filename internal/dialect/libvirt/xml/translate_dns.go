package xml

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/google/uuid"

	"github.com/sextant-net/sextant/internal/vnet"
)

// dnsPort is where name servers are asked.
const dnsPort = 53

// translateDNS translates <dns>, and what <domain> and <ip> say of names.
func (n *Network) translateDNS(d *vnet.DNSPolicy) {
	d.Off = n.DNS.Enable == "no"
	d.Upwards = n.Domain.Name != nil && n.Domain.LocalOnly != "yes"
	for _, f := range n.DNS.Forwarders {
		out := vnet.Forwarder{}
		if f.Domain != nil {
			out.Domain = strings.ToLower(strings.Trim(*f.Domain, "."))
		}
		if f.Addr.IsValid() {
			out.Server = netip.AddrPortFrom(f.Addr, dnsPort)
		}
		d.Forwarders = append(d.Forwarders, out)
	}
	for i := range n.IPs {
		if zone, ok := n.IPs[i].reverseZone(); ok && n.IPs[i].LocalPTR == "yes" {
			d.Forwarders = append(d.Forwarders, vnet.Forwarder{Domain: zone})
		}
	}
	for _, t := range n.DNS.TXTs {
		d.Records = append(d.Records, vnet.NameRecord{Name: absolute(t.Name), Type: "TXT", Value: quoteTXT(*t.Value)})
	}
	for _, s := range n.DNS.SRVs {
		d.Records = append(d.Records, s.record())
	}
	for _, h := range n.DNS.Hosts {
		for _, name := range h.Names {
			d.Records = append(d.Records, addressRecord(name, h.IP))
		}
	}
}

// record is the service record. Without a target the service is not there (RFC
// 2782); a port that is not said is 1, as dnsmasq has it.
func (s *SRV) record() vnet.NameRecord {
	name := "_" + strings.ToLower(*s.Service) + "._" + strings.ToLower(*s.Protocol)
	if s.Domain != nil && *s.Domain != "" {
		name += "." + absolute(*s.Domain)
	}
	r := vnet.NameRecord{Name: name, Type: "SRV", Value: "0 0 0 ."}
	if s.Target != nil && *s.Target != "" && *s.Target != "." {
		r.Value = fmt.Sprintf("%d %d %d %s", s.Priority, s.Weight, max(s.Port, 1), absolute(*s.Target))
	}
	return r
}

// addressRecord gives a name an address. One without a dot is in the domain.
func addressRecord(name string, a netip.Addr) vnet.NameRecord {
	r := vnet.NameRecord{Name: strings.ToLower(name), Type: "AAAA", Value: a.String()}
	if a.Is4() {
		r.Type = "A"
	}
	if strings.Contains(name, ".") {
		r.Name = absolute(name)
	}
	return r
}

// absolute is a name that needs no domain behind it.
func absolute(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) + "." }

// quoteTXT keeps a text from being taken for a list in quotes.
func quoteTXT(s string) string {
	if s != "" && !strings.HasPrefix(s, `"`) {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// reverseZone is the zone that has the names of the addresses, if it is one
// (virSocketAddrPTRDomain).
func (ip *IP) reverseZone() (string, bool) {
	bits := ip.Bits()
	unit, suffix := 8, "in-addr.arpa"
	if ip.Address.Is6() {
		unit, suffix = 4, "ip6.arpa"
	}
	if bits <= 0 || bits >= ip.Address.BitLen() || bits%unit != 0 {
		return "", false
	}
	b := ip.Address.AsSlice()
	var zone strings.Builder
	for i := bits/unit - 1; i >= 0; i-- {
		if unit == 8 {
			fmt.Fprintf(&zone, "%d.", b[i])
		} else {
			fmt.Fprintf(&zone, "%x.", b[i/2]>>(4*(1-i%2))&0xf)
		}
	}
	return zone.String() + suffix, true
}

// CheckStart checks what libvirt finds out only when it starts a network.
func (n *Network) CheckStart() error {
	for i := range n.IPs {
		ip := &n.IPs[i]
		if _, ok := ip.reverseZone(); ip.LocalPTR == "yes" && !ok {
			return fail(CodeConfigUnsupported, "PTR domain for %s network with prefix %d cannot be automatically created", familyWord(ip.Address.Is4()), ip.Bits())
		}
	}
	return nil
}

// uuidOf is the same UUID for the same name.
func uuidOf(name string) string { return uuid.NewSHA1(uuid.NameSpaceOID, []byte(name)).String() }
