package vnet

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Bounds of a history.
const (
	// HistoryMost is how many stays are remembered of one guest, HistoryAge for
	// how long.
	HistoryMost = 64
	HistoryAge  = 90 * 24 * time.Hour
	// historyGap is how long a guest may be away from an address without that
	// becoming two stays: a link that flaps, a guest that restarts.
	historyGap = 5 * time.Minute
)

// LeaseHistory is what a guest had before: a port, or a MAC or DUID without
// one. What it has now, its leases say. Agents observe it.
type LeaseHistory struct {
	Meta
	Network ID     `json:"network"`
	Port    ID     `json:"port,omitempty"`
	MAC     MAC    `json:"mac,omitzero"`
	DUID    string `json:"duid,omitempty"`
	Stays   []Stay `json:"stays"` // the oldest first
}

// Kind is KindHistory.
func (*LeaseHistory) Kind() Kind { return KindHistory }

// Stay is the time for which a guest had an address or a prefix.
type Stay struct {
	Address  netip.Addr `json:"address"`
	Length   int        `json:"length,omitempty"`
	How      How        `json:"how"`
	MAC      MAC        `json:"mac,omitzero"`
	Hostname string     `json:"hostname,omitempty"`
	From     time.Time  `json:"from,omitzero"` // zero: not known
	Until    time.Time  `json:"until,omitzero"`
}

// HistoryID is the ID of the history of a port, or of a guest without one. It
// is "" for a lease that is nobody's.
func HistoryID(network, port ID, mac MAC, duid string) ID {
	holder := string(port)
	switch {
	case holder != "":
	case !mac.IsZero():
		holder = strings.ReplaceAll(mac.String(), ":", "")
	case duid != "":
		holder = strings.ReplaceAll(duid, ":", "")
		holder = "duid-" + holder[:min(len(holder), 128)]
	default:
		return ""
	}
	return network + "." + ID(holder)
}

// HistoryOf returns the history of the lease's guest with one stay, which ended
// at until; nil for a lease that is nobody's.
func HistoryOf(l *Lease, until time.Time) *LeaseHistory {
	id := HistoryID(l.Network, l.Port, l.MAC, l.DUID)
	if id == "" || l.Declined {
		return nil
	}
	h := &LeaseHistory{Meta: Meta{ID: id, Project: l.Project, Updated: until}, Network: l.Network, Port: l.Port, MAC: l.MAC, DUID: l.DUID}
	h.Stays = []Stay{StayOf(l, until)}
	return h
}

// StayOf is the stay that a lease is; until is zero while it lasts.
func StayOf(l *Lease, until time.Time) Stay {
	return Stay{Address: l.Address, Length: l.Length, How: l.How, MAC: l.MAC, Hostname: l.Hostname, From: l.Created, Until: until}
}

// Merge takes the stays of an earlier state of the same history in, and keeps
// to the bounds.
func (h *LeaseHistory) Merge(earlier *LeaseHistory) {
	all := slices.Concat(earlier.Stays, h.Stays)
	slices.SortStableFunc(all, func(a, b Stay) int { return cmp.Or(a.From.Compare(b.From), a.Until.Compare(b.Until)) })
	oldest := h.Updated.Add(-HistoryAge)
	out := all[:0]
	for _, s := range all {
		if s.Until.Before(oldest) {
			continue
		}
		// The same address again: the same stay told twice, or one that went on.
		at := slices.IndexFunc(out, func(o Stay) bool {
			return o.Address == s.Address && o.Length == s.Length && o.MAC == s.MAC && !s.From.After(o.Until.Add(historyGap))
		})
		if at < 0 {
			out = append(out, s)
			continue
		}
		if s.Until.After(out[at].Until) {
			out[at].Until, out[at].How = s.Until, s.How
		}
		out[at].Hostname = cmp.Or(s.Hostname, out[at].Hostname)
	}
	h.Stays = slices.Clone(out[max(0, len(out)-HistoryMost):])
}
