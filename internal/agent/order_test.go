package agent_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/agent"
	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// ordered puts an order into the store and returns what the agent reports of it,
// once the order is gone.
func (h *host) ordered(o *vnet.LeaseOrder) *vnet.Status {
	h.t.Helper()
	o.Host = "h1"
	if o.Until.IsZero() {
		o.Until = time.Now().Add(time.Minute)
	}
	h.store.Put(o)
	netnstest.Eventually(h.t, 10*time.Second, "the order is done", func() error {
		if all := h.store.All(vnet.KindOrder); len(all) > 0 {
			return fmt.Errorf("%d left", len(all))
		}
		if h.store.Status(vnet.RefOf(o), "h1") == nil {
			return fmt.Errorf("no report")
		}
		return nil
	})
	return h.store.Status(vnet.RefOf(o), "h1")
}

func mac(last byte) vnet.MAC { return vnet.MAC{2, 0, 0, 0, 0, last} }

// problemOf is what the report says of an address, "" if nothing.
func problemOf(s *vnet.Status, field string) string {
	i := slices.IndexFunc(s.Problems, func(p vnet.Problem) bool { return p.Field == field })
	if i < 0 {
		return ""
	}
	return s.Problems[i].Msg
}

// TestOrders: leases of other servers are taken over, each as far as nobody has
// the address here, and given back.
func TestOrders(t *testing.T) {
	h := newHost(t)
	h.start()
	n, ref := h.network("web")
	port := &vnet.Port{Meta: vnet.Meta{ID: "vm1", Name: "vm1", Project: "p1"}, Network: n.ID, MAC: mac(1),
		Fixed: []vnet.FixedAddress{{Subnet: "web-4", Host: 11}}}
	h.store.Put(port, &vnet.Reservation{Meta: vnet.Meta{ID: "res", Project: "p1"}, Network: n.ID, MAC: mac(2), Fixed: vnet.FixedAddress{Subnet: "web-4", Host: 12}},
		&vnet.Subnet{Meta: vnet.Meta{ID: "web-pd"}, Network: n.ID, Family: vnet.IPv6, Source: vnet.SourceFixed,
			Prefix: netip.MustParsePrefix("2001:db8:7:100::/56"), Guests: vnet.GuestsDelegation, Delegate: 64})
	h.await(vnet.RefOf(port), vnet.StateStopped)
	st := h.await(ref, vnet.StateRunning)
	four := func(host byte) netip.Addr {
		b := st.Prefixes[0].Addr().As4()
		b[3] = host
		return netip.AddrFrom4(b)
	}
	later := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	six := netip.MustParseAddr("fd12:3456:789a:1::77")
	const duid = "00:03:00:01:02:00:00:00:00:07"
	order := &vnet.LeaseOrder{Meta: vnet.Meta{ID: "o1"}, Network: n.ID, Action: vnet.OrderImport, Leases: []vnet.LeaseRecord{
		{Address: four(11), MAC: mac(1), Expires: later},                                           // the port's very address
		{Address: four(12), MAC: mac(3), Expires: later},                                           // reserved for another
		{Address: four(13), MAC: mac(1), Expires: later},                                           // the port has another
		{Address: four(14), MAC: mac(4), Client: "01:02", Hostname: "printer", Expires: later},     // free
		{Address: four(14), MAC: mac(5), Expires: later},                                           // and again
		{Address: four(15), MAC: mac(5), Expires: time.Now().Add(-time.Minute)},                    // ended
		{Address: st.Prefixes[0].Addr(), MAC: mac(6), Expires: later},                              // the gateway
		{Address: netip.MustParseAddr("198.51.100.9"), MAC: mac(6), Expires: later},                // elsewhere
		{Address: six, DUID: duid, IAID: 5, Expires: later},                                        // MAC inside the DUID
		{Address: netip.MustParseAddr("2001:db8:7:107::"), Length: 64, DUID: duid, Expires: later}, // a prefix
		{Address: netip.MustParseAddr("2001:db8:7:110::"), Length: 60, DUID: duid, Expires: later}, // of another length
		{Address: four(255), MAC: mac(6), Expires: later},
	}}
	args, err := json.Marshal(order)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := h.agent.Answer(t.Context(), "import", args)
	var tried agent.Tried
	if err := errors.Join(err, json.Unmarshal(answer, &tried)); err != nil || len(h.store.All(vnet.KindLease)) != 0 {
		t.Errorf("tried: %v, leases %v", err, h.store.All(vnet.KindLease))
	}
	got := h.ordered(order)
	if tried.Done != 4 || len(tried.Problems) != len(got.Problems) {
		t.Errorf("tried: %+v, done: %+v", tried, got.Problems)
	}
	if got.State != vnet.StateDegraded || got.Applied < order.Revision {
		t.Errorf("report %+v", got)
	}
	for field, want := range map[string]string{
		four(11).String(): "", six.String(): "", "2001:db8:7:107::/64": "",
		four(12).String():              "reserved for another guest",
		four(13).String():              "02:00:00:00:00:01 is port vm1, which has " + four(11).String() + " here",
		four(14).String():              "it is there twice",
		four(15).String():              "it ended at",
		st.Prefixes[0].Addr().String(): "a gateway of network web",
		"198.51.100.9":                 "in no subnet of network web",
		"2001:db8:7:110::/60":          "guests do not get such prefixes",
		four(255).String():             "no guest can have it",
	} {
		if p := problemOf(got, field); want == "" && p != "" || !strings.Contains(p, want) {
			t.Errorf("%s: %q, want %q", field, p, want)
		}
	}
	leases := map[netip.Addr]*vnet.Lease{}
	for _, o := range h.store.All(vnet.KindLease) {
		leases[o.(*vnet.Lease).Address] = o.(*vnet.Lease)
	}
	if len(leases) != 4 {
		t.Errorf("leases %v", leases)
	}
	if l := leases[four(11)]; l == nil || l.Port != port.ID || l.Subnet != "" {
		t.Errorf("the port's lease is %+v", l)
	}
	if l := leases[four(14)]; l == nil || l.MAC != mac(4) || l.Hostname != "printer" || l.Client != "01:02" || !l.Expires.Equal(later) ||
		l.How != vnet.HowDHCPv4 || l.Subnet != "web-4" || l.HostPart != 14 || l.Host != "h1" || l.Project != "p1" {
		t.Errorf("the printer's lease is %+v", l)
	}
	if l := leases[six]; l == nil || l.MAC != mac(7) || l.DUID != duid || l.IAID != 5 || l.How != vnet.HowDHCPv6 {
		t.Errorf("the IPv6 lease is %+v", l)
	}

	// Once more: the same guests have what they have; another guest does not get it.
	again := &vnet.LeaseOrder{Meta: vnet.Meta{ID: "o2"}, Network: n.ID, Action: vnet.OrderImport, Leases: []vnet.LeaseRecord{
		{Address: four(14), MAC: mac(4), Expires: later}, {Address: six, MAC: mac(9), Expires: later},
	}}
	if got := h.ordered(again); problemOf(got, four(14).String()) != "" || !strings.Contains(problemOf(got, six.String()), "in use here by 02:00:00:00:00:07") {
		t.Errorf("again: %+v", got.Problems)
	}

	release := &vnet.LeaseOrder{Meta: vnet.Meta{ID: "o3"}, Network: n.ID, Action: vnet.OrderRelease, Leases: []vnet.LeaseRecord{
		{Address: four(14), Lease: leases[four(14)].ID, MAC: mac(4)}, {Address: six, MAC: mac(9)}, {Address: four(200)},
	}}
	if got := h.ordered(release); len(got.Problems) != 1 || !strings.Contains(problemOf(got, six.String()), "another guest's by now") {
		t.Errorf("release: %+v", got)
	}
	if slices.ContainsFunc(h.store.All(vnet.KindLease), func(o vnet.Object) bool { return o.(*vnet.Lease).Address == four(14) }) {
		t.Error("it is leased still")
	}
	// What ended is remembered.
	netnstest.Eventually(t, 20*time.Second, "the stay is in the history", func() error {
		past := h.store.History(vnet.HistoryID(n.ID, "", mac(4), ""))
		if past == nil || len(past.Stays) != 1 || past.Stays[0].Address != four(14) || past.Stays[0].Hostname != "printer" || past.Stays[0].Until.IsZero() {
			return fmt.Errorf("history %+v", past)
		}
		return nil
	})
}

// TestVoidOrders: what could not be done in time is not done later.
func TestVoidOrders(t *testing.T) {
	h := newHost(t)
	h.start()
	n, ref := h.network("web")
	h.await(ref, vnet.StateRunning)
	got := h.ordered(&vnet.LeaseOrder{Meta: vnet.Meta{ID: "o1"}, Network: n.ID, Action: vnet.OrderImport, Until: time.Now().Add(-time.Second),
		Leases: []vnet.LeaseRecord{{Address: netip.MustParseAddr("fd12:3456:789a:1::77"), MAC: mac(1)}}})
	if got.State != vnet.StateFailed || len(got.Problems) != 1 || len(h.store.All(vnet.KindLease)) != 0 {
		t.Errorf("%+v", got)
	}
	elsewhere := &vnet.LeaseOrder{Meta: vnet.Meta{ID: "o2"}, Network: n.ID, Host: "h2", Action: vnet.OrderRelease, Until: time.Now().Add(time.Hour)}
	rev := h.store.Put(elsewhere)
	port := &vnet.Port{Meta: vnet.Meta{ID: "vm1", Name: "vm1", Project: "p1"}, Network: n.ID, MAC: mac(1)}
	h.store.Put(port)
	if h.await(vnet.RefOf(port), vnet.StateStopped).Applied <= rev || len(h.store.All(vnet.KindOrder)) != 1 {
		t.Error("another host's order was taken")
	}
}
