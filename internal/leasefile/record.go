package leasefile

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Format is whose file it is.
type Format string

// The formats.
const (
	Dnsmasq Format = "dnsmasq" // dnsmasq.leases
	ISC     Format = "isc"     // dhcpd.leases, dhcpd6.leases
	Kea     Format = "kea"     // memfile: kea-leases4.csv, kea-leases6.csv, their .1, .2 and .completed
)

// Formats are all formats, in the order in which users read them.
var Formats = []Format{Dnsmasq, ISC, Kea}

// ParseFormat reads the name of a format; "auto" and "" are the zero Format,
// which Read takes for "find out".
func ParseFormat(s string) (Format, error) {
	if s == "" || s == "auto" {
		return "", nil
	}
	for _, f := range Formats {
		if s == string(f) {
			return f, nil
		}
	}
	return "", vnet.Invalid("format", "%.40q is no format of lease files", s).WithHint("say auto, dnsmasq, isc or kea")
}

// Record is what a lease file says of one address or delegated prefix. Its
// fields have the forms of those of vnet.Lease.
type Record struct {
	// Line is where the record begins in the file, from 1.
	Line int
	// Address is the leased one, or the first one of a delegated prefix.
	Address netip.Addr
	// Length is that of a delegated prefix; 0: one address.
	Length int
	// MAC is zero if the file does not have it: DHCPv6 leases of dnsmasq and
	// ISC dhcpd never have it, but a DUID often contains one.
	MAC vnet.MAC
	// DUID (DHCPv6) is in hex with colons, as ipam.DUID prints it.
	DUID string
	// IAID is that of DHCPv6; in DHCPv4 it is part of ClientID.
	IAID uint32
	// ClientID (DHCPv4 option 61) is in hex, as vnet.Lease.Client.
	ClientID string
	// Hostname is a label in lower case, "" if the guest has none that is one.
	Hostname string
	// Expires is when the lease, or the quarantine, ends; zero: never.
	Expires time.Time
	// Declined marks an address that is in quarantine: found in use by somebody
	// who has no lease (ISC: abandoned). It belongs to nobody.
	Declined bool
}

// Prefix is the delegated prefix; the zero Prefix for one address.
func (r Record) Prefix() netip.Prefix {
	if r.Length == 0 {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(r.Address, r.Length)
}

// LineError says what could not be read, and where.
type LineError struct {
	Line int // from 1
	Err  error
}

func (e LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns the cause.
func (e LineError) Unwrap() error { return e.Err }

// File is what Read found.
type File struct {
	Format Format
	// Records are sorted by address, then length; there is one for each.
	Records []Record
	// Skipped are the first MaxSkipped lines or blocks that could not be read;
	// SkippedMore counts the others.
	Skipped     []LineError
	SkippedMore int
}
