package store

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/sextant-net/sextant/internal/vnet"
)

var eventCount atomic.Uint32

// EventID makes an ID for an event at t that sorts by time: nanoseconds, a
// count within the process, and a random tail against other processes.
func EventID(t time.Time) vnet.ID {
	u := uuid.New()
	return vnet.ID(fmt.Sprintf("%016x-%04x-%x", uint64(t.UnixNano()), uint16(eventCount.Add(1)), u[:4]))
}
