package daemon

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/netnstest"
)

func TestDropNetPrivileges(t *testing.T) {
	netnstest.NeedRoot(t)
	out, err := exec.Command("/proc/self/exe", "role", "drop").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	checked := 0
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
		switch key {
		case "CapPrm", "CapEff", "CapBnd", "CapInh":
			checked++
			bits, err := strconv.ParseUint(value, 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			if bits&(1<<unix.CAP_NET_ADMIN|1<<unix.CAP_NET_RAW) != 0 {
				t.Errorf("%s still has network capabilities: %s", key, value)
			}
			if key == "CapEff" && bits&(1<<unix.CAP_DAC_OVERRIDE) == 0 {
				t.Errorf("lost access to files: %s", value)
			}
		case "NoNewPrivs":
			checked++
			if value != "1" {
				t.Errorf("NoNewPrivs %s", value)
			}
		}
	}
	if checked != 5 {
		t.Errorf("%d lines checked of %s", checked, out)
	}
}
