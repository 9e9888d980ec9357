package client_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/dialect/native"
	"github.com/sextant-net/sextant/internal/dialect/native/client"
	"github.com/sextant-net/sextant/internal/vnet"
)

// serve runs the API on a Unix socket, as the daemon does.
func serve(t *testing.T, f *native.Fake) *client.Client {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("the server lets only root in")
	}
	sock := filepath.Join(t.TempDir(), "api.sock")
	l, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: native.New(native.Config{Verbs: f}), ConnContext: native.ConnContext}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	c, err := client.New("unix://" + sock)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRoundTrip(t *testing.T) {
	ctx := t.Context()
	c := serve(t, native.NewFake())
	if err := c.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	n := &vnet.Network{}
	n.Name, n.IPv6.Mode = "web", vnet.EgressULA
	made, err := client.Create(ctx, c, client.Write{Wait: time.Second}, n)
	if err != nil {
		t.Fatal(err)
	}
	if made.Bridge != "sx-web" || made.Project != "default" || made.Revision == 0 {
		t.Errorf("made %+v", made)
	}
	made.MTU = 1400
	next, err := client.Replace(ctx, c, client.Write{IfMatch: made.Revision}, "web", made)
	if err != nil || next.MTU != 1400 {
		t.Fatal(next, err)
	}
	if _, err := client.Replace(ctx, c, client.Write{IfMatch: made.Revision}, "web", made); !vnet.Is(err, vnet.ErrConflict) {
		t.Errorf("a lost update: %v", err)
	}
	port, err := c.Plug(ctx, client.Write{Scope: client.Scope{Network: "web"}}, "vm1", nil, vnet.Binding{Plug: vnet.PlugTap, Device: "tap7"})
	if err != nil || port.Network != "web" || port.Binding.Host != "host1" {
		t.Fatal(port, err)
	}
	ports, err := client.List[vnet.Port](ctx, c, client.Scope{Network: "web"})
	if err != nil || len(ports) != 1 || ports[0].Name != "vm1" {
		t.Fatal(ports, err)
	}
	err = c.Delete(ctx, vnet.KindNetwork, client.Write{}, "web")
	var e *vnet.Error
	if !errors.As(err, &e) || e.Kind != vnet.ErrInUse || e.Ref == nil {
		t.Errorf("deleting what is in use: %v", err)
	}
	var backup bytes.Buffer
	if err := c.Backup(ctx, &backup); err != nil {
		t.Fatal(err)
	}
	if err := c.Restore(ctx, &backup); err != nil {
		t.Fatal(err)
	}
	if err := c.Restore(ctx, strings.NewReader("x")); !vnet.Is(err, vnet.ErrInvalid) {
		t.Errorf("a bad backup: %v", err)
	}
}

func TestNamesAreEscaped(t *testing.T) {
	c := serve(t, native.NewFake())
	_, err := client.Get[vnet.Network](t.Context(), c, client.Scope{}, "a/../b?c")
	if !vnet.Is(err, vnet.ErrNotFound) || !strings.Contains(err.Error(), `a/../b?c`) {
		t.Error(err)
	}
}

// blanks is a body without end.
type blanks struct{}

func (blanks) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

// TestLongBody: a caller who sends 100 MB reads why that was too much, although
// nobody reads what it sends.
func TestLongBody(t *testing.T) {
	c := serve(t, native.NewFake())
	err := c.Do(t.Context(), client.Request{
		Method: http.MethodPost, Path: "/v1/networks", Body: io.LimitReader(blanks{}, 100<<20),
	}, nil)
	if !vnet.Is(err, vnet.ErrInvalid) || !strings.Contains(err.Error(), "1 MiB") {
		t.Error(err)
	}
	if err := c.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPages(t *testing.T) {
	f := native.NewFake()
	for i := range 1100 {
		f.Put(&vnet.Lease{Address: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), Family: vnet.IPv4})
	}
	leases, err := serve(t, f).Leases(t.Context(), client.Scope{})
	if err != nil || len(leases) != 1100 {
		t.Fatal(len(leases), err)
	}
}

func TestEventsResume(t *testing.T) {
	f := native.NewFake()
	c := serve(t, f)
	for _, name := range []string{"a", "b", "c"} {
		n := &vnet.Network{}
		n.Name = name
		f.Put(n)
	}
	read := func(after int64, count int) (names []string, last int64) {
		enough := errors.New("enough")
		err := c.Events(t.Context(), after, func(e vnet.Event) error {
			names, last = append(names, e.Msg), e.Revision
			if len(names) == count {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) {
			t.Fatal(err)
		}
		return names, last
	}
	got, last := read(2, 2)
	if strings.Join(got, ", ") != "network a created, network b created" {
		t.Error(got)
	}
	if got, _ = read(last, 1); got[0] != "network c created" {
		t.Error(got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := c.Events(ctx, last, func(vnet.Event) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestUnreachable(t *testing.T) {
	dir := t.TempDir()
	dead := filepath.Join(dir, "dead.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	for server, want := range map[string]string{
		"unix://" + dir + "/none": "the daemon is not running: there is no " + dir + "/none; start it: systemctl start sextant, or sextant serve",
		"unix://" + dead:          "the daemon is not running: nobody answers at " + dead + "; start it: systemctl start sextant, or sextant serve",
	} {
		c, err := client.New(server)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Ready(t.Context()); err == nil || err.Error() != want {
			t.Errorf("%s\n got %v\nwant %s", server, err, want)
		}
	}
	for _, bad := range []string{"ftp://x", "unix://", "::"} {
		if _, err := client.New(bad); !vnet.Is(err, vnet.ErrInvalid) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestLeaseVerbs(t *testing.T) {
	ctx := t.Context()
	f := native.NewFake()
	n := &vnet.Network{}
	n.Name = "web"
	f.Put(n)
	address := netip.MustParseAddr("10.0.0.9")
	f.Put(&vnet.Lease{Network: n.ID, Address: address, Family: vnet.IPv4, MAC: vnet.MAC{2, 0, 0, 0, 0, 1}})
	f.Put(&vnet.Lease{Network: n.ID, Address: netip.MustParseAddr("2001:db8:7::"), Length: 56, Via: netip.MustParseAddr("fe80::1"), Family: vnet.IPv6})
	c := serve(t, f)
	w := client.Write{Scope: client.Scope{Network: "web"}, Wait: time.Second}

	leases, err := c.Leases(ctx, w.Scope)
	if err != nil || len(leases) != 2 || leases[1].Prefix.String() != "2001:db8:7::/56" || leases[1].Via.String() != "fe80::1" || leases[0].Prefix.IsValid() {
		t.Errorf("leases %+v %v", leases, err)
	}
	records := []vnet.LeaseRecord{{Address: address, MAC: vnet.MAC{2}}, {Address: netip.MustParseAddr("10.0.0.10"), MAC: vnet.MAC{2}}}
	for _, dry := range []bool{true, false} {
		r, err := c.ImportLeases(ctx, w, records, dry)
		if err != nil || r.Done != 1 || len(r.Problems) != 1 || r.Problems[0].Field != address.String() {
			t.Errorf("import: %+v %v", r, err)
		}
	}
	if r, err := c.ImportLeases(ctx, client.Write{Scope: w.Scope}, records, false); err != nil || !r.Pending {
		t.Errorf("without waiting: %+v %v", r, err)
	}

	items, revision, err := c.ListRevision(ctx, "leases", nil)
	if err != nil || len(items) != 3 || revision == 0 {
		t.Errorf("%d leases at %d, %v", len(items), revision, err)
	}
	enough := errors.New("enough")
	var seen []string
	err = c.WatchLeases(ctx, nil, revision, func(raw json.RawMessage, ended bool) error {
		var l client.Lease
		if err := json.Unmarshal(raw, &l); err != nil {
			t.Error(err)
		}
		if ended {
			seen = append(seen, "ended "+string(l.ID))
			return enough
		}
		seen = append(seen, l.Address.String()+" on "+l.Network)
		return nil
	})
	if want := "10.0.0.9 on web, 2001:db8:7:: on web, 10.0.0.10 on web, ended " + string(leases[0].ID); err != enough || strings.Join(seen, ", ") != want {
		t.Errorf("watched %q, %v", seen, err)
	}
	if r, err := c.ReleaseLease(ctx, w, address.String()); err != nil || r.Done != 1 || r.Host != "host1" {
		t.Errorf("release: %+v %v", r, err)
	}
	if _, err := c.ReleaseLease(ctx, w, address.String()); !vnet.Is(err, vnet.ErrNotFound) {
		t.Errorf("released twice: %v", err)
	}
}
