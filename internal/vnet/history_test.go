package vnet

import (
	"net/netip"
	"testing"
	"time"
)

var historyStart = time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)

func stay(addr string, from, until int) Stay {
	at := func(m int) time.Time { return historyStart.Add(time.Duration(m) * time.Minute) }
	return Stay{Address: netip.MustParseAddr(addr), From: at(from), Until: at(until)}
}

func TestHistoryMerges(t *testing.T) {
	for name, tc := range map[string]struct{ earlier, now, want []Stay }{
		"another address":   {[]Stay{stay("192.0.2.1", 0, 10)}, []Stay{stay("192.0.2.2", 5, 20)}, []Stay{stay("192.0.2.1", 0, 10), stay("192.0.2.2", 5, 20)}},
		"told twice":        {[]Stay{stay("192.0.2.1", 0, 10)}, []Stay{stay("192.0.2.1", 0, 10)}, []Stay{stay("192.0.2.1", 0, 10)}},
		"away for a moment": {[]Stay{stay("192.0.2.1", 0, 10)}, []Stay{stay("192.0.2.1", 14, 30)}, []Stay{stay("192.0.2.1", 0, 30)}},
		"back much later":   {[]Stay{stay("192.0.2.1", 0, 10)}, []Stay{stay("192.0.2.1", 60, 70)}, []Stay{stay("192.0.2.1", 0, 10), stay("192.0.2.1", 60, 70)}},
		"in any order":      {[]Stay{stay("192.0.2.1", 60, 70)}, []Stay{stay("192.0.2.1", 0, 10)}, []Stay{stay("192.0.2.1", 0, 10), stay("192.0.2.1", 60, 70)}},
		"long ago":          {[]Stay{stay("192.0.2.1", -60*24*200, -60*24*100)}, []Stay{stay("192.0.2.2", 0, 10)}, []Stay{stay("192.0.2.2", 0, 10)}},
	} {
		t.Run(name, func(t *testing.T) {
			h := &LeaseHistory{Meta: Meta{Updated: historyStart}, Stays: tc.now}
			h.Merge(&LeaseHistory{Stays: tc.earlier})
			if len(h.Stays) != len(tc.want) {
				t.Fatalf("stays %+v\nwant %+v", h.Stays, tc.want)
			}
			for i := range tc.want {
				if h.Stays[i] != tc.want[i] {
					t.Errorf("stay %d is %+v\nwant %+v", i, h.Stays[i], tc.want[i])
				}
			}
		})
	}
}

func TestHistoryIsBounded(t *testing.T) {
	h := &LeaseHistory{Meta: Meta{Updated: historyStart}}
	for i := range 200 {
		h.Merge(&LeaseHistory{Stays: []Stay{stay("192.0.2.1", i*60, i*60+1)}})
	}
	if len(h.Stays) != HistoryMost || h.Stays[HistoryMost-1] != stay("192.0.2.1", 199*60, 199*60+1) {
		t.Errorf("%d stays, the last %+v", len(h.Stays), h.Stays[len(h.Stays)-1])
	}
}

func TestHistoryID(t *testing.T) {
	mac := MAC{2, 0, 0, 0, 0, 1}
	for want, l := range map[ID]*Lease{
		"n.p":             {Network: "n", Port: "p", MAC: mac},
		"n.020000000001":  {Network: "n", MAC: mac, DUID: "00:01"},
		"n.duid-00010203": {Network: "n", DUID: "00:01:02:03"},
	} {
		if h := HistoryOf(l, historyStart); h == nil || h.ID != want || len(h.Stays) != 1 {
			t.Errorf("%+v: %+v, want %s", l, h, want)
		}
	}
	if h := HistoryOf(&Lease{Network: "n"}, historyStart); h != nil {
		t.Errorf("nobody's: %+v", h)
	}
	if h := HistoryOf(&Lease{Network: "n", MAC: mac, Declined: true}, historyStart); h != nil {
		t.Errorf("declined: %+v", h)
	}
}
