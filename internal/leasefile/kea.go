package leasefile

import (
	"errors"
	"io"
	"strings"

	"github.com/sextant-net/sextant/internal/vnet"
)

// The states of Kea's leases that matter; in all others nobody has the address:
// it was reclaimed, given back, or made up by the guest and only registered.
const (
	keaAssigned = "0"
	keaDeclined = "1"
)

// The types of Kea's DHCPv6 leases.
const (
	keaNA = "0"
	keaPD = "2"
)

// keaInfinite is the lifetime of what never ends (RFC 9915 section 7.7).
const keaInfinite = 0xffffffff

// keaRow is a line by the names of its columns.
type keaRow struct {
	columns map[string]int
	fields  []string
}

// get returns a field without Kea's escapes; "" where the column is not there.
func (r keaRow) get(column string) string {
	i, ok := r.columns[column]
	if !ok || i >= len(r.fields) {
		return ""
	}
	return keaUnescape(r.fields[i])
}

// keaUnescape undoes "&#xHH", which stands for one byte: a comma, mostly.
func keaUnescape(s string) string {
	const mark = "&#x"
	if !strings.Contains(s, mark) {
		return s
	}
	var out strings.Builder
	for {
		before, after, found := strings.Cut(s, mark)
		out.WriteString(before)
		if !found {
			return out.String()
		}
		if b, err := parseHex(after[:min(2, len(after))]); err == nil && len(b) == 1 {
			out.WriteByte(b[0])
			s = after[2:]
			continue
		}
		out.WriteString(mark)
		s = after
	}
}

// readKea reads a memfile of either family: columns by name, the last line of
// an address counts, a lifetime of 0 takes it back.
func readKea(lines *lineReader, b *book) error {
	row := keaRow{}
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		line = strings.TrimSpace(strings.TrimPrefix(line, "\ufeff"))
		if line == "" || line[0] == '#' {
			continue
		}
		if strings.HasPrefix(line, "address,") {
			if row.columns, err = keaHeader(line); err != nil {
				return err
			}
			continue
		}
		if row.columns == nil {
			return vnet.Invalid("", "line %d: the columns of a Kea file have no names", lines.n).
				WithHint(`its first line is to begin with "address,"`)
		}
		row.fields = strings.Split(line, ",")
		if err := keaLine(row, lines.n, b); err != nil {
			return err
		}
	}
}

// keaHeader reads the line with the columns' names.
func keaHeader(line string) (map[string]int, error) {
	columns := map[string]int{}
	for i, name := range strings.Split(line, ",") {
		columns[strings.TrimSpace(name)] = i
	}
	for _, name := range []string{"address", "valid_lifetime", "expire"} {
		if _, ok := columns[name]; !ok {
			return nil, vnet.Invalid("", "the Kea file has no column %s", name).WithHint("it is of a version that nobody runs any more")
		}
	}
	return columns, nil
}

// keaLine takes over one line; it fails only if there are too many.
func keaLine(row keaRow, line int, b *book) error {
	r, lifetime, err := keaRecord(row)
	if err != nil {
		b.skip(line, err)
		return nil
	}
	r.Line = line
	state := row.get("state")
	if lifetime == 0 || state != "" && state != keaAssigned && state != keaDeclined {
		b.remove(r.Address, r.Length)
		return nil
	}
	if r.Declined = state == keaDeclined; r.Declined {
		r = Record{Line: line, Address: r.Address, Length: r.Length, Expires: r.Expires, Declined: true}
	} else if r.Address.Is6() && r.DUID == "" || r.Address.Is4() && r.MAC.IsZero() && r.ClientID == "" {
		b.skip(line, vnet.Invalid("", "%s belongs to nobody: neither MAC address nor identifier", r.Address))
		return nil
	}
	return b.put(r)
}

// keaRecord reads the fields of either family.
func keaRecord(row keaRow) (r Record, lifetime uint64, err error) {
	if r.Address, err = parseAddress(row.get("address")); err != nil {
		return r, 0, err
	}
	if lifetime, err = parseNumber("lifetime", row.get("valid_lifetime"), 32); err != nil {
		return r, 0, err
	}
	ends, err := parseNumber("time", row.get("expire"), 64)
	if err != nil {
		return r, 0, err
	}
	if lifetime != keaInfinite {
		r.Expires = unixTime(ends)
	}
	r.Hostname = vnet.HostLabel(row.get("hostname"))
	r.MAC = macOf(row.get("hwaddr"))
	if r.Address.Is4() {
		if id := row.get("client_id"); id != "" {
			r.ClientID, err = parseClientID(id)
		}
		return r, lifetime, err
	}
	err = keaV6(&r, row)
	return r, lifetime, err
}

// keaV6 reads what a DHCPv6 lease has of its own.
func keaV6(r *Record, row keaRow) error {
	switch t := row.get("lease_type"); t {
	case keaNA:
	case keaPD:
		n, err := parseNumber("prefix length", row.get("prefix_len"), 8)
		if err != nil {
			return err
		}
		if r.Length, err = checkLength(*r, n); err != nil {
			return err
		}
	case "1":
		return vnet.Invalid("", "%s is a temporary address: the guest will make another one", r.Address)
	default:
		return vnet.Invalid("", "%.40q is no type of a lease", t)
	}
	iaid, err := parseNumber("IAID", row.get("iaid"), 32)
	if err != nil {
		return err
	}
	r.IAID = uint32(iaid)
	// A declined address has a DUID of zero bytes, in some versions of one.
	if r.DUID, err = parseDUID(row.get("duid")); err != nil && row.get("state") == keaDeclined {
		err = nil
	}
	return err
}
