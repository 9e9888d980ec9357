package vnet

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// NameRecord is a resource record of a network's domain beside those of its
// guests: its text is "NAME [TTL] TYPE VALUE", as in a zone file.
//
// A record stands before whatever else has its name: a name that a guest chose
// is not published at all, and of a port's name addresses of the types that
// the records have are left out, all of them if the record is a CNAME. A port's
// other addresses stay, so that a TXT record may stand beside them.
type NameRecord struct {
	// Name is relative to the network's domain: "www", "_ldap._tcp", "*",
	// "*.web", "@" for the domain itself. One that ends in a dot is whole, also
	// outside of the domain. That of a PTR may be an address, which stands for
	// its name in the reverse tree, or that name, with or without the last dot.
	// A wildcard holds for names that do not exist (RFC 4592); where "*" has
	// every name of the domain, those that guests chose are not published.
	Name string
	// TTL in seconds; 0: the server's own.
	TTL uint32
	// Type is A, AAAA, CNAME, TXT, SRV, PTR or MX.
	Type string
	// Value is as in a zone file: an address; a NAME; "PRIORITY WEIGHT PORT
	// NAME"; "PREFERENCE NAME"; text. NAME is relative like the owner. See
	// TXTStrings for text.
	Value string
}

// String returns "NAME [TTL] TYPE VALUE".
func (r NameRecord) String() string {
	if r.TTL == 0 {
		return r.Name + " " + r.Type + " " + r.Value
	}
	return fmt.Sprintf("%s %d %s %s", r.Name, r.TTL, r.Type, r.Value)
}

// MarshalText returns String's form.
func (r NameRecord) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads "NAME [TTL] TYPE VALUE".
func (r *NameRecord) UnmarshalText(b []byte) error {
	s := strings.TrimSpace(string(b))
	bad := Invalid("", "%s is no record", quote(s)).WithHint("write it as www CNAME web, or _ldap._tcp SRV 0 5 389 ldap")
	word := func() (w string) {
		w, s, _ = strings.Cut(s, " ")
		s = strings.TrimLeft(s, " ")
		return w
	}
	out := NameRecord{Name: strings.ToLower(word())}
	t := word()
	if n, err := strconv.ParseUint(t, 10, 31); err == nil {
		out.TTL = uint32(n)
		t = word()
	}
	out.Type, out.Value = strings.ToUpper(t), s
	if out.Name == "" || out.Value == "" {
		return bad
	}
	*r = out
	return out.check("")
}

func (r NameRecord) check(field string) error {
	name := strings.TrimSuffix(r.Name, ".")
	switch {
	case r.Name == "@", name == "*":
		name = ""
	case strings.HasPrefix(name, "*."):
		name = name[2:]
	}
	if _, err := netip.ParseAddr(name); name != "" && (r.Type != "PTR" || err != nil) {
		if err := CheckDomain(field, name); err != nil {
			return err
		}
	}
	words := strings.Fields(r.Value)
	target, numbers := "", 0
	switch r.Type {
	case "A", "AAAA":
		a, err := ParseAddr(r.Value)
		if err != nil {
			return InField(err, field)
		}
		if a.Is4() != (r.Type == "A") {
			return Invalid(field, "%s: %s is no value of a record of type %s", r.Name, a, r.Type)
		}
		return nil
	case "TXT":
		if len(r.Value) > 4096 {
			return Invalid(field, "%s: the text has %d bytes, at most 4096 are allowed", r.Name, len(r.Value))
		}
		if strings.HasPrefix(r.Value, `"`) && quoted(r.Value) == nil {
			return Invalid(field, "%s: the quotes of %s do not match", r.Name, quote(r.Value)).WithHint(`write "one" "two", with \" for a quote inside`)
		}
		return nil
	case "CNAME", "PTR":
		numbers = 0
	case "MX":
		numbers = 1
	case "SRV":
		numbers = 3
	default:
		return Invalid(field, "%s: %s is no type of a record", r.Name, quote(r.Type)).WithHint("say A, AAAA, CNAME, TXT, SRV, PTR or MX")
	}
	if len(words) != numbers+1 {
		return Invalid(field, "%s: %s is no value of a record of type %s", r.Name, quote(r.Value), r.Type).
			WithHint("SRV is PRIORITY WEIGHT PORT NAME, MX is PREFERENCE NAME, CNAME and PTR are a NAME")
	}
	for _, w := range words[:numbers] {
		if _, err := strconv.ParseUint(w, 10, 16); err != nil {
			return Invalid(field, "%s: %s is no number up to 65535", r.Name, quote(w))
		}
	}
	target = strings.TrimSuffix(words[numbers], ".")
	if target == "" || target == "@" { // the root in SRV (RFC 2782): not there
		return nil
	}
	return CheckDomain(field, target)
}

// maxString is the length of one string of a TXT record, in bytes (RFC 1035
// section 3.3).
const maxString = 255

// TXTStrings returns the strings of a TXT record's value, none longer than 255
// bytes. A value that begins with a quote is a list of strings in quotes, in
// which a backslash stands before a quote, a backslash, or three decimal
// digits; any other is one text. What is longer is cut, for readers put the
// strings together again (RFC 7208 section 3.3).
func TXTStrings(value string) []string {
	texts := []string{value}
	if strings.HasPrefix(value, `"`) {
		if q := quoted(value); q != nil {
			texts = q
		}
	}
	var out []string
	for _, s := range texts {
		for len(s) > maxString {
			out = append(out, s[:maxString])
			s = s[maxString:]
		}
		out = append(out, s)
	}
	return out
}

// quoted reads strings in quotes, nil if they are not well formed.
func quoted(s string) []string {
	var out []string
	for s = strings.TrimLeft(s, " \t"); s != ""; s = strings.TrimLeft(s, " \t") {
		if s[0] != '"' {
			return nil
		}
		var b strings.Builder
		i, closed := 1, false
		for ; i < len(s) && !closed; i++ {
			switch c := s[i]; {
			case c == '"':
				closed = true
			case c != '\\':
				b.WriteByte(c)
			case i+3 < len(s) && s[i+1] >= '0' && s[i+1] <= '9':
				n, err := strconv.ParseUint(s[i+1:i+4], 10, 8)
				if err != nil {
					return nil
				}
				b.WriteByte(byte(n))
				i += 3
			case i+1 < len(s):
				i++
				b.WriteByte(s[i])
			}
		}
		if !closed {
			return nil
		}
		out, s = append(out, b.String()), s[i:]
	}
	return out
}

// Forwarder is whom names are asked of: its text is "[DOMAIN=]ADDRESS[:PORT]",
// or "DOMAIN=" for names that are asked of nobody. Of several domains the
// longest counts; several servers of one domain are asked in order. A DOMAIN at
// or below the network's own is asked for names that are not known there.
type Forwarder struct {
	Domain string // "" for all that no other forwarder has
	Server netip.AddrPort
}

// String returns "[DOMAIN=]ADDRESS[:PORT]".
func (f Forwarder) String() string {
	s := ""
	if f.Domain != "" {
		s = f.Domain + "="
	}
	switch {
	case !f.Server.IsValid():
		return s
	case f.Server.Port() == 53:
		return s + f.Server.Addr().String()
	}
	return s + f.Server.String()
}

// MarshalText returns String's form.
func (f Forwarder) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads "[DOMAIN=]ADDRESS[:PORT]" or "DOMAIN=".
func (f *Forwarder) UnmarshalText(b []byte) error {
	s := strings.TrimSpace(string(b))
	out := Forwarder{}
	if domain, server, ok := strings.Cut(s, "="); ok {
		out.Domain, s = strings.ToLower(strings.Trim(domain, ".")), server
		if err := CheckDomain("", out.Domain); err != nil {
			return err
		}
		if s == "" {
			*f = out
			return nil
		}
	}
	if p, err := netip.ParseAddrPort(s); err == nil {
		out.Server = p
	} else {
		a, err := ParseAddrZone(s)
		if err != nil {
			return err
		}
		out.Server = netip.AddrPortFrom(a, 53)
	}
	*f = out
	return nil
}

// EncryptedDNS is a resolver that guests may ask over an encrypted transport
// (RFC 9463): its text is "PRIORITY NAME [ADDRESS …] [alpn=A+B] [port=N]
// [dohpath=TEMPLATE]".
type EncryptedDNS struct {
	Priority  uint16 // lower first; at least 1
	Name      string // that its certificate proves
	Addresses []netip.Addr
	ALPN      []string // dot, h2, h3, doq
	Port      uint16   // 0: the transport's own
	Path      string   // of DNS over HTTPS, a URI template with {?dns}
}

// String returns the form that UnmarshalText reads.
func (e EncryptedDNS) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s", e.Priority, e.Name)
	for _, a := range e.Addresses {
		b.WriteString(" " + a.String())
	}
	if len(e.ALPN) > 0 {
		b.WriteString(" alpn=" + strings.Join(e.ALPN, "+"))
	}
	if e.Port != 0 {
		fmt.Fprintf(&b, " port=%d", e.Port)
	}
	if e.Path != "" {
		b.WriteString(" dohpath=" + e.Path)
	}
	return b.String()
}

// MarshalText returns String's form.
func (e EncryptedDNS) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads String's form.
func (e *EncryptedDNS) UnmarshalText(b []byte) error {
	words := strings.Fields(string(b))
	if len(words) < 2 {
		return Invalid("", "%s is no encrypted resolver", quote(string(b))).
			WithHint("write it as 1 dns.example.org 2001:db8::53 alpn=dot+h2 dohpath=/dns-query{?dns}")
	}
	n, err := strconv.ParseUint(words[0], 10, 16)
	if err != nil || n == 0 {
		return Invalid("", "%s is no priority", quote(words[0])).WithHint("begin with a number from 1 on")
	}
	out := EncryptedDNS{Priority: uint16(n), Name: strings.TrimSuffix(strings.ToLower(words[1]), ".")}
	if err := CheckDomain("", out.Name); err != nil {
		return err
	}
	for _, w := range words[2:] {
		if err := out.word(w); err != nil {
			return err
		}
	}
	if out.Path != "" && len(out.ALPN) == 0 {
		out.ALPN = []string{"h2"}
	}
	*e = out
	return nil
}

// word takes an address or a key=value in.
func (e *EncryptedDNS) word(w string) error {
	key, value, ok := strings.Cut(w, "=")
	if !ok {
		a, err := ParseAddr(w)
		if err != nil {
			return err
		}
		e.Addresses = append(e.Addresses, a)
		return nil
	}
	switch key {
	case "alpn":
		for p := range strings.SplitSeq(value, "+") {
			if p == "" || len(p) > 255 {
				return Invalid("", "%s is no protocol", quote(p)).WithHint("say dot, h2, h3 or doq")
			}
			e.ALPN = append(e.ALPN, p)
		}
	case "port":
		n, err := strconv.ParseUint(value, 10, 16)
		if err != nil || n == 0 {
			return Invalid("", "%s is no port", quote(value))
		}
		e.Port = uint16(n)
	case "dohpath":
		if !strings.HasPrefix(value, "/") || !strings.Contains(value, "{?dns}") {
			return Invalid("", "%s is no path of DNS over HTTPS", quote(value)).WithHint("write it as /dns-query{?dns}")
		}
		e.Path = value
	default:
		return Invalid("", "an encrypted resolver has no %s", quote(key)).WithHint("say alpn, port or dohpath")
	}
	return nil
}

// validateNames checks records, forwarders, DNS64 and encrypted resolvers.
func (d *DNSPolicy) validateNames() error {
	if len(d.Records) > 10000 {
		return Invalid("dns.records", "%d records, at most 10000 are allowed", len(d.Records))
	}
	cnames, others := map[string]bool{}, map[string]bool{}
	size := map[string]int{}
	for _, r := range d.Records {
		if err := r.check("dns.records"); err != nil {
			return err
		}
		// With some 16 bytes around each: what one answer may hold.
		if size[r.Name] += len(r.Value) + 16; size[r.Name] > 8<<10 {
			return Invalid("dns.records", "%s has too many records for one answer", r.Name).WithHint("use several names")
		}
		if r.Type == "CNAME" {
			if cnames[r.Name] {
				return Invalid("dns.records", "%s is an alias twice", r.Name).WithHint("name one target (RFC 1034 section 3.6.2)")
			}
			cnames[r.Name] = true
		} else {
			others[r.Name] = true
		}
	}
	for name := range cnames {
		if others[name] || name == "@" {
			return Invalid("dns.records", "%s is an alias and has other records", name).WithHint("an alias has none (RFC 1034 section 3.6.2)")
		}
	}
	if len(d.Forwarders) > 64 {
		return Invalid("dns.forwarders", "%d forwarders, at most 64 are allowed", len(d.Forwarders))
	}
	for _, f := range d.Forwarders {
		a := f.Server.Addr()
		if f.Domain == "" && !f.Server.IsValid() || f.Server.IsValid() && (a.IsMulticast() || a.IsUnspecified() || f.Server.Port() == 0) {
			return Invalid("dns.forwarders", "%s is no forwarder", quote(f.String())).WithHint("write it as 2001:db8::53 or corp.example=10.0.0.53")
		}
	}
	if len(d.Encrypted) > 4 {
		return Invalid("dns.encrypted", "%d encrypted resolvers, at most 4 can be told to guests", len(d.Encrypted))
	}
	return CheckPREF64("dns.dns64", d.DNS64)
}
