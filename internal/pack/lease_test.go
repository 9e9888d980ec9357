package pack

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/sextant-net/sextant/internal/vnet"
)

// drawLease makes up a lease, likely or not.
func drawLease(t *rapid.T) *vnet.Lease {
	pick := func(what string, from ...string) string { return rapid.SampledFrom(from).Draw(t, what) }
	at := func(what string) time.Time {
		return rapid.SampledFrom([]time.Time{{}, time.Unix(1790000000, 123456789).UTC(), time.Unix(0, 0).UTC(), time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC)}).Draw(t, what)
	}
	l := &vnet.Lease{
		Network: "n1", Subnet: vnet.ID(pick("subnet", "", "s1")), Port: vnet.ID(pick("port", "", "vm")), Host: "h1",
		How: vnet.HowDHCPv6, IAID: rapid.OneOf(rapid.Just(uint32(0)), rapid.Uint32()).Draw(t, "iaid"), MAC: vnet.MAC{0x52, 0x54, 0, 0, 0, rapid.Byte().Draw(t, "mac")},
		DUID:     pick("duid", "", "00:01", "0", "00:", "00:1", "00:01:AB", "aa:bb:", "00:01:00:01:2c:10:00:01:52:54:00:00:00:07", string(make([]byte, 300))),
		Hostname: pick("hostname", "", "web"), Expires: at("expires"), Declined: rapid.Bool().Draw(t, "declined"), Temporary: rapid.Bool().Draw(t, "temporary"),
	}
	l.Client = pick("client", "", "01525400000001", "01"+strings.ReplaceAll(l.MAC.String(), ":", ""), "0152540000000", "0X", "ff:00")
	l.ID = vnet.ID(pick("id", "", "00000000-0000-0000-0000-000000000000", "l1", "0190a000-0000-7000-8000-00000000000f", "0190A000-0000-7000-8000-00000000000f", "0190a000-0000-7000-8000-00000000-00f"))
	l.Project, l.Created, l.Updated, l.Revision = vnet.ID(pick("project", "", "p1")), at("created"), at("updated"), rapid.Int64().Draw(t, "revision")
	switch rapid.IntRange(0, 4).Draw(t, "address") {
	case 0:
		l.Address, l.Family, l.HostPart = netip.MustParseAddr("192.0.2.7"), vnet.IPv4, 7
	case 1:
		l.Address, l.Family, l.HostPart = netip.MustParseAddr("2001:db8::1:7"), vnet.IPv6, 0x10007
	case 2:
		l.Address, l.Family, l.HostPart = netip.MustParseAddr("2001:db8::1:7"), vnet.IPv6, rapid.Uint64().Draw(t, "hostPart")
	case 3:
		l.Address, l.Length, l.Via = netip.MustParseAddr("2001:db8:1::"), 56, netip.MustParseAddr("fe80::1%eth0")
	case 4:
		l.Address = rapid.SampledFrom([]netip.Addr{{}, netip.MustParseAddr("::ffff:192.0.2.7"), netip.MustParseAddr("fe80::7%eth0")}).Draw(t, "odd")
	}
	if rapid.IntRange(0, 9).Draw(t, "deleting") == 0 {
		now := time.Unix(1790000000, 0).UTC()
		l.Deleting, l.Tags = &now, map[string]string{"a": "b"}
	}
	return l
}

// TestLease: what was packed comes out again.
func TestLease(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLease(t)
		was := *l
		p := Of(l)
		if got := p.Whole(); !reflect.DeepEqual(got, l) || !reflect.DeepEqual(*l, was) {
			t.Fatalf("%+v,\nwant %+v", got, l)
		}
		if p.ID() != l.ID || !p.IDIs(l.ID) || p.IDIs(l.ID+"x") || p.Address() != l.Address || p.Network() != l.Network || p.Subnet() != l.Subnet ||
			p.Port() != l.Port || p.Host() != l.Host || p.How() != l.How || p.Family() != l.Family || p.MAC() != l.MAC || p.IAID() != l.IAID {
			t.Errorf("%+v of %+v", p, l)
		}
		if p.Length() != l.Length || p.Via() != l.Via || !p.Expires().Equal(l.Expires) || !p.Updated().Equal(l.Updated) || p.DUID() != l.DUID ||
			p.Hostname() != l.Hostname || p.Declined() != l.Declined || p.Temporary() != l.Temporary || p.Ending() != (l.Deleting != nil) {
			t.Errorf("%+v of %+v", p, l)
		}
		other := drawLease(t)
		same := l.Port == other.Port && l.MAC == other.MAC && l.IAID == other.IAID && l.Hostname == other.Hostname && l.DUID == other.DUID && l.Client == other.Client
		if p.SameGuest(other) != same || !p.SameGuest(l) {
			t.Errorf("%+v: same guest as %+v: %v", l, other, !same)
		}
		s := ByID()
		s.Add(p)
		if found := s.Find(HashID(l.ID), func(x *Lease) bool { return x.IDIs(l.ID) }); found != p {
			t.Errorf("%q is not found", l.ID)
		}
	})
}

// TestLeaseJSON: what is written is the JSON form of the same lease.
func TestLeaseJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLease(t)
		l.Hostname += rapid.String().Draw(t, "more")
		if l.Family == 0 {
			l.Family = vnet.IPv6
		}
		whole, err := json.Marshal(l)
		if err != nil {
			t.Skip("it has no JSON form")
		}
		want, err := vnet.DecodeObject(vnet.KindLease, whole)
		if err != nil {
			t.Fatal(err)
		}
		b, err := Of(l).AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := vnet.DecodeObject(vnet.KindLease, b)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: %+v, %v,\nwant %+v", b, got, err, want)
		}
	})
}

// An ordinary lease is small.
func TestLeaseIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Lease{}); n > 112 {
		t.Errorf("%d bytes", n)
	}
	l := &vnet.Lease{
		Meta: vnet.Meta{ID: "0190a000-0000-7000-8000-00000000000f"}, Address: netip.MustParseAddr("2001:db8::1:7"), Expires: time.Unix(1790000000, 1),
		HostPart: 0x10007, DUID: "00:01:00:01:2c:10:00:01:52:54:00:00:00:07", Client: "01525400000001", Hostname: "web",
	}
	if p := Of(l); p.odd() != nil || len(p.text) != 14+7+3 {
		t.Errorf("%+v", p)
	}
}
