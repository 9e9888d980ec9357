package vnet

import (
	"encoding/hex"
	"testing"
)

func TestServiceParameters(t *testing.T) {
	for text, want := range map[string]string{
		"1 dns.example":          "",
		"1 dns.example alpn=dot": "0001000403646f74",
		"1 dns.example 192.0.2.53 alpn=h2+h3 port=8443 dohpath=/q{?dns}": "0001000602683202683300030002" + "20fb" + "000700082f717b3f646e737d",
		"1 dns.example 2001:db8::53 dohpath=/dns-query{?dns}":            "00010003026832" + "00070010" + hex.EncodeToString([]byte("/dns-query{?dns}")),
	} {
		var e EncryptedDNS
		if err := e.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(e.Params()); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
