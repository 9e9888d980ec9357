package main

import (
	"net/netip"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

func TestAdvertises(t *testing.T) {
	prefix := netip.MustParsePrefix("fd5e:be:c:1::/64")
	option := func(p netip.Prefix) []byte {
		o := make([]byte, 32)
		o[0], o[1], o[2], o[3] = 3, 4, byte(p.Bits()), 0xc0
		a := p.Addr().As16()
		copy(o[16:], a[:])
		return o
	}
	header := append([]byte{134}, make([]byte, 15)...)
	mtu := []byte{5, 1, 0, 0, 0, 0, 5, 220}
	for name, tt := range map[string]struct {
		ra   []byte
		want bool
	}{
		"the prefix":         {append(append(append([]byte{}, header...), mtu...), option(prefix)...), true},
		"another prefix":     {append(append([]byte{}, header...), option(netip.MustParsePrefix("fd5e:be:c:2::/64"))...), false},
		"another length":     {append(append([]byte{}, header...), option(netip.MustParsePrefix("fd5e:be:c:1::/80"))...), false},
		"no option":          {header, false},
		"option of length 0": {append(append([]byte{}, header...), 3, 0, 0, 0, 0, 0, 0, 0), false},
		"option cut short":   {append(append([]byte{}, header...), option(prefix)[:16]...), false},
		"a solicitation":     {append([]byte{133}, append(make([]byte, 15), option(prefix)...)...), false},
		"nothing":            {nil, false},
	} {
		if got := advertises(tt.ra, prefix); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func FuzzAdvertises(f *testing.F) {
	f.Add([]byte{134, 15: 0, 16: 3, 17: 4})
	f.Fuzz(func(_ *testing.T, b []byte) { advertises(b, netip.MustParsePrefix("fd00::/64")) })
}

func TestAnswers(t *testing.T) {
	tg := &target{network: networks(3)[2]}
	pack := func(change func(*dnsmessage.Header)) []byte {
		h := dnsmessage.Header{ID: tg.id(), Response: true, RCode: dnsmessage.RCodeNameError}
		change(&h)
		b, err := (&dnsmessage.Message{Header: h}).Pack()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, tt := range map[string]struct {
		change func(*dnsmessage.Header)
		want   bool
	}{
		"no such name": {func(*dnsmessage.Header) {}, true},
		"found":        {func(h *dnsmessage.Header) { h.RCode = dnsmessage.RCodeSuccess }, true},
		"refused":      {func(h *dnsmessage.Header) { h.RCode = dnsmessage.RCodeRefused }, false},
		"failed":       {func(h *dnsmessage.Header) { h.RCode = dnsmessage.RCodeServerFailure }, false},
		"a query":      {func(h *dnsmessage.Header) { h.Response = false }, false},
		"another's":    {func(h *dnsmessage.Header) { h.ID++ }, false},
	} {
		if got := tg.answers(pack(tt.change)); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestNetworksDiffer(t *testing.T) {
	seen := map[string]bool{}
	for _, n := range networks(maxNetworks) {
		for _, s := range []string{n.v4.Masked().String(), n.v6.Masked().String(), n.macText(0x52), n.bridge} {
			if seen[s] {
				t.Fatalf("%s twice", s)
			}
			seen[s] = true
		}
		if len(n.bridge) > 15 || !n.v4.Addr().IsPrivate() {
			t.Fatal(n)
		}
	}
}
