package agent

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sextant-net/sextant/internal/vnet"
)

// TestEntryHasAll: whatever a lease says, also in fields that there will be one
// day, is in its entry.
func TestEntryHasAll(t *testing.T) {
	base := journalLease(1)
	var each func(v reflect.Value, at string, set func(*vnet.Lease) reflect.Value)
	each = func(v reflect.Value, at string, set func(*vnet.Lease) reflect.Value) {
		for i := range v.NumField() {
			name := at + v.Type().Field(i).Name
			field := func(l *vnet.Lease) reflect.Value { return set(l).Field(i) }
			if v.Type().Field(i).Anonymous {
				each(v.Field(i), name+".", field)
				continue
			}
			l := base
			fill(t, name, field(&l))
			if name == "Address" {
				l.Address = netip.MustParseAddr("fd00::1%2")
			}
			b, err := appendGiven(nil, &l)
			if err != nil {
				t.Fatal(err)
			}
			given := map[leaseKey]vnet.Lease{}
			readEntry(b, given)
			if diff := cmp.Diff(l, given[keyOf(l)], sameAddress); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	}
	each(reflect.ValueOf(base), "", func(l *vnet.Lease) reflect.Value { return reflect.ValueOf(l).Elem() })
}

// fill gives a field a value that it has not.
func fill(t *testing.T, name string, v reflect.Value) {
	t.Helper()
	switch x := v.Addr().Interface().(type) {
	case *netip.Addr:
		*x = netip.MustParseAddr("fe80::17")
	case *time.Time:
		*x = time.Unix(1e9, 17).UTC()
	case **time.Time:
		at := time.Unix(1e9, 17).UTC()
		*x = &at
	case *map[string]string:
		*x = map[string]string{"a": "b"}
	case *[]string:
		*x = []string{"a"}
	case *vnet.MAC:
		*x = vnet.MAC{2, 17}
	default:
		switch {
		case v.Kind() == reflect.String:
			v.SetString("other" + string(rune('a'+len(name)%26)))
		case v.Kind() == reflect.Bool:
			v.SetBool(true)
		case v.CanInt():
			v.SetInt(300) // more than a byte
			if _, isFamily := x.(*vnet.Family); isFamily {
				v.SetInt(int64(vnet.IPv4))
			}
		case v.CanUint():
			v.SetUint(1 << 31)
		default:
			t.Fatalf("a lease has a %s, %v: teach appendGiven and this test", name, v.Type())
		}
	}
}

// TestEntryOfIDs: UUIDs and what only looks like them are read as they were
// written.
func TestEntryOfIDs(t *testing.T) {
	for _, id := range []vnet.ID{
		"0b7a3c1e-5d52-4a4e-9a43-2f6a1c9be001", "0B7A3C1E-5D52-4A4E-9A43-2F6A1C9BE001", "{0b7a3c1e-5d52-4a4e-9a43-2f6a1c9be001}",
		"0b7a3c1e5d524a4e9a432f6a1c9be001", "00000000-0000-0000-0000-000000000000", "web",
	} {
		l := journalLease(1)
		l.ID, l.Network, l.Hostname = id, id, string(id)
		b, err := appendGiven(nil, &l)
		if err != nil {
			t.Fatal(err)
		}
		given := map[leaseKey]vnet.Lease{}
		if readEntry(b, given); !cmp.Equal(given[keyOf(l)], l, sameAddress) {
			t.Errorf("%s: %s", id, cmp.Diff(l, given[keyOf(l)], sameAddress))
		}
		readEntry(appendEnded(nil, ending{id, l.Address}), given)
		if len(given) != 0 {
			t.Errorf("%s was given back: %v", id, given)
		}
	}
}

// TestEntriesOfBefore: a journal that an older version wrote, in JSON, is read.
func TestEntriesOfBefore(t *testing.T) {
	a, b := journalLease(1), journalLease(2)
	given := map[leaseKey]vnet.Lease{}
	for _, e := range []struct {
		kind byte
		of   any
	}{{'g', a}, {'g', b}, {'e', map[string]any{"network": "n", "address": b.Address}}} {
		raw, err := json.Marshal(e.of)
		if err != nil {
			t.Fatal(err)
		}
		readEntry(append([]byte{e.kind}, raw...), given)
	}
	if diff := cmp.Diff(map[leaseKey]vnet.Lease{keyOf(a): a}, given, cmp.AllowUnexported(leaseKey{}), sameAddress); diff != "" {
		t.Error(diff)
	}
}

// TestEntryShort: an entry that ends too early, or too late, is none.
func TestEntryShort(t *testing.T) {
	l := journalLease(1)
	l.Port, l.DUID, l.Hostname = "p", "00:01", "web"
	whole, err := appendGiven(nil, &l)
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= len(whole)+1; n++ {
		given := map[leaseKey]vnet.Lease{}
		readEntry(append(whole[:len(whole):len(whole)], 0)[:n], given)
		if (len(given) == 1) != (n == len(whole)) {
			t.Errorf("%d of %d bytes: %v", n, len(whole), given)
		}
	}
}
