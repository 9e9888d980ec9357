package netnstest

import (
	"os"
	"testing"
)

// VMEnv is set inside the virtual machine in which `make vmtest` runs tests on
// the distribution's own kernel.
const VMEnv = "IN_VM"

// InVM reports whether the test runs inside that machine, where everything
// takes twenty times as long.
func InVM() bool { return os.Getenv(VMEnv) != "" }

// NeedVM marks a test that runs only inside that machine. `make vmtest` finds
// the tests that call it, runs them there, and fails if one does not run; so
// leaving it out elsewhere is not a skip that counts.
func NeedVM(t testing.TB) {
	t.Helper()
	if !InVM() {
		t.Skip("runs in `make vmtest`, on the distribution's own kernel")
	}
}

// AlsoVM marks a test that `make vmtest` runs a second time inside that
// machine: a golden scenario.
func AlsoVM(testing.TB) {}
