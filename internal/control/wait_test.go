package control

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

func TestWait(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	n := r.network(named("web"))
	ref := vnet.RefOf(n)
	report := func(state vnet.State, applied int64, problems ...vnet.Problem) {
		s := &vnet.Status{Meta: vnet.Meta{ID: vnet.StatusID(ref, "h1")}, Target: ref, Host: "h1", State: state, Applied: applied, Problems: problems}
		if err := r.store.Observe(ctx, []vnet.Object{s}); err != nil {
			t.Error(err)
		}
	}
	go func() {
		report(vnet.StateRunning, n.Revision-1)
		report(vnet.StatePending, n.Revision)
		report(vnet.StateRunning, n.Revision)
	}()
	st, err := r.Wait(ctx, ref, n.Revision, "", Running)
	if err != nil || st.State != vnet.StateRunning {
		t.Fatalf("%+v, %v", st, err)
	}
	report(vnet.StateFailed, n.Revision, vnet.Problem{Field: "link", Msg: "no such NIC", Hint: "plug it in"})
	_, err = r.Wait(ctx, ref, n.Revision, "h1", Applied)
	wantKind(t, err, vnet.ErrHost, "link", "no such NIC", "plug it in")
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	_, err = r.Wait(short, ref, n.Revision+100, "", Applied)
	wantKind(t, err, vnet.ErrUnavailable, "did not report")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is no DeadlineExceeded", err)
	}
	if err := r.Withdraw(ctx, admin, ref, n.Revision); err != nil {
		t.Fatal(err)
	}
	_, err = r.Get(ctx, admin, sel(vnet.KindNetwork, "web"))
	wantKind(t, err, vnet.ErrNotFound)
	go report(vnet.StateStopped, n.Revision+5)
	if _, err := r.Wait(ctx, ref, n.Revision+5, "", Gone); err != nil {
		t.Error(err)
	}
	// Something no host ever had.
	go func() {
		h := vnet.Ref{Kind: vnet.KindHost, ID: "h1"}
		_ = r.store.Observe(ctx, []vnet.Object{&vnet.Status{Meta: vnet.Meta{ID: vnet.StatusID(h, "h1")}, Target: h, Host: "h1", Applied: 1000}})
	}()
	if _, err := r.Wait(ctx, vnet.Ref{Kind: vnet.KindPort, ID: r.newID()}, 900, "", Gone); err != nil {
		t.Error(err)
	}
}

func TestWhyAndOverview(t *testing.T) {
	r := newRig(t)
	ctx := t.Context()
	n := r.network(fixed4("web", "10.1.0.1/24"))
	p := portOn(n, "vm1")
	p.Addresses = []netip.Addr{netip.MustParseAddr("10.1.0.7")}
	p = r.port(p)
	lease := &vnet.Lease{Meta: vnet.Meta{ID: r.newID()}, Network: n.ID, Subnet: p.Fixed[0].Subnet, Port: p.ID, Host: "h1", Address: p.Fixed[0].Address, How: vnet.HowDHCPv4, MAC: p.MAC}
	if err := errors.Join(r.store.Claim(ctx, []vnet.Object{lease}, nil)...); err != nil {
		t.Fatal(err)
	}
	for addr, words := range map[string][]string{
		"10.1.0.7":        {"port vm1", "by dhcpv4", "10.1.0.0/24"},
		"::ffff:10.1.0.7": {"port vm1"},
		"10.1.0.1":        {"the gateway of network web"},
		"10.1.0.99":       {"lies in 10.1.0.0/24"},
	} {
		rs, err := r.Why(ctx, admin, netip.MustParseAddr(addr))
		if err != nil {
			t.Fatal(err)
		}
		for i, w := range words {
			if len(rs) <= i || !strings.Contains(rs[i].Text, w) {
				t.Errorf("%s: reason %d of %+v does not say %q", addr, i, rs, w)
			}
		}
	}
	if rs, err := r.Why(ctx, admin, netip.MustParseAddr("192.0.2.1")); err != nil || len(rs) != 0 {
		t.Errorf("%v, %v", rs, err)
	}
	if rs, err := r.Why(ctx, Identity{}, netip.MustParseAddr("10.1.0.7")); err != nil || len(rs) != 0 {
		t.Errorf("a stranger sees %v, %v", rs, err)
	}
	ov, err := r.Status(ctx, admin)
	if err != nil || len(ov.Networks) != 1 || ov.Networks[0].State != vnet.StatePending || ov.Ready {
		t.Errorf("%+v, %v", ov, err)
	}
	if _, err := r.Delete(ctx, admin, sel(vnet.KindPort, "vm1"), 0); err != nil {
		t.Fatal(err)
	}
}

func TestEvents(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r.network(named("web"))
	ch, err := r.Events(ctx, admin, 0)
	if err != nil {
		t.Fatal(err)
	}
	if e := <-ch; e.What != "created" || e.Revision == 0 || e.Msg != "network web created by root" {
		t.Errorf("%+v", e)
	}
	go func() {
		_, _ = r.Stop(ctx, admin, sel(vnet.KindNetwork, "web"))
		_, _ = r.Delete(ctx, admin, sel(vnet.KindNetwork, "web"), 0)
	}()
	for _, want := range []string{"stopped", "deleted"} {
		if e := <-ch; e.What != want {
			t.Errorf("%+v, want %s", e, want)
		}
	}
	cancel()
	if _, open := <-ch; open {
		t.Error("still open")
	}
}
