package archtest

import (
	"fmt"
	"strings"
)

// Module is the path of the module whose laws these are.
const Module = "github.com/sextant-net/sextant"

// law says what a part may import of ours. A pattern that ends in "/..." also
// covers what is below it.
type law struct {
	part    string
	imports []string
	pure    bool // no net, os, context, log: nothing that can touch the world
}

// laws is the table of ARCHITECTURE.md, in its order. The first law whose part
// matches counts. A part may always import what lies below itself, unless the
// pattern ends in "/*": those are siblings that must not know each other.
var laws = []law{
	{part: "internal/vnet/...", pure: true},
	{part: "internal/ipam/...", imports: []string{"internal/vnet"}, pure: true},
	{part: "internal/pack", imports: []string{"internal/vnet"}, pure: true},
	{part: "internal/ladder/...", imports: []string{"internal/vnet", "internal/ipam"}, pure: true},
	{part: "internal/plan/...", imports: []string{"internal/vnet", "internal/ipam", "internal/pack"}, pure: true},
	{part: "internal/explain/...", imports: []string{"internal/vnet", "internal/ipam", "internal/plan"}, pure: true},

	{part: "internal/leasefile", imports: []string{"internal/vnet"}, pure: true},

	{part: "internal/reconcile/..."},
	{part: "internal/build"},
	{part: "internal/store/...", imports: []string{"internal/vnet"}},
	{part: "internal/config", imports: []string{"internal/vnet"}},
	{part: "internal/kernel/...", imports: []string{"internal/vnet", "internal/plan"}},
	{part: "internal/server/lease", imports: []string{"internal/vnet", "internal/plan", "internal/ipam", "internal/pack"}, pure: true},
	{part: "internal/server/listen", imports: []string{"internal/vnet", "internal/plan"}},
	{part: "internal/server/dhcp/dhcptest", imports: []string{"internal/vnet", "internal/netnstest"}},
	{part: "internal/server/dhcp", imports: []string{
		"internal/vnet", "internal/plan", "internal/pack", "internal/server/lease", "internal/server/listen",
	}},
	{part: "internal/server/*", imports: []string{
		"internal/vnet", "internal/plan", "internal/ipam", "internal/pack",
		"internal/server/lease", "internal/server/listen", "internal/server/dhcp",
	}},
	{part: "internal/uplink/...", imports: []string{"internal/vnet", "internal/ipam"}},
	{part: "internal/translate", imports: []string{"internal/vnet"}},
	{part: "internal/agent/...", imports: []string{
		"internal/vnet", "internal/ipam", "internal/pack", "internal/ladder", "internal/plan", "internal/explain",
		"internal/reconcile", "internal/kernel/...", "internal/server/...", "internal/uplink/...", "internal/translate",
	}},
	{part: "internal/control/...", imports: []string{"internal/vnet", "internal/ipam", "internal/plan", "internal/explain"}},
	{part: "internal/controller/...", imports: []string{"internal/vnet", "internal/ipam", "internal/control"}},
	{part: "internal/dialect/dialecttest", imports: []string{"internal/vnet", "internal/control", "internal/store"}},
	{part: "internal/dialect/native/client", imports: []string{"internal/vnet"}},
	{part: "internal/dialect/libvirt/xdr", pure: true},
	{part: "internal/dialect/libvirt/rpc", imports: []string{"internal/dialect/libvirt/xdr"}},
	{part: "internal/dialect/libvirt/xml", imports: []string{"internal/vnet"}, pure: true},
	{part: "internal/dialect/libvirt/shadow", imports: []string{
		"internal/vnet", "internal/dialect/libvirt/xdr", "internal/dialect/libvirt/xml",
	}},
	{part: "internal/dialect/*", imports: []string{"internal/vnet", "internal/control", "internal/dialect/native/client"}},
	{part: "internal/ask", imports: []string{"internal/vnet"}},
	{part: "internal/daemon", imports: []string{"internal/vnet"}},
	{part: "internal/cli/...", imports: []string{"internal/vnet", "internal/leasefile", "internal/dialect/native/client"}},
	{part: "internal/web/...", imports: []string{"internal/vnet", "internal/dialect/native/client"}},
	{part: "internal/archtest"},
	{part: "internal/netnstest"},

	{part: "cmd/sextant", imports: []string{"internal/..."}},
	{part: "lab/...", imports: []string{"internal/dialect/native/client", "internal/vnet"}},
	{part: "compat/...", imports: []string{"internal/dialect/native/client", "internal/vnet", "lab/..."}},
	{part: "bench/...", imports: []string{"internal/dialect/native/client", "internal/vnet", "lab/..."}},

	// Until every dependency has a user.
	{part: "internal/depskeep"},
}

// testOnly are packages that only _test.go files, and each other, may import.
var testOnly = []string{"internal/netnstest", "internal/dialect/dialecttest", "internal/server/dhcp/dhcptest"}

// inner are the parts of a dialect that are nobody else's business: whatever
// is below the stem may be imported below the stem alone.
var inner = []string{"internal/dialect/libvirt"}

// reserve says where an import from outside the module may be used.
type reserve struct {
	imports []string // patterns of import paths
	in      []string // patterns of our packages
	tests   []string // patterns of our packages whose tests may, too; nil: every test may
	why     string
}

var reserves = []reserve{
	{
		imports: []string{"go.etcd.io/etcd/...", "go.etcd.io/bbolt/..."},
		in:      []string{"internal/store/..."},
		tests:   []string{"internal/store/...", "internal/daemon"},
		why:     "etcd is known to the store alone",
	},
	{
		imports: []string{"github.com/vishvananda/...", "github.com/mdlayher/netlink/...", "github.com/florianl/..."},
		in:      []string{"internal/kernel/...", "internal/server/...", "internal/uplink/...", "internal/daemon"},
		why:     "netlink is for the parts that touch the kernel",
	},
	{
		imports: []string{"golang.org/x/sys/unix"},
		in: []string{
			"internal/kernel/...", "internal/server/...", "internal/uplink/...", "internal/translate", "internal/daemon",
			"internal/dialect/...", // peer credentials
			"internal/netnstest",
		},
		why: "x/sys/unix is for the parts that touch the kernel, and for peer credentials in dialects",
	},
	{
		imports: []string{"net/http/...", "github.com/danielgtaylor/huma/..."},
		in: []string{
			"internal/dialect/...", "internal/server/metadata", "internal/web/...", "internal/cli/...",
			"internal/daemon", "internal/ask",
		},
		why: "HTTP is spoken at the front doors only",
	},
}

// nftUsers may run the nft command: the package that owns the job, and what
// judges or measures the whole from outside.
var nftUsers = []string{"internal/kernel/nft", "internal/netnstest", "lab/...", "compat/...", "bench/..."}

// worldly are the standard packages that pure packages must not import.
var worldly = []string{"net", "net/...", "os", "os/...", "context", "log", "log/...", "syscall", "runtime/...", "unsafe", "C"}

// innocent are exceptions from worldly.
var innocent = []string{"net/netip"}

// matches reports whether the path is the pattern or, for a pattern that ends
// in "/..." or "/*", at or below its stem.
func matches(pattern, path string) bool {
	for _, wild := range []string{"/...", "/*"} {
		if stem, ok := strings.CutSuffix(pattern, wild); ok {
			return path == stem || strings.HasPrefix(path, stem+"/")
		}
	}
	return pattern == path
}

func matchesAny(patterns []string, path string) bool {
	for _, p := range patterns {
		if matches(p, path) {
			return true
		}
	}
	return false
}

// lawOf finds the law for a package, given by its directory in the module.
func lawOf(dir string) (law, bool) {
	for _, l := range laws {
		if matches(l.part, dir) {
			return l, true
		}
	}
	return law{}, false
}

// family is the directory within which a package's imports are its own
// business.
func (l law) family(dir string) string {
	if stem, ok := strings.CutSuffix(l.part, "/..."); ok {
		return stem
	}
	if stem, ok := strings.CutSuffix(l.part, "/*"); ok {
		first, _, _ := strings.Cut(strings.TrimPrefix(dir, stem+"/"), "/")
		return stem + "/" + first
	}
	return l.part
}

// judgeImport returns what is wrong when the package in dir imports path.
// Test files may build any scene of ours, but not reach for reserved tools.
func judgeImport(dir, path string, test bool) error {
	for _, r := range reserves {
		if !matchesAny(r.imports, path) || matchesAny(r.in, dir) || dir == "internal/depskeep" {
			continue
		}
		if test && (r.tests == nil || matchesAny(r.tests, dir)) {
			continue
		}
		return fmt.Errorf("%s must not import %s: %s", dir, path, r.why)
	}
	if test {
		return nil
	}
	l, ok := lawOf(dir)
	if !ok {
		return fmt.Errorf("%s has no place in the architecture: add it to the table first", dir)
	}
	if l.pure && matchesAny(worldly, path) && !matchesAny(innocent, path) {
		return fmt.Errorf("%s is pure and must not import %s", dir, path)
	}
	ours, ok := strings.CutPrefix(path, Module+"/")
	if !ok {
		return nil
	}
	if matchesAny(testOnly, ours) && !matchesAny(testOnly, dir) {
		return fmt.Errorf("%s imports %s, which is for tests only", dir, ours)
	}
	for _, stem := range inner {
		if ours != stem && matches(stem+"/...", ours) && !matches(stem+"/...", dir) {
			return fmt.Errorf("%s must not import %s: only %s knows its parts", dir, ours, stem)
		}
	}
	if matches(l.family(dir)+"/...", ours) || matchesAny(l.imports, ours) {
		return nil
	}
	return fmt.Errorf("%s must not import %s", dir, ours)
}
