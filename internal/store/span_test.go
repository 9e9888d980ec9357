package store

import (
	"net/netip"
	"testing"

	"github.com/sextant-net/sextant/internal/vnet"
)

// TestHold: a part of a range that one host holds is no other host's to give,
// until the network goes.
func TestHold(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		w := newWorld(t, s)
		part := vnet.Range{First: netip.MustParseAddr("10.0.0.100"), Last: netip.MustParseAddr("10.0.0.199")}
		take := func(host string, mine ...vnet.Range) error {
			_, err := s.Hold(ctx, host, w.net.ID, func(map[string][]vnet.Range) []vnet.Range { return mine })
			return err
		}
		if err := take("h1", part); err != nil {
			t.Fatal(err)
		}
		if err := take("h1", part); err != nil {
			t.Errorf("the same again: %v", err)
		}
		wantKind(t, take("h2", part), vnet.ErrExists, "h1")
		var seen map[string][]vnet.Range
		if _, err := s.Hold(ctx, "h2", w.net.ID, func(held map[string][]vnet.Range) []vnet.Range { seen = held; return nil }); err != nil {
			t.Fatal(err)
		}
		if len(seen["h1"]) != 1 || seen["h1"][0] != part {
			t.Errorf("h2 is told %v", seen)
		}
		claim := func(host, addr string, how vnet.How) error {
			l := &vnet.Lease{Meta: vnet.Meta{ID: newID()}, Network: w.net.ID, Subnet: w.v4.ID, Host: host, How: how, Address: netip.MustParseAddr(addr)}
			return s.Claim(ctx, []vnet.Object{l}, nil)[0]
		}
		for _, c := range []struct {
			host, addr string
			how        vnet.How
			want       vnet.ErrKind
		}{
			{"h1", "10.0.0.100", vnet.HowDHCPv4, ""},
			{"h2", "10.0.0.101", vnet.HowDHCPv4, vnet.ErrExists},
			{"h2", "10.0.0.102", vnet.HowFixed, ""}, // guests do as they like
			{"h2", "10.0.0.50", vnet.HowDHCPv4, ""},
		} {
			if err := claim(c.host, c.addr, c.how); vnet.KindOf(err) != c.want {
				t.Errorf("%s claims %s (%s): %v, want %q", c.host, c.addr, c.how, err, c.want)
			}
		}
		c := del(w.v4)
		c.Delete = append(c.Delete, del(w.v6).Delete[0], del(w.net).Delete[0])
		if _, err := s.Commit(ctx, c); err != nil {
			t.Fatal(err)
		}
		left, err := s.etcd.Get(ctx, spanKey(w.net.ID))
		if err != nil || len(left.Kvs) != 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
		wantKind(t, take("h1", part), vnet.ErrNotFound)
	})
}
