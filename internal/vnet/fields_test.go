package vnet_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/vnet"
)

func TestDecodeJSONNamesTheField(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{``, "the body is empty; send one JSON object"},
		{`{"name":`, "the body is no JSON: unexpected end of JSON input at byte 8"},
		{`[]`, "the body is no JSON object"},
		{`{"ipv4":{"mod":"nat"}}`, "ipv4.mod: unknown key; did you mean ipv4.mode?"},
		{`{"brigde":"x"}`, "brigde: unknown key; did you mean bridge?"},
		{`{"zzzzzzzz":1}`, "zzzzzzzz: unknown key; it is one of admit, advertise, autostart, boot, bridge, captivePortal, created, deleting, dhcp, dns, domain, finalizers, generation, id, ipv4, ipv6, leaseTime, link, mac, mldSnoop, mtu, name, nat64, ntp, number, project, ra, retired, revision, router, routes, started, tags, updated"},
		{`{"ipv6":{"address":"2001:db8::/129"}}`, `ipv6.address: "2001:db8::/129": /129 is no prefix length of ipv6; write /0 to /128`},
		{`{"mtu":1400,"name":"x","mtu":1500}`, "mtu: the key is there twice; leave one of them out"},
		{`{"ipv6":{"mode":"nat66","mode":"ula"}}`, "ipv6.mode: the key is there twice; leave one of them out"},
		{`{"ipv6":"nat"}`, `ipv6: "nat" is no JSON object`},
		{`{"mac":"5x"}`, `mac: "5x" is no MAC address; write it as 52:54:00:aa:00:01`},
		{`{"mtu":"big"}`, `mtu: "big" is no number, or out of range`},
		{`{"started":"yes"}`, `started: "yes" is neither true nor false`},
		{`{"dns":{"servers":["x"]}}`, `dns.servers: "x" is no IPv4 or IPv6 address; write it as 192.0.2.1 or 2001:db8::1`},
		{`{"dns":{"servers":"x"}}`, `dns.servers: "x" is no list`},
		{`{"leaseTime":"soon"}`, `leaseTime: "soon" is no length of time; write it as 90s, 12h or 2h30m`},
	} {
		err := vnet.DecodeJSON([]byte(c.body), new(vnet.Network))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s\n got %v\nwant %s", c.body, err, c.want)
		}
		if !vnet.Is(err, vnet.ErrInvalid) {
			t.Errorf("%s: kind is %s", c.body, vnet.KindOf(err))
		}
	}
}

func TestFields(t *testing.T) {
	var paths []string
	for _, f := range vnet.Fields(reflect.TypeFor[*vnet.Port]()) {
		p := f.Path
		if f.ReadOnly {
			p += "!"
		}
		paths = append(paths, p)
	}
	got := strings.Join(paths, " ")
	want := "id! name project! generation! created! updated! tags deleting! finalizers! revision! " +
		"network mac addresses fixed! allowed defaultRoute relay hostname binding.host binding.plug binding.device binding.netns binding.owner"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// FuzzDecodeJSON: whatever is taken can be written and taken again.
func FuzzDecodeJSON(f *testing.F) {
	for _, s := range []string{`{}`, `{"name":"a","ipv4":{"mode":"nat","ranges":[{"first":"192.0.2.1","last":"192.0.2.9"}]},"started":null}`, `{"tags":{"a":"b"}}`, `{"mac":""}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var n vnet.Network
		if vnet.DecodeJSON(data, &n) != nil {
			return
		}
		out, err := json.Marshal(&n)
		if err != nil {
			return // a time beyond the year 9999, for example
		}
		if err := vnet.DecodeJSON(out, new(vnet.Network)); err != nil {
			t.Errorf("%s: %v", out, err)
		}
	})
}
