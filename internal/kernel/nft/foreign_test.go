package nft

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/netnstest"
)

var guestLinks = []string{"sx-web", "sx-lab", "virbr0"}

func brief(f []Finding) string {
	var out []string
	for _, f := range f {
		out = append(out, f.Program+"|"+f.Table+"|"+f.Chain+"|"+f.Hook+"|"+strings.Join(f.Traffic, ", "))
	}
	return strings.Join(out, "\n")
}

// TestRecorded judges the rules that ufw 0.36 (`ufw enable`) and firewalld 1.3
// (default zone public) leave, before and after the command that mends them.
func TestRecorded(t *testing.T) {
	for _, c := range []struct{ file, want, mend string }{
		{"ufw.save", `ufw|ip filter|FORWARD|forward|what guests send out
ufw|ip filter|INPUT|input|DNS
ufw|ip filter|ufw-skip-to-policy-input|input|DHCP`, "ufw route allow in on sx+ && ufw route allow out on sx+"},
		{"ufw6.save", `ufw|ip6 filter|FORWARD|forward|what guests send out
ufw|ip6 filter|INPUT|input|DNS
ufw|ip6 filter|ufw6-skip-to-policy-input|input|DHCPv6`, "ufw route allow in on sx+ && ufw route allow out on sx+"},
		{"ufw-mended.save", "", ""},
		{"ufw6-mended.save", "", ""},
		{"firewalld.json", `firewalld|inet firewalld|filter_FWD_public|forward|what guests send out
firewalld|inet firewalld|filter_IN_public|input|DNS, DHCP, DHCPv6`, "firewall-cmd --permanent --zone=trusted --add-interface=sx+ && firewall-cmd --reload"},
		{"firewalld-mended.json", "", ""},
	} {
		b, err := os.ReadFile("testdata/" + c.file)
		if err != nil {
			t.Fatal(err)
		}
		family := "ip"
		if strings.HasPrefix(c.file, "ufw6") {
			family = "ip6"
		}
		rs := []*ruleTable{parseSave(string(b), family)}
		if strings.HasSuffix(c.file, ".json") {
			if rs, err = parseRules(b); err != nil {
				t.Fatal(err)
			}
		}
		got := judge(rs, []string{"sx-web", "sx-lab"}, nil)
		if brief(got) != c.want {
			t.Errorf("%s:\n%s\nwant:\n%s", c.file, brief(got), c.want)
		}
		if c.mend != "" && (len(got) == 0 || got[0].Mend != c.mend) {
			t.Errorf("%s: mended otherwise: %v", c.file, got)
		}
	}
}

// TestForeignLive sets rules with the real tools, expects them to be found,
// runs the command that each finding says, and expects nothing any more.
func TestForeignLive(t *testing.T) {
	netnstest.NeedCommands(t, "nft", "iptables-nft", "iptables-legacy")
	for _, c := range []struct {
		name, cmd, want string
	}{
		{"nothing", "true", ""},
		{"docker", `iptables-nft -P FORWARD DROP; iptables-nft -N DOCKER-USER; iptables-nft -N DOCKER-FORWARD
iptables-nft -A FORWARD -j DOCKER-USER; iptables-nft -A FORWARD -j DOCKER-FORWARD
iptables-nft -A DOCKER-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
iptables-nft -A DOCKER-FORWARD -i docker0 -j ACCEPT; iptables-nft -A DOCKER-USER -j RETURN`,
			"docker|ip filter|FORWARD|forward|what guests send out"},
		{"plain iptables", `iptables-nft -P INPUT DROP; iptables-nft -A INPUT -i lo -j ACCEPT; iptables-nft -A INPUT -p udp --dport 53 -j ACCEPT
ip6tables-nft -A FORWARD -j REJECT`,
			"iptables|ip filter|INPUT|input|DHCP\niptables|ip6 filter|FORWARD|forward|what guests send out, the answers to guests"},
		{"legacy", `iptables-legacy -P FORWARD DROP; iptables-legacy -A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT; iptables-legacy -A FORWARD -o eth0 -j ACCEPT
ip6tables-legacy -A INPUT ! -i lo -p udp --dport 500:600 -j DROP`,
			"iptables-legacy|ip filter|FORWARD|forward|what guests send out\niptables-legacy|ip6 filter|INPUT|input|DHCPv6"},
		{"plain nft", `nft -f - <<'EOF'
table inet filter {
	set good { type ifname; elements = { "lo", "eth0" } }
	map how { type inet_service : verdict; elements = { 53 : accept, 67 : drop } }
	chain input {
		type filter hook input priority filter; policy drop;
		iifname @good accept
		ct state vmap { established : accept, related : accept, invalid : drop }
		meta l4proto { icmp, ipv6-icmp } accept
		udp dport vmap @how
	}
	chain forward { type filter hook forward priority filter; policy accept; ct state established,related accept; goto more; }
	chain more { oifname != "sx*" iifname != { "eth1", "eth2" } counter reject; tcp dport 1-1024 limit rate 1/second drop; }
}
EOF`, "nftables|inet filter|more|forward|what guests send out\nnftables|inet filter|input|input|DHCPv6\nnftables|inet filter|input|input|DHCP"},
		{"accepts ours", `nft -f - <<'EOF'
table inet filter {
	chain input { type filter hook input priority filter; policy drop; iifname { "sx*", "virbr0" } udp dport { 53, 67, 547 } accept; icmpv6 type { nd-router-solicit, nd-neighbor-solicit } accept; }
	chain forward { type filter hook forward priority filter; policy drop; iifname "sx-*" jump ok; iifname "virbr0" accept; ct state established,related accept; }
	chain ok { accept; }
	chain nat { type nat hook postrouting priority srcnat; policy drop; }
}
table inet sextant {
	chain forward { type filter hook forward priority filter; policy drop; }
}
EOF`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			ns := netnstest.New(t, "fw")
			set, err := netns.At(ns.Path())
			if err != nil {
				t.Fatal(err)
			}
			defer set.Close()
			// Where br_netfilter is loaded, the rules see more: see TestBridged.
			_, _ = ns.Try("sh", "-c", "echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables; echo 0 > /proc/sys/net/bridge/bridge-nf-call-ip6tables")
			if out, err := ns.Try("sh", "-c", c.cmd); err != nil {
				netnstest.Skip(t, "cannot set the rules: %v: %s", err, out)
			}
			got, err := Foreign(context.Background(), set, "", guestLinks)
			if err != nil {
				t.Fatal(err)
			}
			if brief(got) != c.want {
				t.Errorf("found:\n%s\nwant:\n%s", brief(got), c.want)
			}
			var done []string
			for _, f := range got {
				t.Logf("%s; %s", f, f.Mend)
				if strings.Contains(f.String(), "\n") {
					t.Errorf("more than a line: %s", f)
				}
				if slices.Contains(done, f.Mend) {
					continue
				}
				done = append(done, f.Mend)
				cmd := f.Mend
				if f.Program == "docker" || f.Program == "iptables" {
					cmd = strings.ReplaceAll(cmd, "tables -I", "tables-nft -I") // whatever the alternatives say
				}
				ns.Run("sh", "-c", cmd)
			}
			got, err = Foreign(context.Background(), set, "", guestLinks)
			if err != nil || len(got) != 0 {
				t.Errorf("after mending: %v\n%s", err, brief(got))
			}
		})
	}
}

// TestBridged: with br_netfilter, what guests send each other meets the
// forward rules too.
func TestBridged(t *testing.T) {
	rs := []*ruleTable{parseSave("*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n-A FORWARD -i sx-web -o sx-web -j DROP\nCOMMIT\n", "ip")}
	if got := judge(rs, []string{"sx-web"}, nil); len(got) != 0 {
		t.Errorf("without: %v", got)
	}
	got := judge(rs, []string{"sx-web"}, []bool{false, true})
	if len(got) != 1 || !strings.Contains(got[0].Traffic[0], "each other") {
		t.Errorf("with: %v", got)
	}
}

func FuzzRules(f *testing.F) {
	for _, file := range []string{"ufw.save", "ufw6-mended.save", "firewalld.json"} {
		b, err := os.ReadFile("testdata/" + file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"nftables":[{"chain":{"family":"ip","table":"t","name":"a","type":"filter","hook":"input","policy":"drop"}},{"rule":{"family":"ip","table":"t","chain":"a","expr":[{"jump":{"target":"a"}},{"vmap":{"key":null,"data":"@x"}},{"match":null}]}}]}`))
	f.Fuzz(func(_ *testing.T, b []byte) {
		if rs, err := parseRules(b); err == nil {
			judge(rs, guestLinks, []bool{true})
		}
		judge([]*ruleTable{parseSave(string(b), "ip")}, guestLinks, nil)
	})
}
