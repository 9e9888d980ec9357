package store

import (
	"encoding/binary"
	"time"

	"github.com/google/uuid"
	"github.com/sextant-net/sextant/internal/vnet"
)

// eventID makes an ID for an event at t.
func eventID(t time.Time) vnet.ID {
	u := uuid.New()
	return vnet.EventID(t, binary.BigEndian.Uint64(u[:8]))
}
