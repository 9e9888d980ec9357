package dns

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

// addExtra takes an operator's record in. One that makes no name (too long
// with the domain) is passed over, as are a second alias of a name, what
// stands beside one (RFC 2181 section 10.1), and what is beyond maxSize.
func (c *zone) addExtra(r vnet.NameRecord) {
	full, ok := c.ownerOf(r)
	if !ok {
		return
	}
	rr := c.recordOf(r, full)
	if rr == nil {
		return
	}
	in := c.outside
	if under(full, c.domain) || !strings.Contains(strings.TrimSuffix(full, "."), ".") {
		in = c.names
	} else if strings.HasPrefix(full, "*.") {
		c.wild = true
	}
	n := in[full]
	if n == nil {
		n = &name{}
		in[full] = n
	}
	if n.alias() != nil || r.Type == "CNAME" && len(n.rrs) > 0 {
		return
	}
	size := dns.Len(rr)
	if n.size+size > maxSize {
		return
	}
	n.rrs, n.size = append(n.rrs, rr), n.size+size
	if p, isAddr := ipam.ParseReverse(full); isAddr && p.IsSingleIP() {
		if ptr, isPTR := rr.(*dns.PTR); isPTR && c.pointers[p.Addr()] == "" {
			c.pointers[p.Addr()] = ptr.Ptr
		}
	}
}

// pointExtra names the addresses of the operator's records that have no name
// yet. A wildcard is no name of its own.
func (c *zone) pointExtra(records []vnet.NameRecord) {
	for _, r := range records {
		if r.Type != "A" && r.Type != "AAAA" {
			continue
		}
		full, ok := c.ownerOf(r)
		a, err := netip.ParseAddr(r.Value)
		if !ok || err != nil || strings.HasPrefix(full, "*.") || c.pointers[a] != "" {
			continue
		}
		c.pointers[a] = full
	}
}

// ownerOf returns the canonical owner name of a record.
func (c *zone) ownerOf(r vnet.NameRecord) (string, bool) {
	if r.Type == "PTR" {
		bare := strings.TrimSuffix(r.Name, ".")
		if a, err := netip.ParseAddr(bare); err == nil && a.Zone() == "" {
			return ipam.ReverseName(a) + ".", true
		}
		if _, isReverse := ipam.ParseReverse(bare); isReverse {
			return strings.ToLower(bare) + ".", true
		}
	}
	return c.whole(r.Name)
}

// whole completes a name as zone files do: one that ends in a dot is whole,
// "@" is the domain, the rest lies in the domain.
func (c *zone) whole(s string) (string, bool) {
	s = strings.ToLower(s)
	switch {
	case s == "@":
		s = c.domain
	case s == ".":
		return s, true
	case !strings.HasSuffix(s, "."):
		s += "." + c.domain
	}
	_, ok := dns.IsDomainName(s)
	return s, ok && s != "" && len(s) <= 254
}

// recordOf makes the resource record, nil if it cannot be one.
func (c *zone) recordOf(r vnet.NameRecord, full string) dns.RR {
	ttl := r.TTL
	if ttl == 0 {
		ttl = localTTL
	}
	words := strings.Fields(r.Value)
	if len(words) == 0 {
		return nil
	}
	number := func(i int) uint16 {
		n, _ := strconv.ParseUint(words[i], 10, 16)
		return uint16(n)
	}
	h := head(full, dns.StringToType[r.Type], ttl)
	switch r.Type {
	case "A", "AAAA":
		a, err := netip.ParseAddr(r.Value)
		switch {
		case err != nil || a.Is4() != (r.Type == "A") || a.Zone() != "":
			return nil
		case a.Is4():
			return &dns.A{Hdr: h, A: a.AsSlice()}
		}
		return &dns.AAAA{Hdr: h, AAAA: a.AsSlice()}
	case "TXT":
		return &dns.TXT{Hdr: h, Txt: escaped(vnet.TXTStrings(r.Value))}
	}
	target, ok := c.whole(words[len(words)-1])
	if !ok {
		return nil
	}
	switch {
	case r.Type == "CNAME" && len(words) == 1:
		return &dns.CNAME{Hdr: h, Target: target}
	case r.Type == "PTR" && len(words) == 1:
		return &dns.PTR{Hdr: h, Ptr: target}
	case r.Type == "MX" && len(words) == 2:
		return &dns.MX{Hdr: h, Preference: number(0), Mx: target}
	case r.Type == "SRV" && len(words) == 4:
		return &dns.SRV{Hdr: h, Priority: number(0), Weight: number(1), Port: number(2), Target: target}
	}
	return nil
}

// escaped writes strings as the codec takes them, which reads backslashes.
func escaped(list []string) []string {
	for i, s := range list {
		list[i] = strings.ReplaceAll(s, `\`, `\\`)
	}
	return list
}
