package store

import (
	"encoding/json"
	"reflect"
	"strings"

	"github.com/sextant-net/sextant/internal/vnet"
)

// encode returns the stored form of o: its JSON without the revision, with the
// fields of old (the stored form that it replaces, may be nil) that this
// version does not know.
func encode(o vnet.Object, old []byte) ([]byte, error) {
	m := o.GetMeta()
	rev := m.Revision
	m.Revision = 0
	data, err := json.Marshal(o)
	m.Revision = rev
	// Nothing is written that could not be read. Leases are many, and are made
	// by an agent of nothing but addresses, times and checked names.
	if _, lease := o.(*vnet.Lease); err == nil && !lease {
		_, err = vnet.DecodeObject(o.Kind(), data)
	}
	if err != nil {
		e := vnet.Invalid("", "%s cannot be stored", vnet.RefOf(o))
		e.Err = err
		return nil, e
	}
	if old == nil {
		return data, nil
	}
	return keepUnknown(reflect.TypeOf(o).Elem(), data, old), nil
}

// decode reads the stored form; rev becomes the object's revision.
func decode(kind vnet.Kind, data []byte, rev int64) (vnet.Object, error) {
	o, err := vnet.DecodeObject(kind, data)
	if err != nil {
		return nil, &vnet.Error{Kind: vnet.ErrInternal, Msg: "an object in the store cannot be read", Err: err}
	}
	o.GetMeta().Revision = rev
	return o, nil
}

// keepUnknown adds to data, the JSON form of a struct of type t, the fields of
// old that t does not have, at every level of structs. Elements of lists have
// no identity, so unknown fields inside them are not kept.
func keepUnknown(t reflect.Type, data, old []byte) []byte {
	var was, is map[string]json.RawMessage
	if json.Unmarshal(old, &was) != nil || json.Unmarshal(data, &is) != nil || was == nil || is == nil {
		return data
	}
	known := map[string]reflect.Type{}
	knownFields(t, known)
	changed := false
	for key, raw := range was {
		ft, ok := known[strings.ToLower(key)]
		switch {
		case !ok:
			is[key], changed = raw, true
		case ft.Kind() == reflect.Struct && is[key] != nil && !writesText(ft):
			if merged := keepUnknown(ft, is[key], raw); len(merged) != len(is[key]) {
				is[key], changed = merged, true
			}
		}
	}
	if !changed {
		return data
	}
	out, err := json.Marshal(is)
	if err != nil {
		return data
	}
	return out
}

// knownFields collects the JSON names of t's fields in lower case, which is
// how encoding/json matches them, with the type of each (pointers followed).
func knownFields(t reflect.Type, into map[string]reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct {
			knownFields(f.Type, into)
			continue
		}
		if !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		ft := f.Type
		if ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		into[strings.ToLower(name)] = ft
	}
}

func writesText(t reflect.Type) bool {
	type text interface{ MarshalText() ([]byte, error) }
	return t.Implements(reflect.TypeFor[text]()) || reflect.PointerTo(t).Implements(reflect.TypeFor[text]())
}
