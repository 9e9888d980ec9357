package pack

import (
	"encoding/hex"
	"math"
	"net/netip"
	"time"
	"unique"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Lease is a vnet.Lease as it is kept. Of a hundred thousand, each is a sixth
// of the size: what many have in common is there once, IDs and identifiers are
// bytes rather than hex, and times are numbers. It never changes, so that the
// snapshot, the claims and the servers share one. Whole makes a vnet.Lease of it.
type Lease struct {
	id                        [16]byte // all zero: none yet
	address                   [16]byte
	kin                       unique.Handle[kin]
	port                      unique.Handle[vnet.ID]
	text                      string // DUID, client identifier and host name
	created, updated, expires int64  // nanoseconds since 1970; 0: zero
	revision                  int64
	number                    uint32 // of IPv4 the host part, of IPv6 the IAID
	mac                       vnet.MAC
	flags                     uint16
	duid, client              uint8 // how much of text these are
}

// kin is what the leases of a subnet have in common.
type kin struct {
	project, network, subnet vnet.ID
	host                     string
	how                      vnet.How
	family                   vnet.Family
	// odd is the lease itself if that is not all of it: delegated prefixes, and
	// what nobody makes. It is kept here because few leases have one.
	odd *vnet.Lease
}

const (
	flagIPv4 = 1 << iota
	flagDeclined
	flagTemporary
	flagHostPart  // it follows from the IPv6 address
	flagDUIDHex   // the DUID is hex with colons, and kept as bytes
	flagClientHex // the client identifier is hex, and kept as bytes
	flagEnding    // Deleting is set
	flagClientMAC // the client identifier is the Ethernet address (RFC 2132 section 9.14), and not kept
	flagOdd       // see kin
)

// Of packs a lease.
func Of(l *vnet.Lease) *Lease {
	p := &Lease{port: unique.Make(l.Port), revision: l.Revision, mac: l.MAC}
	k := kin{l.Project, l.Network, l.Subnet, l.Host, l.How, l.Family, nil}
	if l.Address.IsValid() {
		p.address = l.Address.As16()
	}
	ok := p.setID(l.ID) && p.setNumber(l) && p.setText(l)
	for _, t := range [...]struct {
		to   *int64
		from time.Time
	}{{&p.created, l.Created}, {&p.updated, l.Updated}, {&p.expires, l.Expires}} {
		ok = setTime(t.to, t.from) && ok
	}
	p.flag(flagIPv4, l.Address.Is4())
	p.flag(flagDeclined, l.Declined)
	p.flag(flagTemporary, l.Temporary)
	p.flag(flagEnding, l.Deleting != nil)
	if !ok || l.Length != 0 || l.Via.IsValid() || !l.Address.IsValid() || l.Address.Is4In6() || l.Address.Zone() != "" ||
		l.Name != "" || l.Generation != 0 || len(l.Tags)+len(l.Finalizers) > 0 || l.Deleting != nil {
		c := *l
		k.odd, p.text = &c, ""
		p.flags |= flagOdd
	}
	p.kin = unique.Make(k)
	return p
}

// odd is the lease itself if that is not all of it, or nil.
func (p *Lease) odd() *vnet.Lease {
	if p.flags&flagOdd == 0 {
		return nil
	}
	return p.kin.Value().odd
}

func (p *Lease) flag(f uint16, is bool) {
	if is {
		p.flags |= f
	}
}

// setID keeps an ID that is a UUID, or none: what the servers give has one only
// once it is claimed.
func (p *Lease) setID(id vnet.ID) (ok bool) {
	p.id, ok = uuidOf(id)
	return ok && p.id != [16]byte{} || id == ""
}

// uuidOf reads a UUID in its canonical form.
func uuidOf(id vnet.ID) (u [16]byte, ok bool) {
	if len(id) != 36 || id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-' {
		return u, false
	}
	n := 0
	for i := 0; i < len(id); i++ {
		if id[i] == '-' {
			continue
		}
		v, ok := digit(id[i])
		if !ok || n == 32 {
			return u, false
		}
		u[n/2] |= v << (4 * (1 - n%2))
		n++
	}
	return u, n == 32
}

// digit reads a hex digit in lower case.
func digit(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}

// setNumber keeps the host part and the IAID, which guests of IPv4 do not have.
func (p *Lease) setNumber(l *vnet.Lease) bool {
	if l.Address.Is4() {
		p.number = uint32(l.HostPart)
		return l.HostPart <= math.MaxUint32 && l.IAID == 0
	}
	p.number = l.IAID
	if l.HostPart == 0 {
		return true
	}
	p.flags |= flagHostPart
	return l.Address.Is6() && l.HostPart == vnet.InterfaceID(l.Address)
}

// setText keeps what a guest calls itself.
func (p *Lease) setText(l *vnet.Lease) bool {
	var buf [256]byte
	b, raw := appendRaw(buf[:0], l.DUID, true)
	if raw {
		p.flags |= flagDUIDHex
	}
	duid := len(b)
	if isEthernet(l.Client, l.MAC) {
		p.flags |= flagClientMAC
	} else if b, raw = appendRaw(b, l.Client, false); raw {
		p.flags |= flagClientHex
	}
	client := len(b) - duid
	p.duid, p.client = uint8(duid), uint8(client)
	p.text = string(append(b, l.Hostname...))
	return duid < 256 && client < 256
}

// isEthernet reports whether a client identifier is that of most guests: the
// hardware type of Ethernet and the address, in hex.
func isEthernet(client string, mac vnet.MAC) bool {
	var b [14]byte
	return len(client) == len(b) && string(appendEthernet(b[:0], mac)) == client
}

func appendEthernet(b []byte, mac vnet.MAC) []byte {
	return hex.AppendEncode(append(b, "01"...), mac[:])
}

// appendRaw appends what is written in hex, with colons or without, as bytes,
// and anything else as it is.
func appendRaw(b []byte, s string, colons bool) (_ []byte, raw bool) {
	every := 2
	if colons {
		every = 3
	}
	n := len(b)
	for i := 0; i < len(s); i += every {
		if i+1 == len(s) || colons && i+2 < len(s) && (s[i+2] != ':' || i+3 == len(s)) {
			return append(b[:n], s...), false
		}
		hi, ok1 := digit(s[i])
		lo, ok2 := digit(s[i+1])
		if !ok1 || !ok2 {
			return append(b[:n], s...), false
		}
		b = append(b, hi<<4|lo)
	}
	return b, len(s) > 0
}

// setTime reports whether the time can be a number.
func setTime(to *int64, t time.Time) bool {
	if t.IsZero() {
		return true
	}
	*to = t.UnixNano()
	return *to != 0 && time.Unix(0, *to).Equal(t)
}

func timeOf(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

// Whole is the lease; the caller may change it.
func (p *Lease) Whole() *vnet.Lease {
	if odd := p.odd(); odd != nil {
		c := *odd
		return &c
	}
	k := p.kin.Value()
	l := &vnet.Lease{
		Network: k.network, Subnet: k.subnet, Port: p.port.Value(), Host: k.host, Address: p.Address(), Family: k.family, How: k.how,
		MAC: p.mac, DUID: string(p.AppendDUID(nil)), IAID: p.IAID(), Client: string(p.AppendClient(nil)), Hostname: p.Hostname(),
		Expires: p.Expires(), Declined: p.Declined(), Temporary: p.Temporary(),
	}
	l.ID, l.Project, l.Created, l.Updated, l.Revision = p.ID(), k.project, timeOf(p.created), timeOf(p.updated), p.revision
	if l.HostPart = p.hostPart4(); p.flags&flagHostPart != 0 {
		l.HostPart = vnet.InterfaceID(l.Address)
	}
	return l
}

// hostPart4 is the host part of an IPv4 address; 0 for others.
func (p *Lease) hostPart4() uint64 {
	if p.flags&flagIPv4 == 0 {
		return 0
	}
	return uint64(p.number)
}

// ID is the lease's.
func (p *Lease) ID() vnet.ID {
	if odd := p.odd(); odd != nil {
		return odd.ID
	}
	if p.id == [16]byte{} {
		return ""
	}
	var b [36]byte
	hex.Encode(b[:8], p.id[:4])
	hex.Encode(b[9:13], p.id[4:6])
	hex.Encode(b[14:18], p.id[6:8])
	hex.Encode(b[19:23], p.id[8:10])
	hex.Encode(b[24:], p.id[10:])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return vnet.ID(b[:])
}

// IDIs reports whether the lease has that ID.
func (p *Lease) IDIs(id vnet.ID) bool {
	if odd := p.odd(); odd != nil {
		return odd.ID == id
	}
	u, ok := uuidOf(id)
	return ok && u == p.id || id == "" && p.id == [16]byte{}
}

// Address is the lease's, or the first of a delegated prefix.
func (p *Lease) Address() netip.Addr {
	if odd := p.odd(); odd != nil {
		return odd.Address
	}
	if p.flags&flagIPv4 != 0 {
		return netip.AddrFrom16(p.address).Unmap()
	}
	return netip.AddrFrom16(p.address)
}

// Network is the lease's network.
func (p *Lease) Network() vnet.ID { return p.kin.Value().network }

// Subnet is the subnet that the address was given from, if any.
func (p *Lease) Subnet() vnet.ID { return p.kin.Value().subnet }

// Host is the host that claimed the lease.
func (p *Lease) Host() string { return p.kin.Value().host }

// How is how the guest came by the address.
func (p *Lease) How() vnet.How { return p.kin.Value().how }

// Family is the address's.
func (p *Lease) Family() vnet.Family { return p.kin.Value().family }

// Port is the port that has the address, "" if none does.
func (p *Lease) Port() vnet.ID { return p.port.Value() }

// MAC is the guest's; zero: not known.
func (p *Lease) MAC() vnet.MAC { return p.mac }

// IAID is the guest's number for what the address belongs to.
func (p *Lease) IAID() uint32 {
	if odd := p.odd(); odd != nil {
		return odd.IAID
	}
	if p.flags&flagIPv4 != 0 {
		return 0
	}
	return p.number
}

// Length is that of a delegated prefix; 0: one address.
func (p *Lease) Length() int {
	if odd := p.odd(); odd != nil {
		return odd.Length
	}
	return 0
}

// Via is the next hop of a delegated prefix.
func (p *Lease) Via() netip.Addr {
	if odd := p.odd(); odd != nil {
		return odd.Via
	}
	return netip.Addr{}
}

// Expires is when the lease ends; zero: never.
func (p *Lease) Expires() time.Time {
	if odd := p.odd(); odd != nil {
		return odd.Expires
	}
	return timeOf(p.expires)
}

// Updated is when the lease was last changed.
func (p *Lease) Updated() time.Time {
	if odd := p.odd(); odd != nil {
		return odd.Updated
	}
	return timeOf(p.updated)
}

// Declined reports whether a guest found the address in use elsewhere.
func (p *Lease) Declined() bool { return p.flags&flagDeclined != 0 }

// Temporary reports whether the address is one of RFC 8981.
func (p *Lease) Temporary() bool { return p.flags&flagTemporary != 0 }

// Ending reports whether the lease is being deleted.
func (p *Lease) Ending() bool { return p.flags&flagEnding != 0 }

// Hostname is what the guest calls itself.
func (p *Lease) Hostname() string {
	if odd := p.odd(); odd != nil {
		return odd.Hostname
	}
	return p.text[int(p.duid)+int(p.client):]
}

// AppendDUID appends the guest's DUID, as it is written.
func (p *Lease) AppendDUID(b []byte) []byte {
	if odd := p.odd(); odd != nil {
		return append(b, odd.DUID...)
	}
	raw := p.text[:p.duid]
	if p.flags&flagDUIDHex == 0 {
		return append(b, raw...)
	}
	return appendHex(b, raw, true)
}

// AppendClient appends the guest's DHCPv4 client identifier, as it is written.
func (p *Lease) AppendClient(b []byte) []byte {
	if odd := p.odd(); odd != nil {
		return append(b, odd.Client...)
	}
	if p.flags&flagClientMAC != 0 {
		return appendEthernet(b, p.mac)
	}
	raw := p.text[p.duid:][:p.client]
	if p.flags&flagClientHex == 0 {
		return append(b, raw...)
	}
	return appendHex(b, raw, false)
}

func appendHex(b []byte, raw string, colons bool) []byte {
	const digits = "0123456789abcdef"
	for i := 0; i < len(raw); i++ {
		if colons && i > 0 {
			b = append(b, ':')
		}
		b = append(b, digits[raw[i]>>4], digits[raw[i]&15])
	}
	return b
}

// DUID is the guest's DUID, as it is written.
func (p *Lease) DUID() string {
	var b [512]byte
	return string(p.AppendDUID(b[:0]))
}

// SameGuest is vnet.Lease's, and besides that the guest says the same of itself.
func (p *Lease) SameGuest(l *vnet.Lease) bool {
	var buf [512]byte
	return p.Port() == l.Port && p.mac == l.MAC && p.IAID() == l.IAID && p.How() == l.How && p.Hostname() == l.Hostname &&
		string(p.AppendDUID(buf[:0])) == l.DUID && string(p.AppendClient(buf[:0])) == l.Client
}
