package leasefile

import (
	"errors"
	"io"
	"strings"

	"github.com/sextant-net/sextant/internal/vnet"
)

// readDnsmasq reads dnsmasq.leases. DHCPv4: expiry, MAC, address, name, client
// identifier. After a line with the server's "duid", DHCPv6: expiry, IAID,
// address, name, DUID. "*" is none.
func readDnsmasq(lines *lineReader, b *book) error {
	for {
		line, err := lines.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "duid" || f[0] == "vendorclass" {
			continue
		}
		r, err := dnsmasqLine(f)
		if err != nil {
			b.skip(lines.n, err)
			continue
		}
		r.Line = lines.n
		if err := b.put(r); err != nil {
			return err
		}
	}
}

// dnsmasqFields are the fields of a lease; dnsmasq built for routers without a
// clock and later versions may write more.
const dnsmasqFields = 5

// looksLikeDnsmasq reports whether the fields are a line of dnsmasq's.
func looksLikeDnsmasq(f []string) bool {
	if len(f) < dnsmasqFields {
		return false
	}
	_, err := parseNumber("time", f[0], 64)
	_, err2 := parseAddress(f[2])
	return err == nil && err2 == nil
}

func dnsmasqLine(f []string) (r Record, err error) {
	if len(f) < dnsmasqFields {
		return r, vnet.Invalid("", "%d fields, not %d: expiry, MAC or IAID, address, name, identifier", len(f), dnsmasqFields)
	}
	ends, err := parseNumber("time", f[0], 64)
	if err != nil {
		return r, err
	}
	if ends != 0 {
		r.Expires = unixTime(ends)
	}
	if r.Address, err = parseAddress(f[2]); err != nil {
		return r, err
	}
	if f[3] != "*" {
		r.Hostname = vnet.HostLabel(f[3])
	}
	if r.Address.Is6() {
		err = dnsmasqV6(&r, f)
		return r, err
	}
	// Hardware types other than Ethernet's precede the MAC: "06-…".
	if r.MAC = macOf(f[1]); r.MAC.IsZero() && f[4] == "*" {
		return r, vnet.Invalid("", "%.40q is no MAC address, and there is no client identifier", f[1])
	}
	if f[4] != "*" {
		r.ClientID, err = parseClientID(f[4])
	}
	return r, err
}

// dnsmasqV6 reads what a DHCPv6 lease has of its own.
func dnsmasqV6(r *Record, f []string) error {
	if strings.HasPrefix(f[1], "T") {
		return vnet.Invalid("", "%s is a temporary address: the guest will make another one", r.Address)
	}
	iaid, err := parseNumber("IAID", f[1], 32)
	if err != nil {
		return err
	}
	r.IAID = uint32(iaid)
	r.DUID, err = parseDUID(f[4])
	return err
}
