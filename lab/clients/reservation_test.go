package clients

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// TestReservations: an address that is kept for a MAC, a DUID, a DUID with one
// IAID, or a name is given to the guest that has it, in both families, and to
// nobody else.
func TestReservations(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dhclient")
	n := newNetwork(t, "")
	const duid = "00:02:00:00:ab:11:00:00:00:00:00:00:0a:"
	// RFC 4361: 255, IAID, DUID.
	id4 := func(iaid, last string) string {
		return "send dhcp-client-identifier ff:" + iaid + ":" + duid + last + ";"
	}
	id6 := func(last string) string { return "send dhcp6.client-id " + duid + last + ";" }
	for i, tc := range []struct {
		name     string
		key      func(g *guest) string
		conf4    string
		args6    string
		conf6    string
		another4 string // of somebody who must not have the address
		another6 string
	}{
		{"mac", func(g *guest) string { return "mac=" + g.mac }, "", "-D LL", "", "", ""},
		{"duid", func(*guest) string { return "duid=" + duid + "01" }, id4("00:00:00:07", "01"), "", id6("01"), id4("00:00:00:07", "02"), id6("02")},
		{"duidiaid", func(g *guest) string { return "duid=" + duid + "03 iaid=" + g.iaid() }, "", "", id6("03"), "", id6("04")},
		{"name", func(*guest) string { return "client=printer" }, `send host-name "printer";`, "-D LL", `send fqdn.fqdn "printer."; send fqdn.server-update on;`,
			`send host-name "scanner";`, `send fqdn.fqdn "scanner."; send fqdn.server-update on;`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			n := n.of(t)
			kept4 := netip.AddrFrom4([4]byte{10, 77, n.prefix4.Addr().As4()[2], byte(200 + i)})
			kept6 := netip.MustParseAddr(fmt.Sprintf("%sbeef:%d", n.prefix6.Addr(), i))
			g := n.stranger("r" + tc.name)
			g.up()
			if tc.another6 != "" {
				another := n.stranger("a" + tc.name)
				another.up()
				if a := another.fresh6(tc.args6, tc.another6); a == kept6 || !n.prefix6.Contains(a) {
					t.Errorf("somebody else got %v", a)
				}
				if tc.another4 != "" {
					if a := another.fresh4(tc.another4); a == kept4 || !n.prefix4.Contains(a) {
						t.Errorf("somebody else got %v", a)
					}
				}
			}
			for family, a := range map[string]netip.Addr{"4": kept4, "6": kept6} {
				n.sh(t, fmt.Sprintf("sextant reservation create %s%s network=%s %s address=%v", tc.name, family, n.name, tc.key(g), a))
			}
			if a := g.fresh6(tc.args6, tc.conf6); a != kept6 {
				t.Errorf("got %v, %v is kept for it", a, kept6)
			}
			conf4 := tc.conf4
			if conf4 == "" && tc.name == "duidiaid" {
				conf4 = id4(g.iaidHex(), "03")
			}
			if a := g.fresh4(conf4); a != kept4 {
				t.Errorf("got %v, %v is kept for it", a, kept4)
			}
		})
	}
}
