package store

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestDeleteNetworkTakesItsClaims(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		w := newWorld(t, s)
		var leases []vnet.Object
		for i := range 300 {
			leases = append(leases, &vnet.Lease{Meta: vnet.Meta{ID: newID()}, Network: w.net.ID, Subnet: w.v6.ID, Host: "h",
				Address: netip.AddrFrom16([16]byte{0: 0xfd, 14: byte(i >> 8), 15: byte(i)})})
		}
		as := &vnet.PrefixAssignment{Meta: vnet.Meta{ID: newID()}, Network: w.net.ID, Subnet: w.v4.ID, Host: "h", Prefix: netip.MustParsePrefix("10.9.0.0/24")}
		for _, err := range s.Claim(ctx, append(leases, as), nil) {
			if err != nil {
				t.Fatal(err)
			}
		}
		c := del(w.v4)
		c.Delete = append(c.Delete, del(w.v6).Delete[0], del(w.net).Delete[0])
		if _, err := s.Commit(ctx, c); err != nil {
			t.Fatal(err)
		}
		if err := s.Collect(ctx, time.Now()); err != nil {
			t.Fatal(err)
		}
		left, err := s.etcd.Get(ctx, root, clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			t.Fatal(err)
		}
		for _, kv := range left.Kvs {
			if k := string(kv.Key); strings.Contains(k, string(w.net.ID)) || strings.Contains(k, "lease") || strings.Contains(k, "uniq/prefix") ||
				strings.Contains(k, string(w.v4.ID)) {
				t.Errorf("left behind: %s", k)
			}
		}
		_, err = s.Get(ctx, vnet.RefOf(w.net))
		wantKind(t, err, vnet.ErrNotFound)
		if err := s.Claim(ctx, leases[:1], nil)[0]; !vnet.Is(err, vnet.ErrNotFound) {
			t.Errorf("claim on a network that is gone: %v", err)
		}
	})
}

func TestClaim(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		w := newWorld(t, s)
		p := w.port("vm1", 10)
		mustCommit(t, s, p)
		lease := func(addr string, port vnet.ID) *vnet.Lease {
			a := netip.MustParseAddr(addr)
			l := &vnet.Lease{Meta: vnet.Meta{ID: newID()}, Network: w.net.ID, Subnet: w.v4.ID, Port: port, Host: "h", Address: a}
			if a.Is6() {
				l.Subnet = w.v6.ID
			}
			return l
		}
		free, dup := lease("10.0.0.20", ""), lease("10.0.0.20", "")
		thief, owner := lease("10.0.0.10", ""), lease("10.0.0.10", p.ID)
		lost := lease("10.0.0.30", "")
		lost.Network = newID()
		got := s.Claim(ctx, []vnet.Object{free, dup, thief, owner, lost}, []vnet.Ref{{Kind: vnet.KindLease, ID: newID()}})
		for i, want := range []vnet.ErrKind{"", vnet.ErrExists, vnet.ErrExists, "", vnet.ErrNotFound, ""} {
			if vnet.KindOf(got[i]) != want {
				t.Errorf("claim %d: %v, want %q", i, got[i], want)
			}
		}
		if free.HostPart != 20 {
			t.Errorf("host part %d", free.HostPart)
		}
		// A port cannot take what is leased; it can once it is released.
		q := w.port("vm2", 20)
		_, err := s.Commit(ctx, &vnet.Change{Put: []vnet.Object{q}})
		wantKind(t, err, vnet.ErrExists)
		free.Expires = time.Now().Add(time.Hour)
		if err := errors.Join(s.Claim(ctx, []vnet.Object{free}, []vnet.Ref{vnet.RefOf(owner)})...); err != nil {
			t.Fatalf("renew and release: %v", err)
		}
		if err := errors.Join(s.Claim(ctx, nil, []vnet.Ref{vnet.RefOf(free)})...); err != nil {
			t.Fatal(err)
		}
		mustCommit(t, s, q)
		// Releasing the lease of a port must not give away the port's address.
		if err := errors.Join(s.Claim(ctx, []vnet.Object{owner}, nil)...); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.Claim(ctx, nil, []vnet.Ref{vnet.RefOf(owner)})...); err != nil {
			t.Fatal(err)
		}
		thief.ID = newID()
		wantKind(t, s.Claim(ctx, []vnet.Object{thief}, nil)[0], vnet.ErrExists, "port vm1")
	})
}

// A guest has the same host part in every prefix of its subnet; a port cannot
// have it meanwhile.
func TestClaimSameHostPart(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		w := newWorld(t, s)
		lease := func(addr string) *vnet.Lease {
			now := time.Now()
			return &vnet.Lease{Meta: vnet.Meta{ID: newID(), Created: now, Updated: now}, Network: w.net.ID, Subnet: w.v6.ID, Host: "h",
				Address: netip.MustParseAddr(addr), How: vnet.HowSLAAC, MAC: vnet.MAC{2, 0, 0, 0, 0, 1}}
		}
		first, second, third := lease("fd00:1::a:b"), lease("2001:db8:1::a:b"), lease("2001:db8:2::a:b")
		if err := errors.Join(s.Claim(ctx, []vnet.Object{first, second}, nil)...); err != nil {
			t.Fatalf("both at once: %v", err)
		}
		if err := errors.Join(s.Claim(ctx, []vnet.Object{third, first}, nil)...); err != nil {
			t.Fatalf("one more: %v", err)
		}
		wantKind(t, s.Claim(ctx, []vnet.Object{lease("2001:db8:2::a:b")}, nil)[0], vnet.ErrExists)
		p := w.port("vm1", 0xa000b)
		p.Fixed = []vnet.FixedAddress{{Subnet: w.v6.ID, Host: 0xa000b}}
		_, err := s.Commit(ctx, &vnet.Change{Put: []vnet.Object{p}})
		wantKind(t, err, vnet.ErrExists)

		var b bytes.Buffer
		if err := s.Backup(ctx, &b); err != nil {
			t.Fatal(err)
		}
		if err := s.Restore(ctx, bytes.NewReader(b.Bytes()), true); err != nil {
			t.Fatalf("restore: %v", err)
		}
		gone := []vnet.Ref{vnet.RefOf(second), vnet.RefOf(first), vnet.RefOf(third)}
		if err := errors.Join(s.Claim(ctx, nil, gone)...); err != nil {
			t.Fatalf("release: %v", err)
		}
		mustCommit(t, s, p)
		wantKind(t, s.Claim(ctx, []vnet.Object{lease("2001:db8:1::a:b")}, nil)[0], vnet.ErrExists, "port vm1")
	})
}

// Several writers take addresses from one small range: each goes to one.
func TestUniqueAmongWriters(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		w := newWorld(t, s)
		const writers, addresses = 8, 40
		var mu sync.Mutex
		won := map[uint64]int{}
		var wg sync.WaitGroup
		for k := range writers {
			wg.Go(func() {
				for h := range uint64(addresses) {
					var err error
					if k%2 == 0 {
						p := w.port(fmt.Sprintf("w%d-%d", k, h), h+1)
						p.MAC[2] = byte(k + 1)
						_, err = s.Commit(ctx, &vnet.Change{Put: []vnet.Object{p}})
					} else {
						l := &vnet.Lease{Meta: vnet.Meta{ID: newID()}, Network: w.net.ID, Subnet: w.v4.ID, Host: "h",
							Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(h + 1)})}
						err = s.Claim(ctx, []vnet.Object{l}, nil)[0]
					}
					switch {
					case err == nil:
						mu.Lock()
						won[h]++
						mu.Unlock()
					case !vnet.Is(err, vnet.ErrExists):
						t.Errorf("writer %d: %v", k, err)
					}
				}
			})
		}
		wg.Wait()
		for h := range uint64(addresses) {
			if won[h] != 1 {
				t.Errorf("address %d was given %d times", h+1, won[h])
			}
		}
	})
}

func TestObserveAndCollect(t *testing.T) {
	s := startEmbedded(t).Store
	ctx := t.Context()
	w := newWorld(t, s)
	long := time.Now().Add(-time.Hour)
	status := func(r vnet.Ref) *vnet.Status {
		return &vnet.Status{Meta: vnet.Meta{ID: vnet.StatusID(r, "h"), Updated: long}, Target: r, Host: "h", State: vnet.StateRunning}
	}
	live, stale := status(vnet.RefOf(w.net)), status(vnet.Ref{Kind: vnet.KindPort, ID: newID()})
	objects := []vnet.Object{live, stale, &vnet.Host{Meta: vnet.Meta{ID: "h"}}}
	for range eventsKept + 100 {
		objects = append(objects, &vnet.Event{Time: time.Now(), What: "changed"})
	}
	if err := s.Observe(ctx, objects); err != nil {
		t.Fatal(err)
	}
	if err := s.Collect(ctx, time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(ctx, vnet.RefOf(live)); err != nil {
		t.Error(err)
	}
	_, err := s.Get(ctx, vnet.RefOf(stale))
	wantKind(t, err, vnet.ErrNotFound)
	l, err := s.List(ctx, vnet.Query{Kind: vnet.KindEvent})
	if err != nil || len(l.Items) != eventsKept {
		t.Fatalf("%d events, %v", len(l.Items), err)
	}
	if l.Items[0].GetMeta().ID != objects[len(objects)-eventsKept].GetMeta().ID {
		t.Error("the wrong events were kept")
	}
	if hosts, err := s.List(ctx, vnet.Query{Kind: vnet.KindHost}); err != nil || len(hosts.Items) != 1 {
		t.Errorf("hosts: %v, %v", hosts, err)
	}
	if err := s.Observe(ctx, []vnet.Object{w.net}); !vnet.Is(err, vnet.ErrInvalid) {
		t.Errorf("a network is no observation: %v", err)
	}
}
