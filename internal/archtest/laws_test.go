package archtest

import "testing"

func TestJudgeImport(t *testing.T) {
	const m = Module + "/internal/"
	for _, tc := range []struct {
		dir, path string
		test, ok  bool
	}{
		{"internal/vnet", "net/netip", false, true},
		{"internal/vnet", "net", false, false},
		{"internal/vnet", "log/slog", false, false},
		{"internal/vnet", "os", true, true},
		{"internal/vnet", m + "ipam", false, false},
		{"internal/plan", m + "ipam", false, true},
		{"internal/plan", m + "plan/text", false, true},
		{"internal/plan", m + "control", false, false},
		{"internal/control", m + "store", false, false},
		{"internal/control", m + "store", true, true},
		{"internal/controller", m + "control", false, true},
		{"internal/agent", m + "store", false, false},
		{"internal/agent/learn", m + "kernel/hear", false, true},
		{"internal/agent", m + "agent/learn", false, true},
		{"internal/kernel/nft", m + "kernel/netns", false, true},
		{"internal/kernel/nft", m + "agent", false, false},
		{"internal/server/dns", m + "server/dhcp4", false, false},
		{"internal/server/dns", m + "server/dns/zone", false, true},
		{"internal/server/dns", m + "ipam", false, true},
		{"internal/server/dhcp6", m + "server/listen", false, true},
		{"internal/server/dhcp", m + "server/dhcp6", false, false},
		{"internal/server/lease", m + "server/listen", false, false},
		{"internal/server/dhcp6", m + "server/dhcp/dhcptest", false, false},
		{"internal/server/dhcp6", m + "server/dhcp/dhcptest", true, true},
		{"internal/server/dhcp/dhcptest", m + "netnstest", false, true},
		{"internal/server/lease", "time", false, true},
		{"internal/server/lease", "net", false, false},
		{"internal/dialect/libvirt", m + "dialect/libvirt/rpc", false, true},
		{"internal/dialect/libvirt", m + "dialect/libvirt/xml", false, true},
		{"internal/dialect/libvirt", m + "control", false, true},
		{"internal/dialect/libvirt/xdr", m + "dialect/libvirt/rpc", false, false},
		{"internal/dialect/libvirt/xdr", m + "vnet", false, false},
		{"internal/dialect/libvirt/xdr", "net", false, false},
		{"internal/dialect/libvirt/rpc", m + "dialect/libvirt/xdr", false, true},
		{"internal/dialect/libvirt/rpc", m + "dialect/libvirt/xml", false, false},
		{"internal/dialect/libvirt/rpc", m + "control", false, false},
		{"internal/dialect/libvirt/xml", m + "vnet", false, true},
		{"internal/dialect/libvirt/xml", m + "control", false, false},
		{"internal/dialect/libvirt/shadow", m + "dialect/libvirt/xdr", false, true},
		{"internal/dialect/native", m + "dialect/libvirt/xdr", false, false},
		{"internal/dialect/vdsm", m + "dialect/libvirt/xml", false, false},
		{"cmd/sextant", m + "dialect/libvirt", false, true},
		{"cmd/sextant", m + "dialect/libvirt/rpc", false, false},
		{"internal/dialect/libvirt", m + "dialect/vdsm", false, false},
		{"internal/dialect/libvirt", m + "store", false, false},
		{"internal/dialect/native", m + "dialect/native/client", false, true},
		{"internal/dialect/native/client", m + "control", false, false},
		{"internal/dialect/native", "net/http", false, true},
		{"internal/control", "net/http", false, false},
		{"internal/control", "net/http", true, true},
		{"internal/control", "go.etcd.io/etcd/client/v3", true, false},
		{"internal/daemon", "go.etcd.io/etcd/client/v3", true, true},
		{"internal/daemon", "go.etcd.io/etcd/client/v3", false, false},
		{"internal/store", "go.etcd.io/etcd/server/v3/embed", false, true},
		{"internal/control", "golang.org/x/sys/unix", false, false},
		{"internal/agent", "github.com/vishvananda/netlink", false, false},
		{"internal/agent", m + "netnstest", false, false},
		{"internal/agent", m + "netnstest", true, true},
		{"internal/cli", m + "control", false, false},
		{"internal/cli", m + "leasefile", false, true},
		{"internal/leasefile", m + "vnet", false, true},
		{"internal/leasefile", m + "ipam", false, false},
		{"internal/leasefile", "os", false, false},
		{"internal/cli", m + "build", false, false},
		{"cmd/sextant", m + "build", false, true},
		{"cmd/sextant", m + "netnstest", false, false},
		{"lab/topo", m + "control", false, false},
		{"internal/misc", "fmt", false, false},
	} {
		err := judgeImport(tc.dir, tc.path, tc.test)
		if (err == nil) != tc.ok {
			t.Errorf("%s importing %s (test %v): %v, want allowed %v", tc.dir, tc.path, tc.test, err, tc.ok)
		}
	}
}
