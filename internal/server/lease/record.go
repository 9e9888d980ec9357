package lease

import (
	"net/netip"
	"strings"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Record is what is kept of a lease: there may be a hundred thousand.
type Record struct {
	Address      netip.Addr
	Length       int // of a prefix; 0: one address
	Via          netip.Addr
	Subnet, Port vnet.ID
	DUID, Client string
	Hostname     string
	IAID         uint32
	MAC          vnet.MAC
}

// recordOf keeps what is needed of a lease. Strings are those that are there
// already: of the client's key, of the subnet.
func (b *Book) recordOf(l *vnet.Lease, client string) Record {
	r := Record{
		Address: l.Address, Length: l.Length, Via: l.Via, Subnet: l.Subnet, Port: l.Port, DUID: l.DUID, Client: l.Client,
		Hostname: l.Hostname, IAID: l.IAID, MAC: l.MAC,
	}
	if sub := b.Subnet(l.Subnet); sub != nil {
		r.Subnet = sub.ID
	}
	if i := strings.Index(client, l.DUID); i >= 0 && l.DUID != "" {
		r.DUID = client[i : i+len(l.DUID)]
	}
	if l.Client != "" && strings.HasSuffix(client, l.Client) {
		r.Client = client[len(client)-len(l.Client):]
	}
	return r
}

// Whole is the lease of an entry.
func (b *Book) Whole(e *Entry) vnet.Lease {
	r := &e.Lease
	l := b.Lease(r.Address, r.Subnet, e.Until)
	l.Length, l.Via, l.Port, l.DUID, l.Client = r.Length, r.Via, r.Port, r.DUID, r.Client
	l.Hostname, l.IAID, l.MAC = r.Hostname, r.IAID, r.MAC
	return l
}

// Rename gives an entry to the same guest under another key and, for DHCPv4,
// client identifier.
func (b *Book) Rename(e *Entry, client, id string) {
	l, state, until, holder := b.Whole(e), e.State, e.Until, e.Holder
	l.Client = id
	b.table.Put(&Entry{Lease: b.recordOf(&l, client), Client: client, Holder: holder, State: state, Until: until})
}

// entry makes an entry of a lease.
func (b *Book) entry(l *vnet.Lease, client, holder string, s State, until time.Time) *Entry {
	return &Entry{Lease: b.recordOf(l, client), Client: client, Holder: holder, State: s, Until: until, pos: -1}
}
