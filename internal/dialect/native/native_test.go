package native

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/dialect/dialecttest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// asRoot is what ConnContext does for root on the socket.
func asRoot(h http.Handler) http.Handler { return as(0, h) }

func as(uid uint32, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), peerKey{}, peer{uid: uid})))
	})
}

func testHandler(t *testing.T) http.Handler {
	f := NewFake()
	f.Broken["broken"] = vnet.Errorf(vnet.ErrHost, "nft is missing").WithHint("apt install nftables")
	f.Slow["slow"] = true
	if strings.HasSuffix(t.Name(), "/leases") {
		seedLeases(f)
	}
	if strings.HasSuffix(t.Name(), "/prefixes") {
		seedPrefixes(f)
	}
	return asRoot(New(Config{Verbs: f, Version: "test"}))
}

func seedLeases(f *Fake) {
	n := &vnet.Network{}
	n.Name = "web"
	f.Put(n)
	p := &vnet.Port{Network: n.ID}
	p.Name = "vm1"
	f.Put(p)
	mac, _ := vnet.ParseMAC("52:54:00:aa:00:01")
	f.Put(&vnet.Lease{
		Network: n.ID, Port: p.ID, Host: "host1", Address: netip.MustParseAddr("192.168.150.9"), Family: vnet.IPv4,
		How: vnet.HowDHCPv4, MAC: mac, Hostname: "vm1", Expires: fakeTime,
	})
	f.Put(&vnet.Lease{
		Network: n.ID, Port: p.ID, Host: "host1", Address: netip.MustParseAddr("2001:DB8:0:0::0:1"), Family: vnet.IPv6,
		How: vnet.HowSLAAC, MAC: mac,
	})
}

func seedPrefixes(f *Fake) {
	n := &vnet.Network{}
	n.Name = "web"
	f.Put(n)
	for prefix, state := range map[string]vnet.PrefixState{"2001:db8:100:1::/64": vnet.PrefixActive, "2001:db8:7:1::/64": vnet.PrefixDeprecated} {
		a := &vnet.PrefixAssignment{Network: n.ID, Host: "host1", Prefix: netip.MustParsePrefix(prefix), Rung: vnet.EgressDelegated, Uplink: "eth0",
			State: state, PreferredUntil: fakeTime, ValidUntil: fakeTime}
		a.ID = vnet.ID(state)
		f.Put(a)
	}
}

func TestConversations(t *testing.T) {
	dialecttest.Replay(t, "testdata/*.txtar", testHandler)
}

func TestStrangersAreRefused(t *testing.T) {
	h := New(Config{Verbs: NewFake()})
	for name, h := range map[string]http.Handler{"nobody": as(65534, h), "no socket": h} {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("GET", "/v1/networks", nil))
		if rec.Code != http.StatusForbidden || !strings.Contains(rec.Body.String(), `"hint":`) {
			t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
		}
		rec = httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("GET", "/healthz", nil))
		if rec.Code != http.StatusOK {
			t.Errorf("%s: healthz is %d", name, rec.Code)
		}
	}
}

// countingReader is a body without end that counts what is read of it.
type countingReader struct{ n int64 }

func (c *countingReader) Read(b []byte) (int, error) {
	c.n += int64(len(b))
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

func TestLongBodies(t *testing.T) {
	h := testHandler(t)
	for name, length := range map[string]int64{"announced": 100 << 20, "chunked": -1} {
		body := &countingReader{}
		req := httptest.NewRequest("POST", "/v1/networks", io.LimitReader(body, 100<<20))
		req.ContentLength = length
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		if rec.Code != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %d %s", name, rec.Code, rec.Body)
		}
		if body.n > 2*MaxBody {
			t.Errorf("%s: %d bytes were read", name, body.n)
		}
	}
}

// panicking panics in one verb.
type panicking struct{ *Fake }

func (panicking) Status(context.Context, Identity) (*Overview, error) { panic("secret") }

func TestPanicsStayInside(t *testing.T) {
	rec := httptest.NewRecorder()
	asRoot(New(Config{Verbs: panicking{NewFake()}})).ServeHTTP(rec, httptest.NewRequest("GET", "/v1/status", nil))
	if rec.Code != http.StatusInternalServerError || strings.Contains(rec.Body.String(), "secret") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

func TestErrorTableIsWhole(t *testing.T) {
	for _, k := range []vnet.ErrKind{
		vnet.ErrInvalid, vnet.ErrNotFound, vnet.ErrExists, vnet.ErrInUse, vnet.ErrOverlap, vnet.ErrConflict,
		vnet.ErrExhausted, vnet.ErrForbidden, vnet.ErrUnsupported, vnet.ErrUnavailable, vnet.ErrHost, vnet.ErrInternal,
	} {
		if _, ok := httpStatus[k]; !ok {
			t.Errorf("%s has no HTTP status", k)
		}
	}
}
