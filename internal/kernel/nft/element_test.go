package nft

import (
	"encoding/json"
	"testing"
)

func TestCanonicalKey(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`"sx-web"`, "sx-web"},
		{`"a.b"  .  2001:DB8::/64`, "a.b . 2001:db8::/64"},
		{`"x . y"`, "x . y"},
		{"10.1.2.3/8", "10.0.0.0/8"},
		{"10.1.2.3/32", "10.1.2.3"},
		{"10.0.0.0-10.255.255.255", "10.0.0.0/8"},
		{"10.0.0.1-10.0.0.3", "10.0.0.1-10.0.0.3"},
		{"fd00::1-fd00::1", "fd00::1"},
		{"::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0"},
		{"tcp . 0x35", "6 . 53"},
		{"udp . 1000-2000", "17 . 1000-2000"},
		{"ipv6-icmp", "58"}, {"icmpv6", "58"},
		{"52:54:00:AA:00:01", "52:54:00:aa:00:01"},
		{`"010"`, "010"},
	} {
		if got := canonicalKey(c.in); got != c.want {
			t.Errorf("%s: %q, want %q", c.in, got, c.want)
		}
	}
}

func TestReadListed(t *testing.T) {
	for _, c := range []struct {
		name, json string
		how        listed
		key        string
		elem       element
		bad        bool
	}{
		{"name", `"010"`, listed{types: []string{"ifname"}}, "010", element{elem: `"010"`}, false},
		{"name like a protocol", `"tcp"`, listed{types: []string{"ifname"}}, "tcp", element{elem: `"tcp"`}, false},
		{"protocol", `{"concat":["tcp",53]}`, listed{types: []string{"inet_proto", "inet_service"}}, "6 . 53", element{elem: "tcp . 53"}, false},
		{"prefix", `{"prefix":{"addr":"10.0.0.0","len":8}}`, listed{types: []string{"ipv4_addr"}}, "10.0.0.0/8", element{elem: "10.0.0.0/8"}, false},
		{"range", `{"concat":["a",{"range":["fd00::5","fd00::9"]}]}`, listed{types: []string{"ifname", "ipv6_addr"}}, "a . fd00::5-fd00::9", element{elem: `"a" . fd00::5-fd00::9`}, false},
		{"wrapped", `{"elem":{"val":"a","comment":"hi"}}`, listed{types: []string{"ifname"}}, "a", element{elem: `"a"`}, false},
		{"verdict", `["a",{"jump":{"target":"x"}}]`, listed{types: []string{"ifname"}, isMap: true}, "a", element{`"a"`, "jump x"}, false},
		{"accept", `["a",{"accept":null}]`, listed{types: []string{"ifname"}, isMap: true}, "a", element{`"a"`, "accept"}, false},
		{"mark", `["a",4096]`, listed{types: []string{"ifname"}, isMap: true}, "a", element{`"a"`, "4096"}, false},
		{"two", `["a",{"concat":["fd00::1",80]}]`, listed{isMap: true}, "a", element{"a", "fd00::1 . 80"}, false},
		{"no pair", `"a"`, listed{isMap: true}, "", element{}, true},
		{"odd", `{"something":1}`, listed{}, "", element{}, true},
	} {
		key, e, ok := c.how.read(json.RawMessage(c.json))
		if ok == c.bad {
			t.Errorf("%s: ok = %v", c.name, ok)
		}
		if !c.bad && (key != c.key || e != c.elem) {
			t.Errorf("%s: %q %+v, want %q %+v", c.name, key, e, c.key, c.elem)
		}
	}
}

// FuzzListing: nft's output never makes us panic, and a key that was read is
// its own canonical form.
func FuzzListing(f *testing.F) {
	f.Add([]byte(`{"nftables":[{"metainfo":{}},{"set":{"family":"inet","name":"s","table":"sextant","type":["ifname","ipv6_addr"],"flags":["interval"],"elem":[{"concat":["a",{"prefix":{"addr":"fd00::","len":8}}]}]}}]}`))
	f.Add([]byte(`{"nftables":[{"map":{"type":"ifname","elem":[["a",{"goto":{"target":"x"}}]]}},{"chain":{"name":"design-1"}}]}`))
	f.Add([]byte(`{"nftables":[{"set":{"type":{"typeof":1},"flags":"dynamic","elem":[1,null,{}]}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		objects, err := objectsOf(b)
		if err != nil {
			return
		}
		l := &listing{elements: map[id]element{}}
		_ = l.read(objects)
	})
}

func FuzzCanonicalKey(f *testing.F) {
	for _, s := range []string{`"sx-web" . 2001:db8::/64`, "10.0.0.1-10.0.0.3", "tcp . 0x35", `"`, " . ", "a . ", "1-2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_ = canonicalKey(s)
		_ = canonicalValue(s)
	})
}

func TestSetsOf(t *testing.T) {
	got := setsOf("table inet sextant {\n set a { type ifname; }\n set b { type mark; elements = { 1, 2 } }\n map c-1 { type ifname : verdict; }\n}\n")
	if len(got) != 3 || !got["a"] || got["b"] || !got["c-1"] {
		t.Errorf("%v", got)
	}
}

func TestParseRefusal(t *testing.T) {
	for _, c := range []struct{ said, want string }{
		{"/dev/stdin:2:1-9: Error: Could not process rule: No such file or directory\nx\n^^^", "nft: No such file or directory in line 2, `second`"},
		{"-:1:4-9: Error: syntax error, unexpected string", "nft: syntax error, unexpected string in line 1, `first`"},
		{"Error: syntax error", "nft: syntax error"},
		{"", "nft: it failed and did not say why"},
		{"/dev/stdin:99:1-9: Error: far", "nft: far"},
	} {
		if got := parseRefusal(c.said, "first\n second\n").Error(); got != c.want {
			t.Errorf("%q: %q, want %q", c.said, got, c.want)
		}
	}
}
