package agent

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/server/dhcp6"
	"github.com/sextant-net/sextant/internal/vnet"
)

func acceptorExample(n byte, came uint64) dhcp6.Acceptor {
	return dhcp6.Acceptor{DUID: ipam.NewDUIDLL(vnet.MAC{2, 0, 0, 0, 0, n}), Peer: netip.MustParseAddr("fe80::1"), Info: n%2 == 0, Came: came}
}

// TestAcceptKeeper: who accepts reconfigure messages, and the secret of their
// keys, are there again after a kill, for root alone; numbers go on.
func TestAcceptKeeper(t *testing.T) {
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	file := filepath.Join(dir, "agent-reconfigure.json")
	k := newAcceptKeeper(dir, log)
	stop := background(t.Context(), k.run)
	first, second := acceptorExample(1, 7), acceptorExample(2, 0)
	k.Keep("web", first)
	k.Keep("web", second)
	k.Keep("db", first)
	k.Keep("gone", first)
	k.Drop("web", second.DUID)
	k.only(func(id vnet.ID) bool { return id != "gone" })
	number := k.Number(uint64(time.Now().UnixNano()))
	netnstest.Eventually(t, 10*time.Second, "it is written without being stopped", func() error {
		if now := newAcceptKeeper(dir, log); now.reserved < number || now.count != 2 {
			return fmt.Errorf("%d %d", now.reserved, now.count)
		}
		return nil
	})
	again := newAcceptKeeper(dir, log)
	if !reflect.DeepEqual(again.secret, k.secret) || len(again.secret) != acceptSecret {
		t.Error("another secret")
	}
	if got := again.Acceptors("web"); !reflect.DeepEqual(got, []dhcp6.Acceptor{first}) || len(again.Acceptors("db")) != 1 || again.count != 2 {
		t.Errorf("%+v, %d in all", got, again.count)
	}
	if now := again.Number(1); now <= number {
		t.Errorf("number %d after %d: the clock was set back", now, number)
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	k.Drop("db", first.DUID)
	stop() // writes what is left
	if now := newAcceptKeeper(dir, log); now.count != 1 {
		t.Errorf("%d after the end", now.count)
	}
	if err := os.WriteFile(file, []byte(`{"secret":"00`), 0o600); err != nil {
		t.Fatal(err)
	}
	if now := newAcceptKeeper(dir, log); now.count != 0 || len(now.secret) != acceptSecret || reflect.DeepEqual(now.secret, k.secret) {
		t.Errorf("of half a file: %+v", now)
	}
}

// TestAcceptKeeperIsBounded: guests that make up identifiers fill no disk.
func TestAcceptKeeperIsBounded(t *testing.T) {
	k := newAcceptKeeper("", slog.New(slog.DiscardHandler))
	known := acceptorExample(1, 1)
	k.Keep("web", known)
	for i := range maxAccepted {
		k.Keep(vnet.ID(fmt.Sprint(i%10)), dhcp6.Acceptor{DUID: ipam.NewDUIDLL(vnet.MAC{4, 0, byte(i >> 24), byte(i >> 16), byte(i >> 8), byte(i)})})
	}
	known.Came = 2
	k.Keep("web", known)
	if got := k.Acceptors("web"); k.count != maxAccepted || len(got) != 1 || got[0].Came != 2 {
		t.Errorf("%d clients; %+v", k.count, got)
	}
}

func FuzzReadAcceptors(f *testing.F) {
	secret := strings.Repeat("5a", acceptSecret)
	f.Add([]byte(`{"secret":"` + secret + `","reserved":9,"networks":{"web":[{"duid":"00030001020000000001","peer":"fe80::1","info":true,"came":3}]}}`))
	f.Add([]byte(`{"secret":"` + secret + `","reserved":18446744073709551615}`))
	f.Add([]byte(`{"secret":"` + secret + `","networks":{"web":[{"duid":"00","peer":"fe80::1%eth0"},{"duid":"00030001020000000001","peer":"10.0.0.1"}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		k := newAcceptKeeper("", slog.New(slog.DiscardHandler))
		if err := k.read(data); err != nil && k.count > 0 {
			t.Fatalf("%v, and %d clients", err, k.count)
		}
		n := 0
		for network, of := range k.clients {
			for duid, a := range of {
				n++
				if _, err := ipam.DUIDFromBytes(duid.Bytes()); err != nil || a.DUID != duid || network == "" || !a.Peer.IsLinkLocalUnicast() || a.Peer.Zone() != "" {
					t.Fatalf("%q %+v %v", network, a, err)
				}
			}
		}
		if n != k.count || len(k.secret) != acceptSecret || k.Number(1) == 0 {
			t.Fatalf("%d of %d", n, k.count)
		}
	})
}
