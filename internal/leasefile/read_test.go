package leasefile

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sextant-net/sextant/internal/vnet"
)

// line prints a record in one line: what it is about, whose, until when.
func (r Record) line() string {
	s := r.Address.String()
	if r.Length != 0 {
		s = r.Prefix().String()
	}
	for _, f := range []struct{ name, value string }{
		{"mac", r.MAC.String()}, {"duid", r.DUID}, {"iaid", fmt.Sprint(r.IAID)}, {"id", r.ClientID}, {"name", r.Hostname},
	} {
		if f.value != "" && f.value != "0" && f.value != "00:00:00:00:00:00" {
			s += " " + f.name + "=" + f.value
		}
	}
	if r.Declined {
		s += " declined"
	}
	if r.Expires.IsZero() {
		return s + " never"
	}
	return s + " " + r.Expires.Format(time.RFC3339)
}

func (f *File) lines() []string {
	var out []string
	for _, r := range f.Records {
		out = append(out, r.line())
	}
	return out
}

// TestReal reads what the real servers wrote for the same few guests: dnsmasq
// 2.90, ISC dhcpd 4.4.3 and Kea 2.2, asked by dhclient and udhcpc.
func TestReal(t *testing.T) {
	const (
		vm1, vm2 = "mac=52:54:00:aa:00:01", "mac=52:54:00:aa:00:02"
		id1, id2 = " id=01525400aa0001", " id=01525400aa0002"
		ll, llt  = "duid=00:03:00:01:52:54:00:aa:00:01 iaid=11141121", "duid=00:01:00:01:32:92:e8:"
	)
	for file, want := range map[string]struct {
		format Format
		lines  []string
	}{
		"dnsmasq.leases": {Dnsmasq, []string{
			"192.0.2.109 " + vm1 + id1 + " name=vm1 2026-11-20T23:14:10Z",
			"192.0.2.110 " + vm2 + id2 + " name=vm2 2026-11-20T23:14:10Z",
			"192.0.2.111 mac=52:54:00:aa:00:03 2026-11-20T23:14:13Z",
			"2001:db8:7::12f " + llt + "05:52:54:00:aa:00:02 iaid=11141122 2026-11-20T13:19:14Z",
			"2001:db8:7::132 " + ll + " name=vm1 2026-11-20T13:19:14Z",
		}},
		"dhcpd.leases": {ISC, []string{
			"192.0.2.100 " + vm2 + id2 + " name=vm2 2026-11-20T23:14:29Z",
			"192.0.2.101 " + vm1 + id1 + " name=vm1 2026-11-20T23:14:29Z",
			"192.0.2.102 mac=52:54:00:aa:00:03 2026-11-20T23:14:29Z",
		}},
		"dhcpd6.leases": {ISC, []string{
			"2001:db8:7::185 " + llt + "15:52:54:00:aa:00:02 iaid=11141122 2026-11-20T23:14:31Z",
			"2001:db8:7::18c " + ll + " 2026-11-20T23:14:31Z",
			"2001:db8:100:ff00::/56 " + ll + " 2026-11-20T23:14:31Z",
		}},
		// The same with lease-id-format hex and db-time-format local, leases
		// that never end, and one that was given back.
		"dhcpd-hex.leases": {ISC, []string{
			"192.0.2.100 " + vm1 + id1 + " never",
			"192.0.2.101 " + vm1 + " id=ff00aa000100030001525400aa0001 never",
		}},
		"dhcpd6-hex.leases": {ISC, []string{
			"2001:db8:7::18c " + ll + " 2026-11-20T23:45:51Z",
			"2001:db8:100:ff00::/56 " + ll + " 2026-11-20T23:45:51Z",
		}},
		"kea-leases4.csv": {Kea, []string{
			"192.0.2.100 " + vm1 + id1 + " name=vm1 2026-11-20T23:14:46Z",
			"192.0.2.101 " + vm2 + id2 + " name=vm2 2026-11-20T23:14:46Z",
			"192.0.2.102 mac=52:54:00:aa:00:03 2026-11-20T23:14:46Z",
		}},
		"kea-leases6.csv": {Kea, []string{
			"2001:db8:7::100 " + vm2 + " " + llt + "26:52:54:00:aa:00:02 iaid=11141122 name=vm1 2026-11-20T23:14:47Z",
			"2001:db8:7::101 " + vm1 + " " + ll + " name=vm1 2026-11-20T23:14:48Z",
			"2001:db8:100::/56 " + vm1 + " " + ll + " name=vm1 2026-11-20T23:14:48Z",
		}},
	} {
		in, err := os.Open(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		f, err := Read(in, "")
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if f.Format != want.format || len(f.Skipped) > 0 {
			t.Errorf("%s: format %q, skipped %v", file, f.Format, f.Skipped)
		}
		if d := cmp.Diff(want.lines, f.lines()); d != "" {
			t.Errorf("%s (- want + got):\n%s", file, d)
		}
	}
}

const keaHead4 = "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev,hostname,state,user_context\n"
const keaHead6 = "address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,fqdn_fwd,fqdn_rev,hostname,hwaddr,state\n"

func iscLease(address, body string) string {
	return "lease " + address + " {\n hardware ethernet 52:54:0:aa:0:1;\n " + body + "\n}\n"
}

const iscIA = `ia-na 1:0:0:0:0:3:0:1:52:54:0:aa:0:1 `

func TestRead(t *testing.T) {
	const (
		m1  = " mac=52:54:00:aa:00:01"
		du  = " duid=00:03:00:01:52:54:00:aa:00:01 iaid=1"
		duL = "00:03:00:01:52:54:00:aa:00:01"
	)
	for _, tc := range []struct {
		name, in, want, skipped string
	}{
		{"dnsmasq: never, and no name", "0 52:54:00:aa:00:01 192.0.2.9 * *\n", "192.0.2.9" + m1 + " never", ""},
		{"dnsmasq: a name with a domain", "0 52:54:00:aa:00:01 192.0.2.9 VM-1.Lab *", "192.0.2.9" + m1 + " name=vm-1 never", ""},
		{"dnsmasq: a name that is none", "0 52:54:00:aa:00:01 192.0.2.9 a_b *", "192.0.2.9" + m1 + " never", ""},
		{"dnsmasq: infiniband has its identifier", "5 20-80:00:02 192.0.2.9 * ff:00:01", "192.0.2.9 id=ff0001 1970-01-01T00:00:05Z", ""},
		{"dnsmasq: infiniband without one", "5 20-80:00:02 192.0.2.9 * *", "", "1: "},
		{"dnsmasq: temporary address", "duid 00:01:00:01\n5 T77 2001:db8::1 * 00:03:00:01:52\n", "", "2: "},
		{"dnsmasq: last line counts", "1 52:54:00:aa:00:01 192.0.2.9 a *\n2 52:54:00:aa:00:01 192.0.2.9 b *\n",
			"192.0.2.9" + m1 + " name=b 1970-01-01T00:00:02Z", ""},
		{"dnsmasq: broken lines", "1 52:54:00:aa:00:01 192.0.2.9 a *\nx\n1 52:54:00:aa:00:01 ff02::1 * *\n-1 52:54:00:aa:00:01 192.0.2.7 * *\n1 4294967296 2001:db8::1 * 00:03:00\n1 1 2001:db8::1 * zz:03:00\n",
			"192.0.2.9" + m1 + " name=a 1970-01-01T00:00:01Z", "2: 3: 4: 5: 6: "},
		{"dnsmasq: a line without end", "1 52:54:00:aa:00:01 192.0.2.9 a *\n1 " + strings.Repeat("0", 2*MaxLine) + "\n1 52:54:00:aa:00:01 192.0.2.10 b *",
			"192.0.2.9" + m1 + " name=a 1970-01-01T00:00:01Z|192.0.2.10" + m1 + " name=b 1970-01-01T00:00:01Z", "2: "},

		{"isc: never", iscLease("192.0.2.9", "binding state active; ends never;"), "192.0.2.9" + m1 + " never", ""},
		{"isc: epoch", iscLease("192.0.2.9", "ends epoch 5; # Thu Jan 1 00:00:05 1970 }"), "192.0.2.9" + m1 + " 1970-01-01T00:00:05Z", ""},
		{"isc: next state is not the state", iscLease("192.0.2.9", "ends never; next binding state free; rewind binding state free;"), "192.0.2.9" + m1 + " never", ""},
		{"isc: free", iscLease("192.0.2.9", "binding state free;"), "", ""},
		{"isc: given back later", iscLease("192.0.2.9", "binding state active;") + iscLease("192.0.2.9", "binding state free;"), "", ""},
		{"isc: given again", iscLease("192.0.2.9", "binding state free;") + iscLease("192.0.2.9", "binding state active; ends never;"), "192.0.2.9" + m1 + " never", ""},
		{"isc: expired", iscLease("192.0.2.9", "binding state active;") + iscLease("192.0.2.9", "binding state expired;"), "", ""},
		{"isc: backup", iscLease("192.0.2.9", "binding state backup;"), "", ""},
		{"isc: abandoned", iscLease("192.0.2.9", "binding state abandoned; client-hostname \"x\"; ends epoch 9;"), "192.0.2.9 declined 1970-01-01T00:00:09Z", ""},
		{"isc: abandoned, old", "lease 192.0.2.9 { ends never; abandoned; }", "192.0.2.9 declined never", ""},
		{"isc: a block within", iscLease("192.0.2.9", `ends never; on expiry or release { binding state free; if x { ends epoch 1; } } set a = "}";`), "192.0.2.9" + m1 + " never", ""},
		{"isc: identifier in hex", iscLease("192.0.2.9", `ends never; uid ff:0:1;`), "192.0.2.9" + m1 + " id=ff0001 never", ""},
		{"isc: escapes", iscLease("192.0.2.9", `ends never; uid "\"\\\0011\t\x1f";`), "192.0.2.9" + m1 + " id=225c0131091f never", ""},
		{"isc: failover and hosts are not leases", "failover peer \"a\" state {\n my state normal at 1 2026/1/1 00:00:00;\n}\nhost x { dynamic; fixed-address 192.0.2.3; }\n" +
			iscLease("192.0.2.9", "ends never;"), "192.0.2.9" + m1 + " never", ""},
		{"isc: all in one line", "lease 192.0.2.9{hardware ethernet 52:54:00:aa:00:01;ends never;}lease 192.0.2.8{}", "192.0.2.9" + m1 + " never", "1: "},
		{"isc: bad time", iscLease("192.0.2.9", "ends 4 2026/13/19 08:17:20;") + iscLease("192.0.2.8", "ends never;"), "192.0.2.8" + m1 + " never", "1: "},
		{"isc: bad address", "\n\nlease 192.0.2.900 { ends never; }\nlease 2001:db8::1 { ends never; }", "", "3: 4: "},
		{"isc: the end is missing", iscLease("192.0.2.9", "ends never;") + "lease 192.0.2.8 {\n hardware ethernet 52:54:00:aa:00:01;\n", "192.0.2.9" + m1 + " never", "5: "},
		{"isc: a dhclient's file", "lease {\n interface \"eth0\";\n fixed-address 192.0.2.3;\n}\n", "", "1: "},
		{"isc: a string without end", iscLease("192.0.2.9", "ends never;\n client-hostname \"x;\n uid ff:00:01;"), "192.0.2.9" + m1 + " never", "4: "},

		{"isc: IAID in the server's order", "authoring-byte-order big-endian;\nia-na 0:0:0:1:0:3:0:1:52:54:0:aa:0:1 { iaaddr 2001:db8::1 { ends never; } }", "2001:db8::1" + du + " never", ""},
		{"isc: several addresses", iscIA + `{ cltt never; iaaddr 2001:db8::1 { ends never; max-life 1; } iaaddr 2001:db8::2 { ends never; } }`, "2001:db8::1" + du + " never|2001:db8::2" + du + " never", ""},
		{"isc: an IA is written anew as a whole", iscIA + `{ iaaddr 2001:db8::1 { ends never; } }` + iscIA + `{ iaaddr 2001:db8::2 { ends never; } }`, "2001:db8::2" + du + " never", ""},
		{"isc: an IA that is gone", iscIA + `{ iaaddr 2001:db8::1 { ends never; } }` + iscIA + `{ }`, "", ""},
		{"isc: an address that another one has now", iscIA + `{ iaaddr 2001:db8::1 { ends never; } } ia-na 2:0:0:0:0:3:0:1:52:54:0:aa:0:1 { iaaddr 2001:db8::1 { ends never; } }` + iscIA + `{ }`,
			"2001:db8::1 duid=" + duL + " iaid=2 never", ""},
		{"isc: released", iscIA + `{ iaaddr 2001:db8::1 { binding state released; ends never; } }`, "", ""},
		{"isc: abandoned v6", iscIA + `{ iaaddr 2001:db8::1 { binding state abandoned; ends never; } }`, "2001:db8::1 declined never", ""},
		{"isc: prefix", `ia-pd 1:0:0:0:0:3:0:1:52:54:0:aa:0:1 { iaprefix 2001:db8::/56 { ends never; } iaprefix 2001:db8::1/56 { } iaprefix 2001:db8::/129 { } iaaddr 2001:db8::/56 { } }`,
			"2001:db8::/56" + du + " never", "1: 1: 1: "},
		{"isc: temporary", "ia-ta 1:0:0:0:0:3:0:1:52:54:0:aa:0:1 { iaaddr 2001:db8::1 { ends never; } }", "", "1: "},
		{"isc: no DUID", "ia-na 1:0:0:0:0 { iaaddr 2001:db8::1 { ends never; } }\n" + iscIA + "{ iaaddr 2001:db8::2 { ends never; } }", "2001:db8::2" + du + " never", "1: "},

		{"kea: never", keaHead4 + "192.0.2.9,52:54:00:aa:00:01,,4294967295,77,1,0,0,vm1.lab.,0,\n", "192.0.2.9" + m1 + " name=vm1 never", ""},
		{"kea: last line counts", keaHead4 + "192.0.2.9,52:54:00:aa:00:01,,5,77,1,0,0,a,0,\n192.0.2.9,52:54:00:aa:00:01,,5,78,1,0,0,b,0,\n", "192.0.2.9" + m1 + " name=b 1970-01-01T00:01:18Z", ""},
		{"kea: lifetime 0 takes it back", keaHead4 + "192.0.2.9,52:54:00:aa:00:01,,5,77,1,0,0,a,0,\n192.0.2.9,52:54:00:aa:00:01,,0,77,1,0,0,a,0,\n", "", ""},
		{"kea: reclaimed", keaHead4 + "192.0.2.9,52:54:00:aa:00:01,,5,77,1,0,0,a,0,\n192.0.2.9,,,5,77,1,0,0,,2,\n", "", ""},
		{"kea: declined", keaHead4 + "192.0.2.9,,,5,77,1,0,0,,1,\n", "192.0.2.9 declined 1970-01-01T00:01:17Z", ""},
		{"kea: escaped", keaHead4 + "192.0.2.9,52:54:00:aa:00:01,,5,77,1,0,0,vm1,0,{ \"a\": 1&#x2c \"b\": 2 }\n", "192.0.2.9" + m1 + " name=vm1 1970-01-01T00:01:17Z", ""},
		{"kea: without states, and other columns", "address,expire,hwaddr,valid_lifetime\n192.0.2.9,77,52:54:00:aa:00:01,5\n", "192.0.2.9" + m1 + " 1970-01-01T00:01:17Z", ""},
		{"kea: nobody's", keaHead4 + "192.0.2.9,,,5,77,1,0,0,a,0,\n", "", "2: "},
		{"kea: short and broken lines", keaHead4 + "192.0.2.9\n\n# x\n192.0.2.9,52:54:00:aa:00:01,0,5,77,1,0,0,a,0,\n,,,\n", "", "2: 5: 6: "},
		{"kea: prefix", keaHead6 + "2001:db8::," + duL + ",5,77,1,3,2,1,56,0,0,,,0\n2001:db8::1," + duL + ",5,77,1,3,2,1,56,0,0,,,0\n", "2001:db8::/56" + du + " 1970-01-01T00:01:17Z", "3: "},
		{"kea: temporary, and of no type", keaHead6 + "2001:db8::1," + duL + ",5,77,1,3,1,1,128,0,0,,,0\n2001:db8::1," + duL + ",5,77,1,3,9,1,128,0,0,,,0\n", "", "2: 3: "},
		{"kea: declined v6", keaHead6 + "2001:db8::1,00:00:00,5,77,1,3,0,0,128,0,0,,,1\n2001:db8::2,00,5,77,1,3,0,0,128,0,0,,,1\n", "2001:db8::1 declined 1970-01-01T00:01:17Z|2001:db8::2 declined 1970-01-01T00:01:17Z", ""},
		{"kea: registered only", keaHead6 + "2001:db8::1," + duL + ",5,77,1,3,0,0,128,0,0,,,4\n", "", ""},
		{"kea: DOS line ends", strings.ReplaceAll(keaHead4+"192.0.2.9,52:54:00:aa:00:01,,5,77,1,0,0,a,0,\n", "\n", "\r\n"), "192.0.2.9" + m1 + " name=a 1970-01-01T00:01:17Z", ""},
	} {
		f, err := Read(strings.NewReader(tc.in), "")
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if got := strings.Join(f.lines(), "|"); got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", tc.name, got, tc.want)
		}
		var skipped strings.Builder
		for _, e := range f.Skipped {
			fmt.Fprintf(&skipped, "%d: ", e.Line)
		}
		if skipped.String() != tc.skipped {
			t.Errorf("%s: skipped %q %v, want %q", tc.name, skipped.String(), f.Skipped, tc.skipped)
		}
	}
}

func TestDetect(t *testing.T) {
	for in, want := range map[string]Format{
		"":                                 "",
		"hello\n":                          "",
		"\n# by hand\n\nlease 192.0.2.1 {": ISC,
		"server-duid \"x\";":               ISC,
		"ia-pd \"x\" {":                    ISC,
		"address,hwaddr":                   Kea,
		"\ufeffaddress,duid":               Kea,
		"duid 00:01:00:01":                 Dnsmasq,
		"1795216453 52:54:00:aa:00:03 192.0.2.111 * *": Dnsmasq,
		"1795216453 52:54:00:aa:00:03 name * *":        "",
	} {
		if got := Detect([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestRefused(t *testing.T) {
	for _, tc := range []struct {
		name   string
		in     io.Reader
		format Format
		want   string
	}{
		{"unknown", strings.NewReader("hello\n"), "", "say whose it is"},
		{"empty", strings.NewReader(""), "", "say whose it is"},
		{"a format that is none", strings.NewReader(""), "udhcpd", "say auto, dnsmasq, isc or kea"},
		{"Kea without names of columns", strings.NewReader("192.0.2.1,1\n"), Kea, "line 1: the columns"},
		{"Kea without a column", strings.NewReader("address,hwaddr\n"), Kea, "no column valid_lifetime"},
		{"a reader that fails", iotest.ErrReader(io.ErrClosedPipe), "", "closed pipe"},
		{"a reader that fails later", io.MultiReader(strings.NewReader("lease 1 {"), iotest.ErrReader(io.ErrClosedPipe)), ISC, "closed pipe"},
	} {
		f, err := Read(tc.in, tc.format)
		if err == nil || f != nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, %v, want %q", tc.name, f, err, tc.want)
		}
	}
	for s, want := range map[string]Format{"": "", "auto": "", "isc": ISC, "kea": Kea, "dnsmasq": Dnsmasq} {
		if f, err := ParseFormat(s); f != want || err != nil {
			t.Errorf("%q: %q, %v", s, f, err)
		}
	}
	if _, err := ParseFormat("udhcpd"); err == nil {
		t.Error("udhcpd is a format")
	}
}

// TestBounds: a file of faults is told of in a few lines.
func TestBounds(t *testing.T) {
	f, err := Read(strings.NewReader(strings.Repeat("x\n", 1000)), Dnsmasq)
	if err != nil || len(f.Skipped) != MaxSkipped || f.SkippedMore != 1000-MaxSkipped {
		t.Errorf("%v: %d told, %d more", err, len(f.Skipped), f.SkippedMore)
	}
	if got := f.Skipped[1].Error(); !strings.HasPrefix(got, "line 2: ") {
		t.Errorf("%s", got)
	}
	f, err = Read(strings.NewReader(strings.Repeat("lease 192.0.2.1 {", 100_000)), ISC)
	if err != nil || len(f.Records) != 0 || len(f.Skipped) != 1 {
		t.Errorf("nested blocks: %v, %v", f, err)
	}
}

func FuzzRead(f *testing.F) {
	files, err := filepath.Glob("testdata/*leases*")
	if err != nil || len(files) != 7 {
		f.Fatalf("%v, %v", files, err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b), "")
	}
	f.Add(iscIA+`{ iaaddr 2001:db8::1 { binding state abandoned; ends never; } }`, "isc")
	f.Add(keaHead6+"2001:db8::1,00:00:00,5,77,1,3,0,0,128,0,0,&#x2c,,1\n", "kea")
	f.Fuzz(func(t *testing.T, in, format string) {
		file, err := Read(strings.NewReader(in), Format(format))
		if err != nil {
			return
		}
		seen := map[key]bool{}
		for _, r := range file.Records {
			k := key{r.Address, r.Length}
			switch {
			case seen[k]:
				t.Errorf("%v twice", k)
			case !r.Address.IsValid() || r.Address.Zone() != "" || r.Length < 0 || r.Length > 128:
				t.Errorf("%+v", r)
			case r.Declined && (r.DUID != "" || r.ClientID != "" || !r.MAC.IsZero()):
				t.Errorf("declined and somebody's: %+v", r)
			case !r.Declined && r.DUID == "" && r.ClientID == "" && r.MAC.IsZero():
				t.Errorf("nobody's: %+v", r)
			case r.Hostname != vnet.HostLabel(r.Hostname):
				t.Errorf("no name: %q", r.Hostname)
			case r.Line < 1:
				t.Errorf("line %d", r.Line)
			}
			seen[k] = true
		}
		if len(file.Skipped) > MaxSkipped {
			t.Errorf("%d faults", len(file.Skipped))
		}
	})
}
