package ipam

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sextant-net/sextant/internal/vnet"
)

var mac = vnet.MAC{0x52, 0x54, 0, 0xaa, 0, 1}

func TestDUIDBuild(t *testing.T) {
	en, err := NewDUIDEN(43793, []byte{1, 2, 3, 4})
	if err != nil {
		t.Fatal(err)
	}
	made := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tc := range []struct {
		d    DUID
		kind DUIDType
		text string
		mac  bool
	}{
		{NewDUIDLL(mac), DUIDLL, "00:03:00:01:52:54:00:aa:00:01", true},
		{NewDUIDLLT(mac, made), DUIDLLT, "00:01:00:01:30:e9:f2:25:52:54:00:aa:00:01", true},
		{en, DUIDEN, "00:02:00:00:ab:11:01:02:03:04", false},
		{NewDUIDUUID([16]byte{15: 7}), DUIDUUID, "00:04:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:07", false},
	} {
		m, ok := tc.d.MAC()
		if tc.d.String() != tc.text || tc.d.Type() != tc.kind || ok != tc.mac || ok && m != mac {
			t.Errorf("%s: %s, MAC %v %v, want %s", tc.d.Type(), tc.d, m, ok, tc.text)
		}
	}
	if at, ok := NewDUIDLLT(mac, made).Time(); !ok || !at.Equal(made) {
		t.Errorf("made at %v, %v", at, ok)
	}
	if n, ok := en.Enterprise(); !ok || n != 43793 {
		t.Errorf("enterprise %d, %v", n, ok)
	}
	if u, ok := NewDUIDUUID([16]byte{15: 7}).UUID(); !ok || u[15] != 7 {
		t.Errorf("UUID %v, %v", u, ok)
	}
	if _, err := NewDUIDEN(1, make([]byte, 125)); err == nil {
		t.Error("131 bytes are a DUID")
	}
	if _, err := NewDUIDEN(1, nil); err == nil {
		t.Error("an empty identifier is a DUID")
	}
}

func TestParseDUID(t *testing.T) {
	ll := "00:03:00:01:52:54:00:aa:00:01"
	for _, tc := range []struct{ in, want string }{
		{ll, ll},
		{strings.ToUpper(ll), ll},
		{"0:3:0:1:52:54:0:aa:0:1", ll},
		{"00-03-00-01-52-54-00-AA-00-01", ll},
		{"00030001525400aa0001", ll},
		{" " + ll + " ", ll},
		{"", ""},
		{"00:03", ""},
		{"00:03:", ""},
		{":00:03:00", ""},
		{"00::03:00", ""},
		{"00:03-00", ""},
		{"000:3:00", ""},
		{"00:03:0g", ""},
		{"00030", ""},
		{strings.Repeat("00:", 129) + "00", strings.Repeat("00:", 129) + "00"},
		{strings.Repeat("00:", 130) + "00", ""},
		{strings.Repeat("0", 1<<20), ""},
	} {
		d, err := ParseDUID(tc.in)
		if d.String() != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%.80q: %s, %v", tc.in, d, err)
		}
	}
}

func FuzzDUID(f *testing.F) {
	for _, s := range []string{"00:03:00:01:52:54:00:aa:00:01", "0:1:0:1:1:2:3:4:5:6:7:8:9:a", "0004", "00:02:00:00:ab:11:01", "--", ":"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := DUIDFromBytes([]byte(s)); err == nil {
			check(t, d)
		}
		if d, err := ParseDUID(s); err == nil {
			check(t, d)
		}
	})
}

// check asks d for all it knows and reads it back.
func check(t *testing.T, d DUID) {
	t.Helper()
	if e, err := ParseDUID(d.String()); err != nil || e != d {
		t.Errorf("%s parses as %s, %v", d, e, err)
	}
	if e, err := DUIDFromBytes(d.Bytes()); err != nil || e != d {
		t.Errorf("%s from bytes is %s, %v", d, e, err)
	}
	if m, ok := d.MAC(); ok && d.Type() == DUIDLL && NewDUIDLL(m) != d {
		t.Errorf("%s is not made of %s", d, m)
	}
	if at, ok := d.Time(); ok {
		if m, ok := d.MAC(); ok && NewDUIDLLT(m, at) != d {
			t.Errorf("%s is not made of %s at %s", d, m, at)
		}
	}
	d.Enterprise()
	d.UUID()
}

func TestEUI64(t *testing.T) {
	// RFC 4291 appendix A: 34-56-78-9A-BC-DE.
	m := vnet.MAC{0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde}
	if got := EUI64(m); got != 0x365678fffe9abcde {
		t.Errorf("%#x", got)
	}
	if got := LinkLocal(mac); got != adr("fe80::5054:ff:feaa:1") {
		t.Error(got)
	}
	if got, ok := SLAAC(pfx("2001:db8:5::/64"), mac); !ok || got != adr("2001:db8:5::5054:ff:feaa:1") || !IsEUI64(got, mac) || IsEUI64(got, m) {
		t.Error(got, ok)
	}
	if _, ok := SLAAC(pfx("2001:db8:5::/80"), mac); ok {
		t.Error("SLAAC in a /80")
	}
	if _, ok := MACOf(0x0123456789abcdef); ok {
		t.Error("a MAC without ff:fe")
	}
	if _, ok := MACOf(EUI64(vnet.MAC{1})); ok {
		t.Error("a multicast MAC")
	}
	rapid.Check(t, func(t *rapid.T) {
		var m vnet.MAC
		copy(m[:], rapid.SliceOfN(rapid.Byte(), 6, 6).Draw(t, "mac"))
		m[0] &^= 1
		if back, ok := MACOf(EUI64(m)); back != m || ok == m.IsZero() {
			t.Fatalf("%s comes back as %s, %v", m, back, ok)
		}
	})
}

func TestNewULA(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 500_000_000, time.UTC)
	if got := ntpTime(at); got != 0xed01b42580000000 {
		t.Errorf("NTP time %#x", got)
	}
	p := NewULA(at, EUI64(mac))
	if p.Bits() != 48 || p != p.Masked() || p.Addr().As16()[0] != 0xfd || !vnet.ULARange.Overlaps(p) {
		t.Errorf("%s is no ULA /48", p)
	}
	if p != NewULA(at, EUI64(mac)) || p == NewULA(at.Add(time.Nanosecond), EUI64(mac)) || p == NewULA(at, 7) {
		t.Error("not a function of time and identifier")
	}
}
