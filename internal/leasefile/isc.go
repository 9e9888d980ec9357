package leasefile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// iscWords begin the statements of dhcpd.leases and dhcpd6.leases.
var iscWords = map[string]bool{
	"lease": true, "ia-na": true, "ia-ta": true, "ia-pd": true, "server-duid": true, "authoring-byte-order": true,
	"failover": true, "host": true, "group": true, "subgroup": true, "class": true, "subclass": true,
}

// isc reads dhcpd.leases(5) of either family.
type isc struct {
	*statements
	book *book
	// order is that of the IAID's bytes: the server writes it as it lies in its
	// memory.
	order binary.ByteOrder
	// ias are the leases that each IA had in its last block: a block takes the
	// place of the one before as a whole.
	ias map[string][]key
}

func readISC(lines *lineReader, b *book) error {
	p := &isc{&statements{lines: lines}, b, binary.LittleEndian, map[string][]key{}}
	for {
		st, err := p.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := p.top(st); errors.Is(err, io.ErrUnexpectedEOF) {
			b.skip(st.line, vnet.Invalid("", "the file ends within what begins here"))
			return nil
		} else if err != nil {
			return err
		}
	}
}

// top takes over a statement outside of all blocks.
func (p *isc) top(st statement) error {
	switch {
	case st.end == '}':
		p.book.skip(st.line, vnet.Invalid("", "a } without a {"))
	case st.end == ';':
		if st.is("authoring-byte-order", "big-endian") {
			p.order = binary.BigEndian
		}
	case st.is("lease"):
		return p.lease(st)
	case st.is("ia-na"), st.is("ia-pd"), st.is("ia-ta"):
		return p.ia(st)
	default:
		return p.block(func(statement) {}, nil)
	}
	return nil
}

// iscState is what the statements that both families' leases share say.
type iscState struct {
	binding string // "" in files of old versions: active
	ends    time.Time
	err     error // the first fault
}

// take reads a statement that says something of this; others are passed over.
func (s *iscState) take(st statement) {
	var err error
	switch {
	case st.is("binding", "state"):
		s.binding = strings.ToLower(st.at(2))
	case st.is("abandoned"): // old versions
		s.binding = "abandoned"
	case st.is("ends"):
		s.ends, err = iscTime(st)
	}
	if s.err == nil {
		s.err = err
	}
}

// settle puts r into the book as the state has it, and reports whether it is
// there.
func (s *iscState) settle(b *book, r Record) (bool, error) {
	switch s.binding {
	case "", "active":
		r.Expires = s.ends
	case "abandoned":
		r = Record{Line: r.Line, Address: r.Address, Length: r.Length, Expires: s.ends, Declined: true}
	default: // free, backup, expired, released, reset: nobody has it
		b.remove(r.Address, r.Length)
		return false, nil
	}
	return true, b.put(r)
}

// iscTime reads "ends 4 2026/11/19 08:17:20", "ends epoch 1795162640" and "ends
// never", all in UTC.
func iscTime(st statement) (time.Time, error) {
	switch {
	case strings.EqualFold(st.at(1), "never"):
		return time.Time{}, nil
	case strings.EqualFold(st.at(1), "epoch"):
		n, err := parseNumber("time", st.at(2), 64)
		return unixTime(n), err
	}
	t, err := time.Parse("2006/1/2 15:4:5", st.at(2)+" "+st.at(3))
	if err != nil {
		return t, vnet.Invalid("", "%.40q is no time", st.at(2)+" "+st.at(3))
	}
	return t, nil
}

// lease reads the block of a DHCPv4 lease.
func (p *isc) lease(st statement) error {
	r, s := Record{Line: st.line}, iscState{}
	r.Address, s.err = parseAddress(st.at(1))
	if s.err == nil && !r.Address.Is4() {
		s.err = vnet.Invalid("", "%s is no IPv4 address", r.Address)
	}
	err := p.block(func(st statement) {
		s.take(st)
		switch {
		case st.is("hardware", "ethernet"):
			r.MAC = macOf(st.at(2))
		case st.is("uid") && s.err == nil:
			r.ClientID, s.err = iscClientID(st)
		case st.is("client-hostname"):
			r.Hostname = vnet.HostLabel(st.at(1))
		}
	}, nil)
	if err != nil {
		return err
	}
	if s.err == nil && (s.binding == "" || s.binding == "active") && r.MAC.IsZero() && r.ClientID == "" {
		s.err = vnet.Invalid("", "%s belongs to nobody: neither hardware nor uid", r.Address)
	}
	if s.err != nil {
		p.book.skip(r.Line, s.err)
		return nil
	}
	_, err = s.settle(p.book, r)
	return err
}

// iscBytes are those of a quoted string, or of hex digits with colons
// (lease-id-format).
func iscBytes(st statement) ([]byte, error) {
	if len(st.words) < 2 {
		return nil, vnet.Invalid("", "an identifier is missing")
	}
	if w := st.words[1]; !w.quoted {
		return parseHex(w.text)
	}
	return []byte(st.at(1)), nil
}

func iscClientID(st statement) (string, error) {
	b, err := iscBytes(st)
	if err != nil {
		return "", err
	}
	return formatClientID(b)
}

// ia reads the block of an IA: what it has now, in place of what it had.
func (p *isc) ia(st statement) error {
	owner, fault := p.owner(st)
	name := fmt.Sprint(st.at(0), owner.IAID, owner.DUID)
	if fault == nil {
		for _, k := range p.ias[name] {
			if r, ok := p.book.found[k]; ok && r.DUID == owner.DUID && r.IAID == owner.IAID {
				delete(p.book.found, k)
			}
		}
		delete(p.ias, name)
	}
	temporary := st.is("ia-ta")
	err := p.block(func(statement) {}, func(st statement) (bool, error) {
		if fault != nil || !st.is("iaaddr") && !st.is("iaprefix") {
			return false, nil
		}
		if temporary {
			p.book.skip(st.line, vnet.Invalid("", "%.60s is a temporary address: the guest will make another one", st.at(1)))
			return false, nil
		}
		k, ok, err := p.inIA(st, owner)
		if ok {
			p.ias[name] = append(p.ias[name], k)
		}
		return true, err
	})
	if fault != nil && err == nil {
		p.book.skip(st.line, fault)
	}
	return err
}

// owner reads whose an IA is: IAID and DUID.
func (p *isc) owner(st statement) (Record, error) {
	b, err := iscBytes(st)
	if err != nil {
		return Record{}, err
	}
	if len(b) < 4 || formatDUID(b[4:]) == "" {
		return Record{}, vnet.Invalid("", "an IA is named by %d bytes, which are no IAID and DUID", len(b))
	}
	return Record{IAID: p.order.Uint32(b), DUID: formatDUID(b[4:])}, nil
}

// inIA reads the block of one address or prefix, and reports whether it is in
// the book now.
func (p *isc) inIA(st statement, owner Record) (k key, put bool, err error) {
	r, s := owner, iscState{}
	r.Line = st.line
	r.Address, r.Length, s.err = iscAddress(st)
	if err := p.block(s.take, nil); err != nil {
		return key{}, false, err
	}
	if s.err != nil {
		p.book.skip(r.Line, s.err)
		return key{}, false, nil
	}
	put, err = s.settle(p.book, r)
	return key{r.Address, r.Length}, put, err
}

// iscAddress reads what stands behind iaaddr or iaprefix.
func iscAddress(st statement) (netip.Addr, int, error) {
	text, length, isPrefix := strings.Cut(st.at(1), "/")
	a, err := parseAddress(text)
	if err == nil && (!a.Is6() || isPrefix != st.is("iaprefix")) {
		err = vnet.Invalid("", "%.60q is not what belongs into an IA", st.at(1))
	}
	if err != nil || !isPrefix {
		return a, 0, err
	}
	n, err := parseNumber("prefix length", length, 8)
	if err != nil {
		return a, 0, err
	}
	bits, err := checkLength(Record{Address: a}, n)
	return a, bits, err
}
