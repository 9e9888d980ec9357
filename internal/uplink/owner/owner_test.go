package owner

import (
	"testing"
	"testing/fstest"
)

func TestOf(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		want  Owner
	}{
		"nobody":                      {nil, Nobody},
		"networkd":                    {map[string]string{"systemd/netif/links/2": "# This is private data.\nADMIN_STATE=configured\nOPER_STATE=routable\n"}, Networkd},
		"networkd leaves it alone":    {map[string]string{"systemd/netif/links/2": "ADMIN_STATE=unmanaged\n"}, Nobody},
		"another link of networkd":    {map[string]string{"systemd/netif/links/3": "ADMIN_STATE=configured\n"}, Nobody},
		"NetworkManager beside":       {map[string]string{"systemd/netif/links/2": "ADMIN_STATE=unmanaged\n", "NetworkManager/devices/2": "[device]\nmanaged=true\n"}, NetworkManager},
		"NetworkManager leaves it":    {map[string]string{"NetworkManager/devices/2": "[device]\nmanaged=false\n"}, Nobody},
		"ifupdown":                    {map[string]string{"network/ifstate": "lo=lo\neth0=eth0\n"}, Ifupdown},
		"ifupdown, down":              {map[string]string{"network/ifstate": "lo=lo\n"}, Nobody},
		"ifupdown, a file of its own": {map[string]string{"network/ifstate.eth0": "eth0\n"}, Ifupdown},
		"dhcpcd for ifupdown":         {map[string]string{"dhcpcd/eth0.pid": "12\n", "network/ifstate": "eth0=eth0\n"}, DHCPCD},
		"dhcpcd of old":               {map[string]string{"dhcpcd-eth0.pid": "12\n"}, DHCPCD},
		"something else in the file":  {map[string]string{"systemd/netif/links/2": "\x00\xff=\nADMIN_STATE"}, Nobody},
	} {
		root := fstest.MapFS{}
		for path, text := range tt.files {
			root[path] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := Of(root, "eth0", 2); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
	if got := Of(fstest.MapFS{}, "../../etc", 2); got != Nobody {
		t.Error(got)
	}
}

func FuzzFiles(f *testing.F) {
	f.Add("ADMIN_STATE=configured\n", "eth0")
	f.Fuzz(func(t *testing.T, text, name string) {
		Of(fstest.MapFS{"systemd/netif/links/2": {Data: []byte(text)}, "network/ifstate": {Data: []byte(text)}}, name, 2)
	})
}
