package vm

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// TestStockKernel proves that the machine has what small kernels lack, so that
// golden scenarios there test what users have.
func TestStockKernel(t *testing.T) {
	netnstest.NeedVM(t)
	ns := netnstest.New(t, "stock")
	for _, args := range []string{
		"link add d0 type dummy",
		"link add link d0 name d0.7 type vlan id 7",
		"link add b0 type bond mode active-backup",
		"link add v0 type vrf table 77",
		"link add br0 type bridge vlan_filtering 1",
	} {
		ns.Run("ip", strings.Fields(args)...)
	}
	cmd := ns.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(`table bridge t {
	chain c { type filter hook forward priority 0; ct state established,related accept; meta ibrname "br0" drop; }
}`)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ct state in a bridge table: %v: %s", err, out)
	}
	if out := ns.Run("nft", "list", "table", "bridge", "t"); !strings.Contains(out, "ct state established,related accept") {
		t.Errorf("the rule is not there:\n%s", out)
	}
	release, err := exec.Command("uname", "-r").Output()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat("/boot/vmlinuz-" + strings.TrimSpace(string(release))); err != nil {
		t.Errorf("this is not the distribution's kernel: %v", err)
	}
}
