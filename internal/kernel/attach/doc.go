// Package attach puts a NIC that carries the host's own addresses into a bridge
// of ours, so that networks can share it, and takes it out again. The host's
// addresses, routes, rules, neighbours and settings of the NIC move onto the
// bridge, which has the NIC's MAC; its connections go on.
//
// What is moved is never parsed more than needed: the kernel's own messages are
// kept as they came and sent back with another link in them, so that attributes
// nobody here knows of survive.
//
// A record is on disk before anything changes. Whatever ends the process in
// between, the next one finds the record and moves everything back.
package attach

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/sextant-net/sextant/internal/plan"
)

// maxName is how many characters a link's name may have (IFNAMSIZ less one).
const maxName = 15

// BridgeName is the name of the bridge that shares a NIC. Taken says whether a
// name belongs to something else.
func BridgeName(nic string, taken func(string) bool) string {
	if name := "br-" + nic; len(name) <= maxName && !taken(name) {
		return name
	}
	sum := sha256.Sum256([]byte(nic))
	for i := 0; ; i++ {
		name := "br-" + hex.EncodeToString(sum[i%24:i%24+4])
		if i >= 24 || !taken(name) {
			return name
		}
	}
}

// alias is the mark of a bridge that shares the NIC.
func alias(nic string) string { return plan.SharedPrefix + nic }

// nicOf is the NIC that a bridge with the alias shares, "" if it is not ours.
func nicOf(alias string) string {
	nic, ok := strings.CutPrefix(alias, plan.SharedPrefix)
	if !ok {
		return ""
	}
	return nic
}
