package cli

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFormats: what a list shows is the same in every format.
func TestFormats(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.serve()
	h.sh(`sextant network create web ipv4=nat ipv4.address=192.168.150.1/24 ipv6=routed ipv6.address=2001:DB8:5:0::1/64
sextant network create lab ipv4=isolated ipv6=none`)
	for _, tc := range []struct{ flags, want string }{
		{"", `NAME  STATE    BRIDGE  IPV4      IPV6    GATEWAYS
lab   running  sx-lab  isolated  none    GATEWAY
web   running  sx-web  nat       routed  192.168.150.1/24, 2001:db8:5::1/64`},
		{"name=web", `NAME  STATE    BRIDGE  IPV4  IPV6    GATEWAYS
web   running  sx-web  nat   routed  192.168.150.1/24, 2001:db8:5::1/64`},
	} {
		out := h.sh("sextant network list " + tc.flags)
		var gateway string
		for line := range strings.Lines(out) {
			if f := strings.Fields(line); f[0] == "lab" {
				gateway = f[len(f)-1]
			}
		}
		if want := strings.ReplaceAll(tc.want, "GATEWAY\n", gateway+"\n"); out != want {
			t.Errorf("list %s:\n%s\nwant\n%s", tc.flags, out, want)
		}
	}
	if wide := h.sh("sextant network list -o wide"); !strings.Contains(wide, "MTU") || !strings.Contains(wide, "web.internal") {
		t.Errorf("wide:\n%s", wide)
	}
	rows, err := csv.NewReader(strings.NewReader(h.sh("sextant network list -o csv"))).ReadAll()
	if err != nil || len(rows) != 3 || rows[0][0] != "name" || rows[2][0] != "web" || rows[2][3] != "nat" || rows[2][5] != "192.168.150.1/24 2001:db8:5::1/64" {
		t.Errorf("csv: %v, %v", rows, err)
	}
	var list []struct {
		Name   string
		ID     string
		Status struct{ Gateways []string }
	}
	h.json(&list, "sextant network list")
	if len(list) != 2 || list[1].Name != "web" || len(list[1].Status.Gateways) != 2 {
		t.Errorf("json: %+v", list)
	}
	yaml := h.sh("sextant network list name=web -o yaml")
	for _, want := range []string{"name: web", "id: " + list[1].ID, "address: 2001:db8:5::1/64", "mode: routed"} {
		if !strings.Contains(yaml, want) {
			t.Errorf("yaml lacks %q:\n%s", want, yaml)
		}
	}
	// One object is the same in a list and on its own.
	one := h.sh("sextant network show web -o json")
	var a, b any
	if err := json.Unmarshal([]byte(one), &a); err != nil {
		t.Fatal(err)
	}
	var all []any
	h.json(&all, "sextant network list name=web")
	if b = all[0]; fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("shown %v\nlisted %v", a, b)
	}
}

// TestShowEdit: what show prints, edit takes back, unchanged and changed; what
// is wrong is refused, and the text is kept.
func TestShowEdit(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.serve()
	h.sh(`sextant network create web ipv6=routed ipv6.address=2001:db8:5::1/64 tags.owner='a: b #c' dns.servers=2001:db8::53
sextant subnet create s network=web prefix=10.9.0.0/24
sextant port create vm1 network=web mac=52:54:00:aa:00:01
sextant router create r
sextant project create other description='two: words'
sextant pool create p prefix=2001:db8:100::/48
sextant reservation create res network=web mac=52:54:00:aa:00:02 address=10.9.0.7`)
	editor := func(name, script string) string {
		path := filepath.Join(h.Dir(), name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return "EDITOR=" + path + " "
	}
	same := editor("touch-it", `printf '\n' >>"$1"`) // another text that says the same
	for _, object := range []string{"network show web", "port show vm1 network=web", "router show r", "project show other",
		"pool show p", "subnet show s network=web", "reservation show res network=web"} {
		strip := "sextant " + object + " | grep -v -e ^revision: -e ^generation: -e ^updated:"
		before := h.sh(strip)
		h.sh(same + "sextant " + strings.Replace(object, "show", "edit", 1))
		if after := h.sh(strip); after != before {
			t.Errorf("%s: an edit that changes nothing changed\n%s", object, difference(before, after))
		}
	}
	if out := h.sh("EDITOR=true sextant network edit web"); out != "network web: nothing changed" {
		t.Errorf("no edit: %s", out)
	}
	h.sh(editor("raise", `sed -i 's/^mtu:.*//; $amtu: 1400' "$1"`) + "sextant network edit web")
	if got := h.sh("sextant network show web | grep ^mtu:; ip -o link show sx-web | grep -o 'mtu [0-9]*'"); got != "mtu: 1400\nmtu 1400" {
		t.Errorf("after the edit: %s", got)
	}
	before := h.sh("sextant network show web")
	wrong := editor("wrong", `sed -i 's/^mtu:.*/mtu: 12/' "$1"`)
	r := h.run("sh", "-c", wrong+"sextant network edit web")
	r.refused(t, 1, `mtu: 12 bytes.*; your text is in /.*\.yaml`)
	kept := strings.TrimSpace(r.stderr[strings.LastIndex(r.stderr, " ")+1:])
	if text := h.sh("cat " + kept); !strings.Contains(text, "mtu: 12") {
		t.Errorf("the text that is kept:\n%s", text)
	}
	h.sh("rm " + kept)
	if after := h.sh("sextant network show web"); after != before {
		t.Errorf("a refused edit changed\n%s", difference(before, after))
	}
	// Somebody else is faster.
	r = h.run("sh", "-c", editor("slow", `sextant network set web mtu=1380 >/dev/null; sed -i 's/^mtu:.*/mtu: 1390/' "$1"`)+"sextant network edit web")
	r.refused(t, 1, `changed since it was read.*; read it again`)
	if got := h.sh("sextant network show web | grep ^mtu:"); got != "mtu: 1380" {
		t.Errorf("the faster one's %s", got)
	}
}
