package dhcp4

import (
	"bytes"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/sextant-net/sextant/internal/vnet"
)

// firmware is a message of one that boots.
func firmware(class string, opts ...dhcpv4.Option) msg {
	m := msg{kind: discover, mac: mac(1), id: "\x00guid", opts: append(opts, prl(optSubnetMask, optRouter))}
	if class != "" {
		m.opts = append(m.opts, texts(optClass, class))
	}
	return m
}

func arch(n byte) dhcpv4.Option { return raw(optArch, 0, n) }

// Who boots what, and from where.
func TestBoot(t *testing.T) {
	const pxe, http = "PXEClient:Arch:00000:UNDI:002001", "HTTPClient:Arch:00016:UNDI:003016"
	files := []string{
		"bios=bios.0", "efi64=x64.efi", "efi-arm64=arm64.efi", "http-efi64=https://boot.example/x64.efi",
		"ipxe=http://boot.example/menu.ipxe", "arch99=ninety-nine", "any=other",
	}
	for name, c := range map[string]struct {
		boot              vnet.BootPolicy
		m                 msg
		file              string // field file, or option 67
		siaddr, sname     string
		class, tftpServer string
	}{
		"bios":                    {m: firmware(pxe, arch(0)), file: "bios.0", siaddr: "192.0.2.1", class: "PXEClient"},
		"bios by its class":       {m: firmware("PXEClient"), file: "bios.0", siaddr: "192.0.2.1", class: "PXEClient"},
		"arch in the class":       {m: firmware("PXEClient:Arch:00011:UNDI:003000"), file: "arm64.efi", siaddr: "192.0.2.1", class: "PXEClient"},
		"x64":                     {m: firmware(pxe, arch(7)), file: "x64.efi", siaddr: "192.0.2.1", class: "PXEClient"},
		"x64 by its old number":   {m: firmware(pxe, arch(9)), file: "x64.efi", siaddr: "192.0.2.1", class: "PXEClient"},
		"the first that we have":  {m: firmware(pxe, raw(optArch, 0, 50, 0, 11)), file: "arm64.efi", siaddr: "192.0.2.1", class: "PXEClient"},
		"by number":               {m: firmware(pxe, arch(99)), file: "ninety-nine", siaddr: "192.0.2.1", class: "PXEClient"},
		"any":                     {m: firmware(pxe, arch(50)), file: "other", siaddr: "192.0.2.1", class: "PXEClient"},
		"HTTP":                    {m: firmware(http, arch(16)), file: "https://boot.example/x64.efi", class: "HTTPClient"},
		"HTTP takes URLs only":    {m: firmware(http, arch(19))},
		"iPXE":                    {m: firmware(pxe, arch(7), texts(optUserClass, "iPXE")), file: "http://boot.example/menu.ipxe", siaddr: "192.0.2.1"},
		"iPXE as RFC 3004 has it": {m: firmware(pxe, arch(7), texts(optUserClass, "\x04iPXE")), file: "http://boot.example/menu.ipxe", siaddr: "192.0.2.1"},
		"iPXE by its options":     {m: firmware(pxe, arch(7), raw(optIPXE, 1, 1, 1)), file: "http://boot.example/menu.ipxe", siaddr: "192.0.2.1"},
		"iPXE without a file of its own": {boot: vnet.BootPolicy{Root: "/srv/tftp", Files: []vnet.BootFile{{Client: "any", File: "a"}}},
			m: firmware(pxe, arch(7), texts(optUserClass, "iPXE")), file: "a", siaddr: "192.0.2.1"},
		"an address": {boot: vnet.BootPolicy{Server: "192.0.2.9", Files: []vnet.BootFile{{Client: "any", File: "a"}}},
			m: firmware(pxe, arch(7)), file: "a", siaddr: "192.0.2.9", class: "PXEClient"},
		"a name": {boot: vnet.BootPolicy{Server: "boot.example", Root: "/srv/tftp", Files: []vnet.BootFile{{Client: "any", File: "a"}}},
			m: firmware(pxe, arch(7)), file: "a", sname: "boot.example", class: "PXEClient"},
		"an address of the other family": {boot: vnet.BootPolicy{Server: "2001:db8::1", Root: "/srv/tftp", Files: []vnet.BootFile{{Client: "any", File: "a"}}},
			m: firmware(pxe, arch(7)), file: "a", siaddr: "192.0.2.1", class: "PXEClient"},
		"a URL of TFTP": {boot: vnet.BootPolicy{Files: []vnet.BootFile{{Client: "any", File: "tftp://192.0.2.5/dir/a"}}},
			m: firmware(pxe, arch(7)), file: "dir/a", siaddr: "192.0.2.5", class: "PXEClient"},
		"a URL of TFTP with a name": {boot: vnet.BootPolicy{Files: []vnet.BootFile{{Client: "any", File: "tftp://boot.example/a;mode=octet"}}},
			m: firmware(pxe, arch(7)), file: "a", sname: "boot.example", class: "PXEClient"},
		"no firmware":              {m: msg{kind: discover, mac: mac(1)}},
		"no firmware, but it asks": {m: ask(discover, 1, optTFTPServer, optBootFile), file: "other", siaddr: "192.0.2.1", tftpServer: "192.0.2.1"},
		"asks, and the server has a name": {boot: vnet.BootPolicy{Server: "boot.example", Files: []vnet.BootFile{{Client: "any", File: "a"}}},
			m: ask(discover, 1, optTFTPServer, optBootFile), file: "a", sname: "boot.example", tftpServer: "boot.example"},
	} {
		t.Run(name, func(t *testing.T) {
			svc := service()
			svc.Boot = c.boot
			if len(svc.Boot.Files) == 0 {
				svc.Boot.Root = "/srv/tftp"
				for _, f := range files {
					svc.Boot.Files = append(svc.Boot.Files, textOf[vnet.BootFile](f))
				}
			}
			f := newFake(t, svc)
			f.SetGuest(guest(1, "192.0.2.77"))
			a, r := f.send(c.m.bytes())
			file := a.BootFileName
			if v := value(t, a, r.Data, optBootFile); v != nil && string(v) != file {
				t.Errorf("field %q, option %q", file, v)
			}
			siaddr := ""
			if s := oaddr(a.ServerIPAddr); s.IsValid() {
				siaddr = s.String()
			}
			if file != c.file || siaddr != c.siaddr || a.ServerHostName != c.sname {
				t.Errorf("file %q from %q %q, want %q from %q %q", file, siaddr, a.ServerHostName, c.file, c.siaddr, c.sname)
			}
			if v := value(t, a, r.Data, optClass); string(v) != c.class {
				t.Errorf("class %q, want %q", v, c.class)
			}
			if v := value(t, a, r.Data, optVendor); (v != nil) != (c.class == classPXE) || v != nil && !bytes.Equal(v, []byte{6, 1, 8, 255}) {
				t.Errorf("option 43 %x", v)
			}
			if v := value(t, a, r.Data, optTFTPServer); string(v) != c.tftpServer {
				t.Errorf("option 66 %q, want %q", v, c.tftpServer)
			}
			if c.class == classHTTP && value(t, a, r.Data, optBootFile) == nil {
				t.Error("HTTP boot looks at option 67 alone")
			}
		})
	}
}

// RFC 4578 section 2.3: the machine's identifier comes back; what the operator
// wrote wins; a name that is too long for its field becomes an option.
func TestBootDetails(t *testing.T) {
	svc := service()
	long := "dir/" + strings.Repeat("x", 150)
	svc.Boot = vnet.BootPolicy{Server: "boot.example", Files: []vnet.BootFile{{Client: "any", File: long}}}
	f := newFake(t, svc)
	f.SetGuest(guest(1, "192.0.2.77"))
	uuid := append([]byte{0}, "0123456789abcdef"...)
	m := firmware("PXEClient", raw(optMachine, uuid...))
	if v := f.option(m, optMachine); !bytes.Equal(v, uuid) {
		t.Errorf("option 97: %x", v)
	}
	if v := f.option(m, optBootFile); string(v) != long {
		t.Errorf("option 67: %q", v)
	}
	for _, o := range []string{"4:60=text:Mine", "4:43=hex:0102", "4:66=text:other.example", "4:67=text:mine"} {
		svc.DHCP.Options = append(svc.DHCP.Options, textOf[vnet.DHCPOption](o))
	}
	f.Set(svc)
	for code, want := range map[uint8]string{optClass: "Mine", optVendor: "\x01\x02", optTFTPServer: "other.example", optBootFile: "mine"} {
		if v := f.option(m, code); string(v) != want {
			t.Errorf("option %d: %q, want %q", code, v, want)
		}
	}
	// Only who boots learns the machine's number.
	if v := f.option(msg{kind: discover, mac: mac(1), opts: []dhcpv4.Option{raw(optMachine, uuid...)}}, optMachine); v != nil {
		t.Errorf("option 97 to a system: %x", v)
	}
}

func FuzzBoot(f *testing.F) {
	f.Add([]byte("PXEClient:Arch:00007:UNDI:003016"), []byte{0, 7}, []byte("iPXE"))
	f.Add([]byte("HTTPClient:Arch:xxxxx"), []byte{0}, []byte{200})
	svc := service()
	svc.Boot = vnet.BootPolicy{Root: "/srv/tftp", Files: []vnet.BootFile{{Client: "bios", File: "b"}, {Client: "efi64", File: "tftp:///x"}, {Client: "ipxe", File: "i"}}}
	f.Fuzz(func(t *testing.T, class, arch, user []byte) {
		e := newFake(t, svc)
		e.SetGuest(guest(1, "192.0.2.77"))
		m := firmware("", raw(optClass, class...), raw(optArch, arch...), raw(optUserClass, user...))
		if len(m.bytes()) > maxMessage {
			return
		}
		if a, _ := e.send(m.bytes()); a != nil && oaddr(a.YourIPAddr) != ip("192.0.2.77") {
			t.Errorf("%v", a)
		}
	})
}
