package control

import (
	"bytes"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

// setUplink changes a policy of host h1.
func (r *rig) setUplink(link string, confirm time.Duration, change func(*vnet.UplinkPolicy)) (*vnet.UplinkPolicy, error) {
	r.t.Helper()
	return r.SetUplink(r.t.Context(), admin, "", link, 0, confirm, func(p *vnet.UplinkPolicy) error {
		change(p)
		return nil
	})
}

func (r *rig) mustSetUplink(link string, confirm time.Duration, change func(*vnet.UplinkPolicy)) *vnet.UplinkPolicy {
	r.t.Helper()
	p, err := r.setUplink(link, confirm, change)
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

func TestSetUplink(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	p := r.mustSetUplink("eth0", 0, func(p *vnet.UplinkPolicy) { p.Hint, p.Ask = 56, "ON" })
	if p.Host != "h1" || p.Name != "eth0" || p.Project != "" || p.Generation != 1 || p.Hint != 56 || p.Ask != vnet.AskOn || p.Revision == 0 {
		t.Errorf("made %+v", p)
	}
	first := p.Revision
	p = r.mustSetUplink("eth0", 0, func(p *vnet.UplinkPolicy) {
		p.Name, p.Host = "eth1", "h2" // whose it is cannot change
		p.Prefixes = []netip.Prefix{netip.MustParsePrefix("2001:db8:100::/56")}
	})
	if p.Name != "eth0" || p.Host != "h1" || p.Generation != 2 || p.Hint != 56 || len(p.Prefixes) != 1 {
		t.Errorf("changed to %+v", p)
	}
	_, err := r.SetUplink(ctx, admin, "", "eth0", first, 0, func(*vnet.UplinkPolicy) error { return nil })
	wantKind(t, err, vnet.ErrConflict, "changed since")
	_, err = r.SetUplink(ctx, admin, "", "eth9", first, 0, func(*vnet.UplinkPolicy) error { return nil })
	wantKind(t, err, vnet.ErrConflict)
	_, err = r.SetUplink(ctx, admin, "nowhere", "eth0", 0, 0, func(*vnet.UplinkPolicy) error { return nil })
	wantKind(t, err, vnet.ErrNotFound, "host", "nowhere")
	_, err = r.SetUplink(ctx, Identity{User: "bob"}, "", "eth0", 0, 0, func(*vnet.UplinkPolicy) error { return nil })
	wantKind(t, err, vnet.ErrForbidden)
	_, err = r.setUplink("eth0", 0, func(p *vnet.UplinkPolicy) { p.Hint = 65 })
	wantKind(t, err, vnet.ErrInvalid, "uplink set: hint:")
	got, err := r.Get(ctx, Identity{User: "bob"}, sel(vnet.KindUplink, "eth0"))
	if err != nil || got.(*vnet.UplinkPolicy).Hint != 56 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := r.Delete(ctx, admin, sel(vnet.KindUplink, "eth0"), 0); err != nil {
		t.Fatal(err)
	}
	_, err = r.Get(ctx, admin, sel(vnet.KindUplink, "eth0"))
	wantKind(t, err, vnet.ErrNotFound)
}

// TestSetUplinkTogether: two who make the policy of one link at a time both get
// what they asked for.
func TestSetUplinkTogether(t *testing.T) {
	r := newRig(t)
	var all sync.WaitGroup
	for _, change := range []func(*vnet.UplinkPolicy){
		func(p *vnet.UplinkPolicy) { p.Hint = 60 },
		func(p *vnet.UplinkPolicy) { p.File = "/etc/prefixes" },
		func(p *vnet.UplinkPolicy) { p.Ask = vnet.AskOff },
	} {
		all.Go(func() {
			if _, err := r.setUplink("eth0", 0, change); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	o, err := r.Get(t.Context(), admin, sel(vnet.KindUplink, "eth0"))
	if err != nil {
		t.Fatal(err)
	}
	if p := o.(*vnet.UplinkPolicy); p.Hint != 60 || p.File != "/etc/prefixes" || p.Ask != vnet.AskOff {
		t.Errorf("%+v", p)
	}
}

func TestPinnedUplink(t *testing.T) {
	r := newRig(t)
	pin := func(families string) func(*vnet.UplinkPolicy) {
		return func(p *vnet.UplinkPolicy) { p.Pinned = families }
	}
	r.mustSetUplink("eth0", 0, pin("ipv4"))
	r.mustSetUplink("wlan0", 0, pin("ipv6"))
	_, err := r.setUplink("wlan0", 0, pin("both"))
	wantKind(t, err, vnet.ErrInUse, "pinned", "ipv4 is pinned to eth0", "sextant uplink set eth0 pinned=")
	r.mustSetUplink("eth0", 0, pin(""))
	r.mustSetUplink("wlan0", 0, pin("both"))
	other := &vnet.UplinkPolicy{Meta: vnet.Meta{ID: r.newID(), Name: "eth2"}, Host: "h1", Pinned: "ipv4"}
	_, err = r.store.Commit(t.Context(), &vnet.Change{Put: []vnet.Object{other}})
	wantKind(t, err, vnet.ErrExists, "pinned")
}

func TestConfirm(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	r.now = func() time.Time { return now }
	share := func(on bool) func(*vnet.UplinkPolicy) { return func(p *vnet.UplinkPolicy) { p.Shared = on } }
	shown := func() *vnet.UplinkPolicy {
		t.Helper()
		o, err := r.Get(ctx, admin, sel(vnet.KindUplink, "eth0"))
		if err != nil {
			t.Fatal(err)
		}
		return o.(*vnet.UplinkPolicy)
	}
	want := func(what string, p *vnet.UplinkPolicy, shared, before bool, until time.Time) {
		t.Helper()
		if p.Shared != shared || p.Before != before || !p.Until.Equal(until) {
			t.Errorf("%s: shared %t, before %t, until %v", what, p.Shared, p.Before, p.Until)
		}
	}
	_, err := r.Confirm(ctx, admin)
	wantKind(t, err, vnet.ErrConflict, "nothing waits")
	_, err = r.Confirm(ctx, Identity{User: "bob"})
	wantKind(t, err, vnet.ErrForbidden)
	_, err = r.setUplink("eth0", time.Minute, func(p *vnet.UplinkPolicy) { p.Hint = 56 })
	wantKind(t, err, vnet.ErrInvalid, "confirm", "leave it out")
	_, err = r.setUplink("eth0", 2*time.Hour, share(true))
	wantKind(t, err, vnet.ErrInvalid, "confirm", "1h")

	until := now.Add(time.Minute)
	want("asked for", r.mustSetUplink("eth0", time.Minute, share(true)), true, false, until)
	want("changed otherwise", r.mustSetUplink("eth0", 0, func(p *vnet.UplinkPolicy) { p.Hint = 56 }), true, false, until)
	want("put back by hand", r.mustSetUplink("eth0", 0, share(false)), false, false, time.Time{})

	want("again", r.mustSetUplink("eth0", time.Minute, share(true)), true, false, until)
	now = now.Add(30 * time.Second)
	want("extended", r.mustSetUplink("eth0", time.Minute, share(true)), true, false, now.Add(time.Minute))
	kept, err := r.Confirm(ctx, admin)
	if err != nil || len(kept) != 1 || kept[0].Name != "eth0" || kept[0].Revision == 0 {
		t.Fatalf("%v, %v", kept, err)
	}
	now = now.Add(time.Hour)
	want("confirmed", shown(), true, false, time.Time{})

	until = now.Add(time.Minute)
	want("the end of it", r.mustSetUplink("eth0", time.Minute, share(false)), false, true, until)
	now = until
	want("taken back, as shown", shown(), true, false, time.Time{})
	_, err = r.Confirm(ctx, admin)
	wantKind(t, err, vnet.ErrConflict, "eth0 was taken back")
	want("ended for good", r.mustSetUplink("eth0", 0, share(false)), false, false, time.Time{})

	r.mustSetUplink("eth0", time.Minute, share(true))
	now = now.Add(time.Minute)
	want("changed after its time", r.mustSetUplink("eth0", 0, func(p *vnet.UplinkPolicy) { p.Hint = 60 }), false, false, time.Time{})
	stored, err := r.store.Get(ctx, vnet.Ref{Kind: vnet.KindUplink, ID: uplinkID("h1", "eth0")})
	if err != nil {
		t.Fatal(err)
	}
	want("as stored", stored.(*vnet.UplinkPolicy), false, false, time.Time{})
}

func TestUplinks(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	h := &vnet.Host{Meta: vnet.Meta{ID: "h1", Name: "h1"}, Facts: vnet.HostFacts{Uplinks: []vnet.Uplink{
		{Name: "sxbr0", Lower: "eth0", V6: true}, {Name: "wlan0", V4: true},
	}}}
	if _, err := r.store.Commit(ctx, &vnet.Change{Put: []vnet.Object{h}}); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{"eth0", "eth7", "any"} {
		r.mustSetUplink(link, 0, func(p *vnet.UplinkPolicy) { p.Settle = vnet.Duration(time.Minute) })
	}
	all, _, err := r.Uplinks(ctx, admin, "", "")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, u := range all {
		s := u.Facts.Name
		if u.Policy != nil {
			s += "+" + u.Policy.Name
		}
		if u.Absent {
			s += " absent"
		}
		got = append(got, s)
	}
	want := []string{"any+any", "eth7+eth7 absent", "sxbr0+eth0", "wlan0"}
	if len(got) != len(want) {
		t.Fatalf("%q", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%q, want %q", got[i], want[i])
		}
	}
	for _, link := range []string{"eth0", "sxbr0"} {
		if l, _, err := r.Uplinks(ctx, admin, "h1", link); err != nil || len(l) != 1 || l[0].Facts.Name != "sxbr0" {
			t.Errorf("%s: %v, %v", link, l, err)
		}
	}
	if l, _, _ := r.Uplinks(ctx, admin, "h2", ""); len(l) != 0 {
		t.Errorf("of another host: %v", l)
	}
}

func TestArchiveOfUplinks(t *testing.T) {
	from, to := newRig(t), newRig(t)
	ctx := t.Context()
	from.mustSetUplink("eth0", 0, func(p *vnet.UplinkPolicy) { p.Pinned = "both" })
	var b bytes.Buffer
	if err := from.Backup(ctx, admin, &b); err != nil {
		t.Fatal(err)
	}
	if err := to.Restore(ctx, admin, bytes.NewReader(b.Bytes())); err != nil {
		t.Fatal(err)
	}
	o, err := to.Get(ctx, admin, sel(vnet.KindUplink, "eth0"))
	if err != nil || o.(*vnet.UplinkPolicy).Pinned != "both" {
		t.Errorf("%v, %v", o, err)
	}
	_, err = to.setUplink("eth1", 0, func(p *vnet.UplinkPolicy) { p.Pinned = "ipv6" })
	wantKind(t, err, vnet.ErrInUse, "pinned")
	wantKind(t, to.Restore(ctx, admin, bytes.NewReader(b.Bytes())), vnet.ErrExists)
}
