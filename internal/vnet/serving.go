package vnet

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// DHCPPolicy shapes the DHCP service of a network in both families. What is
// left out has the default that is named.
type DHCPPolicy struct {
	RapidCommit *bool          `json:"rapidCommit,omitempty" doc:"two messages instead of four for guests that ask (RFC 9915, RFC 4039); default true"`
	Relays      []netip.Prefix `json:"relays,omitempty" doc:"relays that are believed what they say of guests: options 79, 18, 37 and 82; default none"`
	Limit       int            `json:"limit,omitempty" doc:"most dynamic addresses of a family that one port, or one MAC without a port, may hold; default 16. Below 65536 a port may also ask (DHCP, router solicitations) no more than 200 times a second"`
	Probe       *bool          `json:"probe,omitempty" doc:"look whether a free IPv4 address answers before it is offered; default true"`
	Preference  int            `json:"preference,omitempty" doc:"of this server among others, 0 to 255 (DHCPv6 option 7)"`
	Preferred   Duration       `json:"preferred,omitempty" doc:"preferred lifetime of IPv6 leases; default 5/8 of leaseTime"`
	Renew       Duration       `json:"renew,omitempty" doc:"T1, when guests renew; default half of the lifetime, with IPv6 prefixes that follow an uplink 5m at most"`
	Rebind      Duration       `json:"rebind,omitempty" doc:"T2, when guests ask any server; default 4/5 (IPv6) or 7/8 (IPv4) of the lifetime"`
	Refresh     Duration       `json:"refresh,omitempty" doc:"when guests that only took options ask again (DHCPv6 option 32); default leaseTime"`
	V6Only      *Duration      `json:"v6only,omitempty" doc:"guests that can do without IPv4 do so for this long (RFC 8925); default they are not told to"`
	Options     []DHCPOption   `json:"options,omitempty" doc:"further options, FAMILY:CODE=TYPE:VALUE, for example 4:252=text:http://wpad/wpad.dat"`
}

// DHCPNoLimit is the highest DHCPPolicy.Limit: with it a port may also ask as
// often as it likes.
const DHCPNoLimit = 65536

// BootPolicy says what guests boot from over the network.
type BootPolicy struct {
	Root   string     `json:"root,omitempty" doc:"directory on the host whose files TFTP serves, read-only"`
	Server string     `json:"server,omitempty" doc:"address or name of the boot server; default the gateway while boot.root is set"`
	Files  []BootFile `json:"files,omitempty" doc:"CLIENT=FILE or CLIENT=URL; CLIENT is any, bios, efi32, efi64, efi-arm32, efi-arm64, http-efi64, http-efi-arm64, ipxe or archN"`
	Params []string   `json:"params,omitempty" doc:"parameters of the boot file (DHCPv6 option 60)"`
}

// BootFile is what one kind of client boots: its text is CLIENT=FILE.
type BootFile struct {
	// Client is a word of BootClients, or "archN" with an architecture number
	// of RFC 4578 and the IANA registry.
	Client string
	// File is a path below the TFTP root, or a URL.
	File string
}

// BootClients are the kinds of client with a name, and their architecture
// numbers (IANA "Processor Architecture Types"); -1: not told by the number.
var BootClients = map[string]int{
	"any": -1, "ipxe": -1, "bios": 0, "efi32": 6, "efi64": 7, "efi-arm32": 10, "efi-arm64": 11,
	"http-efi32": 15, "http-efi64": 16, "http-efi-arm32": 18, "http-efi-arm64": 19, "efi-riscv64": 27, "http-efi-riscv64": 28,
}

// Arch is the architecture number that the client is told by, -1 for none.
func (f BootFile) Arch() int {
	if n, ok := BootClients[f.Client]; ok {
		return n
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(f.Client, "arch"), 10, 16)
	if err != nil {
		return -1
	}
	return int(n)
}

// String returns CLIENT=FILE.
func (f BootFile) String() string { return f.Client + "=" + f.File }

// MarshalText returns String's form.
func (f BootFile) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads CLIENT=FILE; a FILE alone is for any client.
func (f *BootFile) UnmarshalText(b []byte) error {
	client, file, ok := strings.Cut(strings.TrimSpace(string(b)), "=")
	if !ok || strings.ContainsAny(client, "/:.") {
		client, file = "any", strings.TrimSpace(string(b))
	}
	*f = BootFile{strings.ToLower(client), file}
	return f.check("")
}

func (f BootFile) check(field string) error {
	if _, known := BootClients[f.Client]; !known && (!strings.HasPrefix(f.Client, "arch") || f.Arch() < 0) {
		return Invalid(field, "%s is no kind of client", quote(f.Client)).WithHint("say any, bios, efi64, efi-arm64, http-efi64, ipxe or arch with a number")
	}
	if f.File == "" || len(f.File) > 512 || strings.ContainsFunc(f.File, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return Invalid(field, "%s is no file or URL", quote(f.File)).WithHint("write up to 512 letters of ASCII without blanks")
	}
	return nil
}

func (p *BootPolicy) validate() error {
	if p.Root != "" && (!strings.HasPrefix(p.Root, "/") || strings.Contains(p.Root, "\x00")) {
		return Invalid("boot.root", "%s is no absolute path", quote(p.Root)).WithHint("write it as /srv/tftp")
	}
	if p.Server != "" {
		if _, err := ParseAddr(p.Server); err != nil {
			if err := CheckDomain("boot.server", p.Server); err != nil {
				return err
			}
		}
	}
	seen := map[string]bool{}
	for _, f := range p.Files {
		if err := f.check("boot.files"); err != nil {
			return err
		}
		if seen[f.Client] {
			return Invalid("boot.files", "%s is there twice", f.Client).WithHint("name one file for each kind of client")
		}
		seen[f.Client] = true
	}
	for _, s := range p.Params {
		if s == "" || len(s) > 1024 {
			return Invalid("boot.params", "a parameter has %d bytes, not 1 to 1024", len(s))
		}
	}
	return nil
}

// DHCPOption is an option that the servers send as it is written: its text is
// FAMILY:CODE=TYPE:VALUE. It takes the place of what they would send by
// themselves.
type DHCPOption struct {
	Family Family
	Code   uint16
	// Type is hex, text, ip (addresses, separated by blanks), u8, u16, u32
	// (numbers, likewise) or name (domain names, likewise).
	Type  string
	Value string
}

// String returns FAMILY:CODE=TYPE:VALUE.
func (o DHCPOption) String() string {
	return fmt.Sprintf("%d:%d=%s:%s", int(o.Family), o.Code, o.Type, o.Value)
}

// MarshalText returns String's form.
func (o DHCPOption) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads FAMILY:CODE=TYPE:VALUE.
func (o *DHCPOption) UnmarshalText(b []byte) error {
	s := strings.TrimSpace(string(b))
	bad := func() error {
		return Invalid("", "%s is no option", quote(s)).WithHint("write it as 4:252=text:http://wpad/wpad.dat: family, code, type (hex, text, ip, u8, u16, u32, name), value")
	}
	key, value, ok := strings.Cut(s, "=")
	family, code, ok2 := strings.Cut(key, ":")
	typ, value, ok3 := strings.Cut(value, ":")
	n, err := strconv.ParseUint(code, 10, 16)
	if !ok || !ok2 || !ok3 || err != nil {
		return bad()
	}
	out := DHCPOption{Code: uint16(n), Type: typ, Value: value}
	switch family {
	case "4":
		out.Family = IPv4
	case "6":
		out.Family = IPv6
	default:
		return bad()
	}
	*o = out
	_, err = out.Bytes()
	return err
}

// Bytes is the option's value as it goes on the wire.
func (o DHCPOption) Bytes() ([]byte, error) {
	var out []byte
	words := strings.Fields(o.Value)
	switch o.Type {
	case "text":
		out = []byte(o.Value)
	case "hex":
		b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimPrefix(o.Value, "0x"), ":", ""))
		if err != nil {
			return nil, o.bad("no hex digits")
		}
		out = b
	case "ip":
		for _, w := range words {
			a, err := ParseAddr(w)
			if err != nil {
				return nil, err
			}
			if FamilyOf(a) != o.Family {
				return nil, o.bad("an address of the other family")
			}
			out = append(out, a.AsSlice()...)
		}
	case "u8", "u16", "u32":
		bits, _ := strconv.Atoi(o.Type[1:])
		for _, w := range words {
			n, err := strconv.ParseUint(w, 0, bits)
			if err != nil {
				return nil, o.bad("no number of its size")
			}
			out = append(out, binary.BigEndian.AppendUint32(nil, uint32(n))[4-bits/8:]...)
		}
	case "name":
		for _, w := range words {
			if err := CheckDomain("", w); err != nil {
				return nil, err
			}
			out = AppendName(out, w)
		}
	default:
		return nil, Invalid("", "%s is no type of an option", quote(o.Type)).WithHint("say hex, text, ip, u8, u16, u32 or name")
	}
	if o.Family == IPv4 && (len(out) > 255 || o.Code == 0 || o.Code > 254) || len(out) > 1024 {
		return nil, o.bad("too long, or of no code that there is")
	}
	return out, nil
}

func (o DHCPOption) bad(what string) error {
	return Invalid("", "option %s is %s", quote(o.String()), what)
}

// AppendName appends a domain name in the form of RFC 1035 section 3.1,
// without compression.
func AppendName(b []byte, name string) []byte {
	for l := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		b = append(append(b, byte(len(l))), l...)
	}
	return append(b, 0)
}

// serverCodes are options that the protocols themselves need: they cannot be
// written by hand.
var serverCodes = map[Family]map[uint16]bool{
	IPv4: {50: true, 51: true, 52: true, 53: true, 54: true, 55: true, 57: true, 61: true, 82: true},
	IPv6: {1: true, 2: true, 3: true, 4: true, 5: true, 6: true, 8: true, 9: true, 11: true, 13: true, 14: true, 18: true, 19: true, 20: true, 25: true, 26: true},
}

func (p *DHCPPolicy) validate() error {
	if p.Limit < 0 || p.Limit > DHCPNoLimit {
		return Invalid("dhcp.limit", "%d is not between 1 and %d", p.Limit, DHCPNoLimit)
	}
	if p.Preference < 0 || p.Preference > 255 {
		return Invalid("dhcp.preference", "%d is not between 0 and 255", p.Preference)
	}
	for _, c := range []struct {
		field string
		d     Duration
	}{{"dhcp.preferred", p.Preferred}, {"dhcp.renew", p.Renew}, {"dhcp.rebind", p.Rebind}, {"dhcp.refresh", p.Refresh}} {
		if c.d != 0 && (c.d.Std() < minLease || c.d.Std() > maxLease) {
			return Invalid(c.field, "%s is not between %s and %s", c.d, Duration(minLease), Duration(maxLease))
		}
	}
	if p.Renew != 0 && p.Rebind != 0 && p.Renew > p.Rebind {
		return Invalid("dhcp.renew", "guests cannot renew (%s) after they ask any server (%s)", p.Renew, p.Rebind).WithHint("say less than dhcp.rebind")
	}
	if d := p.V6Only; d != nil && (d.Std() < 5*time.Minute || d.Std() > maxLease) { // RFC 8925 section 3.4: MIN_V6ONLY_WAIT
		return Invalid("dhcp.v6only", "%s is not between %s and %s", *d, Duration(5*time.Minute), Duration(maxLease))
	}
	for _, r := range p.Relays {
		if !r.IsValid() {
			return Invalid("dhcp.relays", "a relay lacks its address").WithHint("write it as 2001:db8::1/128")
		}
	}
	seen := map[string]bool{}
	for _, o := range p.Options {
		if _, err := o.Bytes(); err != nil {
			return InField(err, "dhcp.options")
		}
		key := fmt.Sprintf("%d:%d", int(o.Family), o.Code)
		if serverCodes[o.Family][o.Code] {
			return Invalid("dhcp.options", "option %s is the server's own", key).WithHint("leave it out")
		}
		if seen[key] {
			return Invalid("dhcp.options", "option %s is there twice", key).WithHint("write all of its values in one")
		}
		seen[key] = true
	}
	return nil
}

// checkNTP checks the time servers that guests are told.
func checkNTP(servers []string) error {
	if len(servers) > 8 {
		return Invalid("ntp", "%d time servers, at most 8 can be told to guests", len(servers))
	}
	for _, s := range servers {
		if _, err := ParseAddr(s); err == nil {
			continue
		}
		if err := CheckDomain("ntp", s); err != nil {
			return err
		}
	}
	return nil
}

// checkPortal checks the URI of a captive portal (RFC 8910 section 2: at most
// what an IPv4 option holds).
func checkPortal(uri string) error {
	if uri == "" {
		return nil
	}
	if len(uri) > 246 || strings.ContainsFunc(uri, func(r rune) bool { return r <= ' ' || r > '~' }) ||
		!strings.HasPrefix(uri, "https://") && !strings.HasPrefix(uri, "urn:") {
		return Invalid("captivePortal", "%s is no URI of a captive portal", quote(uri)).
			WithHint("write an https URI of up to 246 letters, or urn:ietf:params:capport:unrestricted")
	}
	return nil
}
