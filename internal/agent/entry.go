package agent

import (
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/sextant-net/sextant/internal/vnet"
)

// What an entry of the journal is, by its first letter. What is written is
// binary: guests wait for it, and JSON takes ten times as long to make and
// three times as much of the disk. JSON is what versions before wrote, and how a
// lease is written that says more than those which guests are given.
const (
	entryLease = 'l' // a lease: appendGiven
	entryEnd   = 'x' // an address that was given back: appendEnded
	entryGiven = 'g' // a vnet.Lease in JSON
	entryEnded = 'e' // an ending in JSON
)

// ending names an address that was given back.
type ending struct {
	Network vnet.ID    `json:"network"`
	Address netip.Addr `json:"address"`
}

// The times of a lease that are set.
const (
	hasCreated = 1 << iota
	hasUpdated
	hasExpires
	isDeclined
	isTemporary
)

// appendGiven appends the entry of a lease.
func appendGiven(b []byte, l *vnet.Lease) ([]byte, error) {
	if !isPlain(l) {
		raw, err := json.Marshal(l)
		return append(append(b, entryGiven), raw...), err
	}
	b = append(b, entryLease)
	var flags byte
	times := [...]time.Time{l.Created, l.Updated, l.Expires}
	for i, t := range times {
		if !t.IsZero() {
			flags |= hasCreated << i
		}
	}
	if l.Declined {
		flags |= isDeclined
	}
	if l.Temporary {
		flags |= isTemporary
	}
	b = append(b, flags)
	for _, t := range times {
		if !t.IsZero() {
			b = binary.BigEndian.AppendUint64(b, uint64(t.UnixNano()))
		}
	}
	b = append(b, l.MAC[:]...)
	b = append(b, byte(l.Family), byte(l.Length))
	b = binary.BigEndian.AppendUint32(b, l.IAID)
	b = binary.BigEndian.AppendUint64(b, l.HostPart)
	b = binary.BigEndian.AppendUint64(b, uint64(l.Revision))
	b = appendAddress(appendAddress(b, l.Address), l.Via)
	for _, s := range [...]string{
		string(l.ID), string(l.Project), string(l.Network), string(l.Subnet), string(l.Port), l.Host, l.DUID, l.Client, l.Hostname, string(l.How),
	} {
		b = appendText(b, s)
	}
	return b, nil
}

// isPlain reports whether the binary entry can say all of a lease.
func isPlain(l *vnet.Lease) bool {
	for _, t := range [...]time.Time{l.Created, l.Updated, l.Expires} {
		if !t.IsZero() && !time.Unix(0, t.UnixNano()).Equal(t) {
			return false
		}
	}
	return l.Name == "" && l.Generation == 0 && l.Deleting == nil && len(l.Tags)+len(l.Finalizers) == 0 &&
		l.Family == vnet.Family(byte(l.Family)) && l.Length == int(byte(l.Length)) && l.Address.Zone() == "" && l.Via.Zone() == ""
}

// appendEnded appends the entry of an address that was given back.
func appendEnded(b []byte, e ending) []byte {
	b = appendAddress(append(b, entryEnd), e.Address.WithZone(""))
	return appendText(b, string(e.Network))
}

// appendText appends how long a string is and then itself, or for a UUID, as
// most IDs are, zero and its 16 bytes; other lengths are said one too high.
func appendText(b []byte, s string) []byte {
	if u, err := uuid.Parse(s); err == nil && len(s) == len("xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx") && strings.ToLower(s) == s {
		return append(append(b, 0), u[:]...)
	}
	return append(binary.AppendUvarint(b, uint64(len(s))+1), s...)
}

// appendAddress appends how many bytes an address has, and these.
func appendAddress(b []byte, a netip.Addr) []byte {
	switch {
	case !a.IsValid():
		return append(b, 0)
	case a.Is4():
		v := a.As4()
		return append(append(b, 4), v[:]...)
	}
	v := a.As16()
	return append(append(b, 16), v[:]...)
}

// readEntry works one entry in; one of a kind that is not known is passed over.
func readEntry(entry []byte, given map[leaseKey]vnet.Lease) {
	if l, ok := givenIn(entry); ok {
		given[leaseKey{l.Network, l.Address}] = l
	} else if e, ok := endedIn(entry); ok {
		delete(given, leaseKey{e.Network, e.Address})
	}
}

// givenIn returns the lease that an entry gives.
func givenIn(entry []byte) (l vnet.Lease, ok bool) {
	switch entry[0] {
	case entryLease:
		r := entryReader{rest: entry[1:]}
		l = r.lease()
		ok = r.whole()
	case entryGiven:
		ok = json.Unmarshal(entry[1:], &l) == nil
	}
	return l, ok && l.Address.IsValid() && l.Network != "" && l.ID != ""
}

// endedIn returns what an entry says was given back.
func endedIn(entry []byte) (e ending, ok bool) {
	switch entry[0] {
	case entryEnd:
		r := entryReader{rest: entry[1:]}
		e = r.ending()
		ok = r.whole()
	case entryEnded:
		ok = json.Unmarshal(entry[1:], &e) == nil
	}
	return e, ok
}

// entryReader reads a binary entry. Behind its end there are zeros, and it is
// not whole.
type entryReader struct {
	rest  []byte
	short bool
}

// whole reports whether the entry was as long as what was read of it.
func (r *entryReader) whole() bool { return !r.short && len(r.rest) == 0 }

func (r *entryReader) bytes(n uint64) []byte {
	if n > uint64(len(r.rest)) {
		r.short, r.rest = true, nil
		return make([]byte, min(n, 16))
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *entryReader) uint64() uint64 { return binary.BigEndian.Uint64(r.bytes(8)) }

func (r *entryReader) text() string {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.short, r.rest = true, nil
		return ""
	}
	if r.rest = r.rest[size:]; n == 0 {
		return uuid.UUID(r.bytes(16)).String()
	}
	return string(r.bytes(n - 1))
}

func (r *entryReader) address() netip.Addr {
	switch n := r.bytes(1)[0]; n {
	case 0:
	case 4:
		return netip.AddrFrom4([4]byte(r.bytes(4)))
	case 16:
		return netip.AddrFrom16([16]byte(r.bytes(16)))
	default:
		r.short = true
	}
	return netip.Addr{}
}

// lease reads what appendGiven wrote behind its letter.
func (r *entryReader) lease() (l vnet.Lease) {
	flags := r.bytes(1)[0]
	for i, t := range [...]*time.Time{&l.Created, &l.Updated, &l.Expires} {
		if flags&(hasCreated<<i) != 0 {
			*t = time.Unix(0, int64(r.uint64())).UTC()
		}
	}
	l.Declined, l.Temporary = flags&isDeclined != 0, flags&isTemporary != 0
	l.MAC = vnet.MAC(r.bytes(6))
	l.Family, l.Length = vnet.Family(r.bytes(1)[0]), int(r.bytes(1)[0])
	l.IAID = binary.BigEndian.Uint32(r.bytes(4))
	l.HostPart, l.Revision = r.uint64(), int64(r.uint64())
	l.Address, l.Via = r.address(), r.address()
	l.ID, l.Project, l.Network = vnet.ID(r.text()), vnet.ID(r.text()), vnet.ID(r.text())
	l.Subnet, l.Port, l.Host = vnet.ID(r.text()), vnet.ID(r.text()), r.text()
	l.DUID, l.Client, l.Hostname, l.How = r.text(), r.text(), r.text(), vnet.How(r.text())
	return l
}

// ending reads what appendEnded wrote behind its letter.
func (r *entryReader) ending() ending {
	a := r.address()
	return ending{vnet.ID(r.text()), a}
}
