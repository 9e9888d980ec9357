// Package vm boots small virtual machines on the distribution's own kernel,
// with KVM where it works and emulated where not.
//
// There are two kinds. Run boots a machine whose root is the host's, read-only
// below a file system in memory, runs one shell command in it and returns how
// it ended: for tests that need what the host's kernel lacks. Start boots a
// guest with nothing but busybox, on a tap device, and drives it through its
// console: for scenarios that need a real virtual machine.
package vm
