package rpc

import (
	_ "embed"
	"fmt"
	"strings"
	"sync"
)

//go:embed unsupported.txt
var unsupportedText string

// unsupported are the procedures that libvirt has and a network driver has
// not, by number.
var unsupported = sync.OnceValue(func() map[uint32]*procedure {
	m := make(map[uint32]*procedure)
	for line := range strings.Lines(unsupportedText) {
		var (
			n    uint32
			p    procedure
			what string
		)
		if strings.HasPrefix(line, "#") {
			continue
		}
		// A line that cannot be read leaves its procedure unknown; a test
		// reads them all.
		if _, err := fmt.Sscan(line, &n, &p.api, &p.domain, &what); err != nil {
			continue
		}
		if p.access = reading; what == "write" {
			p.access = writing
		}
		m[n] = &p
	}
	return m
})

// find finds a procedure. One that is not supported cannot be invoked.
func find(n uint32) (*procedure, bool) {
	if p, ok := procedures[n]; ok {
		return p, true
	}
	p, ok := unsupported()[n]
	return p, ok
}
