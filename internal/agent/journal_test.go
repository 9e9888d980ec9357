package agent

import (
	"bytes"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sextant-net/sextant/internal/vnet"
)

func journalLease(i byte) vnet.Lease {
	return vnet.Lease{
		Meta: vnet.Meta{ID: vnet.ID("l" + string('a'+rune(i)))}, Network: "n", Subnet: "s", Host: "h",
		Address: netip.AddrFrom4([4]byte{10, 0, 0, i}), How: vnet.HowDHCPv4, MAC: vnet.MAC{2, 5: i},
		Expires: time.Unix(2e9, 0).UTC(),
	}
}

var sameAddress = cmp.Comparer(func(x, y netip.Addr) bool { return x == y })

func keyOf(l vnet.Lease) leaseKey { return leaseKey{l.Network, l.Address} }

// write opens a journal, gives and ends leases, and leaves it as a killed
// process does.
func writeJournal(t *testing.T, path string, batches ...[]pledge) map[leaseKey]vnet.Lease {
	t.Helper()
	j, given, err := openJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	defer j.close()
	for _, b := range batches {
		for _, p := range b {
			if err := addTo(j, p); err != nil {
				t.Fatal(err)
			}
		}
		if err := j.write(); err != nil {
			t.Fatal(err)
		}
	}
	return given
}

func addTo(j *journal, p pledge) error {
	if p.ended {
		return j.forget(ending{p.lease.Network, p.lease.Address})
	}
	_, err := j.give(&p.lease)
	return err
}

// TestJournal: whoever comes after a killed process finds what was given and
// not given back.
func TestJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	a, b, c := journalLease(1), journalLease(2), journalLease(3)
	renewed := a
	renewed.Expires = renewed.Expires.Add(time.Hour)
	if given := writeJournal(t, path, []pledge{{lease: a}, {lease: b}}, []pledge{{lease: renewed}, {lease: b, ended: true}}); len(given) != 0 {
		t.Errorf("a new journal has %v", given)
	}
	want := map[leaseKey]vnet.Lease{keyOf(a): renewed}
	if diff := cmp.Diff(want, writeJournal(t, path, []pledge{{lease: c}}), cmp.AllowUnexported(leaseKey{}), sameAddress); diff != "" {
		t.Error(diff)
	}
	if given := writeJournal(t, path); len(given) != 2 || given[keyOf(c)].ID != c.ID {
		t.Errorf("the third process finds %v", given)
	}
}

// TestJournalRewind: what the store has is forgotten, though it is still in the
// file behind what came later.
func TestJournalRewind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j, _, err := openJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	defer j.close()
	for i := range byte(20) {
		l := journalLease(i)
		if _, err := j.give(&l); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.write(); err != nil {
		t.Fatal(err)
	}
	if err := j.rewind(); err != nil {
		t.Fatal(err)
	}
	l := journalLease(99)
	if _, err := j.give(&l); err != nil {
		t.Fatal(err)
	}
	if err := j.write(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	given := map[leaseKey]vnet.Lease{}
	readJournal(data, given)
	if len(given) != 1 || given[keyOf(l)].ID != l.ID {
		t.Errorf("after the rewind there are %v", given)
	}
}

// TestJournalTorn: wherever the power failed within a write that was not
// acknowledged, all that was acknowledged before is there and nothing else.
func TestJournalTorn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	a, b := journalLease(1), journalLease(2)
	writeJournal(t, path, []pledge{{lease: a}})
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	j, _, err := openJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	from := j.end
	if _, err := j.give(&b); err != nil {
		t.Fatal(err)
	}
	if err := j.write(); err != nil {
		t.Fatal(err)
	}
	to := j.end
	j.close()
	full, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(whole) < int(from) {
		t.Fatalf("%d bytes, the first entry ends at %d", len(whole), from)
	}
	for cut := from; cut <= to; cut++ {
		torn := bytes.Clone(full)
		clear(torn[cut:])
		given := map[leaseKey]vnet.Lease{}
		readJournal(torn, given)
		_, second := given[keyOf(b)]
		if _, first := given[keyOf(a)]; !first || second != (cut == to) {
			t.Fatalf("cut at %d of %d..%d: %v", cut, from, to, given)
		}
	}
}

// FuzzJournal: whatever is in the file, reading it ends, and what is read can be
// written and read again.
func FuzzJournal(f *testing.F) {
	dir := f.TempDir()
	path := filepath.Join(dir, "j")
	j, _, err := openJournal(path)
	if err != nil {
		f.Fatal(err)
	}
	l := journalLease(1)
	_, _ = j.give(&l)
	if err := j.write(); err != nil {
		f.Fatal(err)
	}
	j.close()
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data[:j.end])
	f.Add(data[journalHead+8 : j.end])
	f.Add(appendEnded(nil, ending{"n", l.Address}))
	f.Add([]byte(`g{"id":"l","network":"n","address":"fd00::1"}`))
	f.Add([]byte(journalMagic))
	f.Fuzz(func(t *testing.T, data []byte) {
		given := map[leaseKey]vnet.Lease{}
		readJournal(data, given)
		for k, l := range given {
			if k != keyOf(l) || !l.Address.IsValid() || l.ID == "" {
				t.Errorf("%v: %+v", k, l)
			}
		}
		entry := map[leaseKey]vnet.Lease{}
		if len(data) > 0 {
			readEntry(data, entry)
		}
		maps.DeleteFunc(entry, func(k leaseKey, l vnet.Lease) bool { return k == keyOf(l) })
		if len(entry) > 0 {
			t.Errorf("%v", entry)
		}
		for k, l := range given {
			b, err := appendGiven(nil, &l)
			if err != nil {
				t.Fatal(err)
			}
			again := map[leaseKey]vnet.Lease{}
			if readEntry(b, again); !cmp.Equal(again[k], l, sameAddress) {
				t.Errorf("written again: %s", cmp.Diff(l, again[k], sameAddress))
			}
		}
	})
}
