package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestSayRungs(t *testing.T) {
	network := func(name, mode, rung, why string, started bool) json.RawMessage {
		b, err := json.Marshal(map[string]any{"name": name, "started": started, "mode6": mode, "rung6": rung, "why6": why})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var out bytes.Buffer
	a := &app{Config: Config{Stdout: &out}}
	var many []json.RawMessage
	for i := range 20 {
		many = append(many, network(fmt.Sprintf("d%d", i), "auto", "delegated", fmt.Sprintf("delegated: 2001:db8:0:%x::/64, from DHCPv6", i), true))
	}
	for _, tc := range []struct {
		networks []json.RawMessage
		want     string
	}{
		{nil, ""},
		{[]json.RawMessage{network("web", "nat66", "nat66", "nat66: by name", true), network("off", "auto", "ula", "ula: none", false)}, ""},
		{[]json.RawMessage{network("web", "auto", "proxied", "proxied: 2001:db8::/64; no prefix is delegated", true)},
			"network web: IPv6 proxied: 2001:db8::/64; no prefix is delegated\n"},
		{[]json.RawMessage{network("a", "auto", "ula", "ula: no uplink; they prefer IPv4", true), network("b", "auto", "ula", "ula: no uplink; they prefer IPv4", true),
			network("c", "auto", "ula", "ula: no uplink", true)},
			"network a and 1 other: IPv6 ula: no uplink; they prefer IPv4\nnetwork c: IPv6 ula: no uplink\n"},
	} {
		out.Reset()
		if err := a.sayRungs(tc.networks); err != nil || out.String() != tc.want {
			t.Errorf("got %q, %v\nwant %q", out.String(), err, tc.want)
		}
	}
	out.Reset()
	if err := a.sayRungs(many); err != nil || strings.Count(out.String(), "\n") != rungsMost+1 || !strings.HasSuffix(out.String(), "and 12 other networks: see sextant status -o wide\n") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// TestShowUplink: how long a thing lasts stands behind its end, and the text is
// YAML still.
func TestShowUplink(t *testing.T) {
	var out bytes.Buffer
	c := &call{app: &app{Config: Config{Stdout: &out}}}
	later, past := time.Now().Add(90*time.Minute+30*time.Second), time.Now().Add(-time.Hour)
	raw := fmt.Sprintf(`{"name":"eth0","delegations":[{"prefix":"2001:db8::/56","preferredUntil":%q,"validUntil":%q}],"routers":[{"until":%q}],"policy":{"file":"/x"}}`,
		later.Format(time.RFC3339), later.Add(90*24*time.Hour).Format(time.RFC3339Nano), past.Format(time.RFC3339))
	if err := c.showUplink(json.RawMessage(raw)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{" # 1h30m", " # 90 days left\n", " # 1h", " ago\n", "file: /x\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lacks %q:\n%s", want, out.String())
		}
	}
	back, err := fromYAML(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	var was, is any
	if json.Unmarshal([]byte(raw), &was) != nil || json.Unmarshal(back, &is) != nil || !equalJSON(was, is) {
		t.Errorf("%s is read back as %s", raw, back)
	}
}
