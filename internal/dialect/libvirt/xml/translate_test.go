package xml

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sextant-net/sextant/internal/vnet"
)

var golden = flag.Bool("golden", false, "write down what definitions are in our nouns")

// TestObjects shows what definitions are in our nouns: beside each file is what
// comes out, which a reader of both can judge.
func TestObjects(t *testing.T) {
	files, err := filepath.Glob("testdata/translate/*.xml")
	if err != nil || len(files) < 8 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			text := readFile(t, f)
			n, err := define(text)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(text, "<uuid>") {
				n.UUID = "5d744f21-ba4a-4d6e-bdb2-30a35ff3207d"
			}
			if n.MAC != "" && !saysMAC.MatchString(text) {
				n.MAC = "52:54:00:00:00:07"
			}
			o, err := n.Objects()
			got := ""
			if err != nil {
				got = answer(t, "", err)
			} else {
				got = show(t, o)
				back(t, n, o)
			}
			file := strings.TrimSuffix(f, ".xml") + ".golden"
			if *golden {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if want := readFile(t, file); got != want {
				t.Errorf("%s", cmp.Diff(want, got))
			}
		})
	}
}

// show writes the objects, and what vnet has against them.
func show(t *testing.T, o *Objects) string {
	t.Helper()
	c := *o.Network
	c.SetDefaults()
	verdict := "valid\n"
	if err := c.Validate(); err != nil {
		verdict = fmt.Sprintf("network: %v\n", err)
	}
	for _, s := range o.Subnets {
		if err := s.Validate(); err != nil {
			verdict += fmt.Sprintf("subnet %s: %v\n", s.Prefix, err)
		}
	}
	for _, r := range o.Reservations {
		if err := r.Validate(); err != nil {
			verdict += fmt.Sprintf("reservation %s: %v\n", r.Address, err)
		}
	}
	b, err := json.MarshalIndent(o, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return verdict + string(b) + "\n"
}

// back translates back: unchanged objects give the definition as it was, and
// without it a definition that means the same modes, addresses and guests.
func back(t *testing.T, n *Network, o *Objects) {
	t.Helper()
	same, err := Definition(o, n)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(n.Print(true), same.Print(true)); d != "" {
		t.Errorf("unchanged, and not as it was:\n%s", d)
	}
	if o.HandedOut {
		return
	}
	anew, err := Definition(o, nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := define(anew.Print(true))
	if err != nil {
		t.Fatalf("%v\n%s", err, anew.Print(true))
	}
	a, err := again.Objects()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range vnet.Families {
		p, q := o.Network.Policy(f), a.Network.Policy(f)
		if p.Mode != q.Mode || p.Address != q.Address {
			t.Errorf("%s was %v, and is %v:\n%s", f, p, q, anew.Print(true))
		}
	}
	if len(a.Subnets) != len(o.Subnets) || len(a.Reservations) != len(o.Reservations) {
		t.Errorf("%d subnets and %d reservations are %d and %d", len(o.Subnets), len(o.Reservations), len(a.Subnets), len(a.Reservations))
	}
}

// TestNativeChange changes objects natively: the definition has what changed,
// and still what our nouns have no place for.
func TestNativeChange(t *testing.T) {
	n, err := define(readFile(t, "testdata/translate/all.xml"))
	if err != nil {
		t.Fatal(err)
	}
	o, err := n.Objects()
	if err != nil {
		t.Fatal(err)
	}
	o.Network.MTU, o.Network.Domain = 1400, "new.example"
	o.Network.IPv6.Mode = vnet.EgressNPTv6
	o.Reservations = o.Reservations[1:]
	c, err := Definition(o, n)
	if err != nil {
		t.Fatal(err)
	}
	text := c.Print(true)
	for _, want := range []string{
		"<mtu size='1400'/>", "<domain name='new.example' localOnly='yes'/>", `<sextant:ipv6 mode="nptv6"/>`,
		"<portgroup name='fast'", "<outbound average='128'", "urn:other", "<route ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
	if strings.Contains(text, "52:54:00:aa:00:01") {
		t.Errorf("the reservation is still there:\n%s", text)
	}
}

// TestUnknown refuses by name what would silently be without effect.
func TestUnknown(t *testing.T) {
	const ours = `<metadata xmlns:s='urn:sextant:network:1'>%s</metadata>`
	const options = `<d:options xmlns:d='http://libvirt.org/schemas/network/dnsmasq/1.0'><d:option value='%s'/></d:options>`
	for _, tc := range []struct{ format, value, want string }{
		{options, "log-queries", "'log-queries'"},
		{options, "dhcp-range=10.0.0.1,10.0.0.2", "'dhcp-range'"},
		{options, "conf-file=/etc/passwd", "'conf-file'"},
		{options, "server=dns.example", "'server=dns.example'"},
		{options, "dhcp-option=tag:x,3,1.2.3.4", "not understood"},
		{options, "ra-param=br0", "not understood"},
		{options, "cname=a", "not understood"},
		{ours, "<s:ipv4 mode='nat66'/>", "unknown mode 'nat66'"},
		{ours, "<s:ipv6 mode='x'/>", "unknown mode 'x'"},
		{ours, "<s:ipv6 guests='dhcp'/>", "unknown guests 'dhcp'"},
		{ours, "<s:ipv6 modes='nat66'/>", "'modes'"},
		{ours, "<s:ipv5/>", "<s:ipv5>"},
		{ours, "<s:ipv4/><s:ipv4/>", "Only one"},
		{ours, "<s:network><x/></s:network>", "<x>"},
	} {
		n, err := define("<network><name>e</name>" + fmt.Sprintf(tc.format, tc.value) + "</network>")
		if err != nil {
			t.Fatal(err)
		}
		_, err = n.Objects()
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(e.Text, tc.want) {
			t.Errorf("%s: %v, want %s", tc.value, err, tc.want)
		}
	}
}

// TestCheckStart refuses at the start what libvirt refuses there.
func TestCheckStart(t *testing.T) {
	for _, tc := range []struct{ ip, want string }{
		{"<ip address='10.0.0.1' prefix='24' localPtr='yes'/>", ""},
		{"<ip family='ipv6' address='fd00::1' prefix='64' localPtr='yes'/>", ""},
		{"<ip address='10.0.0.1' prefix='25' localPtr='yes'/>", "unsupported configuration: PTR domain for IPv4 network with prefix 25 cannot be automatically created"},
		{"<ip family='ipv6' address='fd00::1' prefix='65' localPtr='yes'/>", "unsupported configuration: PTR domain for IPv6 network with prefix 65 cannot be automatically created"},
	} {
		n, err := define("<network><name>e</name>" + tc.ip + "</network>")
		if err != nil {
			t.Fatal(err)
		}
		if err := n.CheckStart(); (err == nil) != (tc.want == "") || err != nil && err.Error() != tc.want {
			t.Errorf("%s: %v, want %q", tc.ip, err, tc.want)
		}
	}
}
