package clients

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// bootOptions are what dhclient must know beforehand to ask as firmware does.
const bootOptions = `option arch code 93 = unsigned integer 16;
option user-class code 77 = text;
option v6-arch code 61 = array of unsigned integer 16;
option dhcp6.boot-url code 59 = text;
option dhcp6.boot-arch code 61 = unsigned integer 16;
option dhcp6.boot-params code 60 = string;
option v6only code 108 = unsigned integer 32;
option portal code 114 = text;
option wpad code 252 = text;
`

// TestBoot: firmware of every kind is told its own file, by both families, and
// fetches it by TFTP over both; nothing outside the directory is served.
func TestBoot(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dhclient", "tftp", "curl")
	w := theWorld(t)
	root := filepath.Join(w.files, fmt.Sprintf("tftp%d", w.number()))
	if err := os.MkdirAll(filepath.Join(root, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	big := make([]byte, 300_000) // more than 65535 blocks of 512 octets are not needed to see windows at work
	for i := range big {
		big[i] = byte(i * i >> 8)
	}
	writeFile(t, filepath.Join(root, "sub", "big.efi"), string(big))
	writeFile(t, filepath.Join(root, "undionly.kpxe"), "the loader\n")
	secret := filepath.Join(w.files, "secret")
	writeFile(t, secret, "secret\n")
	if err := os.Symlink(secret, filepath.Join(root, "way-out")); err != nil {
		t.Fatal(err)
	}
	n := newNetwork(t, "boot.root="+root+" boot.files=bios=undionly.kpxe,efi64=sub/big.efi,http-efi64=http://boot.example/big.efi,ipxe=http://boot.example/menu.ipxe "+
		"boot.params=quiet")
	g := n.port("firmware", "")
	g.up()

	const request4 = "request subnet-mask, routers, tftp-server-name, bootfile-name, vendor-encapsulated-options;\n"
	for _, tc := range []struct{ kind, send, want string }{
		{"bios", `send vendor-class-identifier "PXEClient:Arch:00000:UNDI:002001"; send arch 0;`, "undionly.kpxe"},
		{"efi64", `send vendor-class-identifier "PXEClient:Arch:00007:UNDI:003016"; send arch 7;`, "sub/big.efi"},
		{"http-efi64", `send vendor-class-identifier "HTTPClient:Arch:00016:UNDI:003016"; send arch 16;`, "http://boot.example/big.efi"},
		{"ipxe", `send vendor-class-identifier "PXEClient:Arch:00000:UNDI:002001"; send arch 0; send user-class "iPXE";`, "http://boot.example/menu.ipxe"},
	} {
		e := g.fresh("eth0", "-4", bootOptions+request4+tc.send)
		if got := e["new_bootfile_name"] + e["new_filename"]; got != tc.want && got != tc.want+tc.want {
			t.Errorf("%s is told %q, want %q: %v", tc.kind, got, tc.want, e)
		}
		if tc.kind == "bios" && e["new_next_server"] != n.gate4.String() {
			t.Errorf("%s is told the server %q", tc.kind, e["new_next_server"])
		}
	}
	const request6 = "also request dhcp6.boot-url, dhcp6.boot-params;\n"
	for _, tc := range []struct{ kind, send, want string }{
		{"efi64", "send dhcp6.boot-arch 7;", "tftp://[" + n.gate6.String() + "]/sub/big.efi"},
		{"http-efi64", "send dhcp6.boot-arch 16;", "http://boot.example/big.efi"},
	} {
		if e := g.fresh("eth0", "-6 -D LL", bootOptions+request6+tc.send); e["new_dhcp6_boot_url"] != tc.want {
			t.Errorf("%s is told %q, want %q: %v", tc.kind, e["new_dhcp6_boot_url"], tc.want, e)
		}
	}

	g.sh(fmt.Sprintf("ip addr add %v/24 dev eth0; ip -6 addr add %v/64 dev eth0 nodad", g.fix4, g.fix6))
	for family, server := range map[string]string{"4": n.gate4.String(), "6": n.gate6.String()} {
		g.sh(fmt.Sprintf("cd /run; rm -f undionly.kpxe; tftp -%s -m binary %s -c get undionly.kpxe; cmp undionly.kpxe %s/undionly.kpxe", family, server, root))
		url := "tftp://" + server
		if family == "6" {
			url = "tftp://[" + server + "]"
		}
		for _, blksize := range []string{"512", "1428", "8192"} {
			g.sh(fmt.Sprintf("curl -sS --max-time 50 --tftp-blksize %s -o /run/big '%s/sub/big.efi'; cmp /run/big %s/sub/big.efi", blksize, url, root))
		}
		for _, path := range []string{"../secret", "way-out", "sub/../../secret", "//etc/passwd", secret, "missing"} {
			out, err := try(t, g.Node, fmt.Sprintf("rm -f /run/stolen; curl -sS --path-as-is --max-time 20 -o /run/stolen '%s/%s' 2>&1; cat /run/stolen 2>/dev/null || true", url, path))
			if err == nil && out != "" {
				t.Errorf("%s was served: %q", path, out)
			}
		}
		out, _ := try(t, g.Node, fmt.Sprintf("cd /run; echo mine >mine; tftp -%s -m binary %s -c put mine undionly.kpxe 2>&1", family, server))
		if text, err := os.ReadFile(filepath.Join(root, "undionly.kpxe")); err != nil || string(text) != "the loader\n" {
			t.Errorf("written: %q %v %s", text, err, out)
		}
	}
}

// TestOptions: what a network tells beside addresses is what a client reads.
func TestOptions(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dhclient")
	n := newNetwork(t, "mtu=1400 domain=corp.test dns.search=corp.test,lab.test ntp=203.0.113.7,2001:db8:80::7 captivePortal=https://portal.example/api "+
		"dhcp.v6only=30m 'dhcp.options=4:252=text:http://wpad/wpad.dat,6:38=hex:0102' leaseTime=2h routes=10.99.0.0/16")
	g := n.port("reader", "")
	g.up()
	e := g.fresh("eth0", "-4", bootOptions+`option csr code 121 = array of unsigned integer 8;
request subnet-mask, broadcast-address, routers, domain-name, domain-name-servers, domain-search, ntp-servers, interface-mtu, host-name, portal, wpad, csr;`)
	mask, gate := "255.255.255.0", n.gate4.String()
	for key, want := range map[string]string{
		"new_subnet_mask": mask, "new_domain_name_servers": gate, "new_domain_name": "corp.test",
		"new_ntp_servers": "203.0.113.7", "new_interface_mtu": "1400", "new_dhcp_lease_time": "7200", "new_domain_search": "corp.test. lab.test.",
		"new_v6only": "", "new_portal": "https://portal.example/api", "new_wpad": "http://wpad/wpad.dat", "new_dhcp_server_identifier": gate,
	} {
		if e[key] != want {
			t.Errorf("DHCPv4: %s is %q, want %q", key, e[key], want)
		}
	}
	check(t, "classless routes", e["new_csr"]+" ", "16 10 99 ")
	e = g.fresh("eth0", "-6 -D LL", bootOptions+"also request dhcp6.name-servers, dhcp6.domain-search, dhcp6.sntp-servers, dhcp6.info-refresh-time;")
	for key, want := range map[string]string{
		"new_dhcp6_name_servers": n.gate6.String(), "new_dhcp6_domain_search": "corp.test. lab.test.", "new_dhcp6_sntp_servers": "2001:db8:80::7",
		"new_max_life": "7200",
	} {
		if e[key] != want {
			t.Errorf("DHCPv6: %s is %q, want %q", key, e[key], want)
		}
	}
	// Who can do without IPv4 and says so is given none (RFC 8925 section 3.3).
	offer := g.sh("timeout 8 dhclient -4 -d -v -cf " + n.write("v6only.conf", bootOptions+"initial-delay 0; request subnet-mask, v6only;") + " -sf /bin/true -lf /run/v6only eth0 2>&1 || true")
	check(t, "a guest that prefers IPv6", offer, "DHCPDISCOVER", "!bound to")
	// Without an address, as after SLAAC.
	e = g.fresh("eth0", "-6 -S -D LL", "")
	check(t, "stateless", e["new_dhcp6_name_servers"], n.gate6.String())
}
