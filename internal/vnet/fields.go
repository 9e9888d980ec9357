package vnet

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
)

// Field is one key of a noun's JSON form.
type Field struct {
	// Path is the dotted JSON path, for example "ipv4.mode".
	Path string
	// Type is the Go type of the value; a list or a map is one field.
	Type reflect.Type
	// Doc is the field's doc tag.
	Doc string
	// ReadOnly fields are shown, never set.
	ReadOnly bool
}

// textType is how values that are written as one string are recognised.
var textType = reflect.TypeFor[encoding.TextUnmarshaler]()

// Fields lists the keys of the JSON form of the struct type t (or of what the
// pointer type t points to), in the order of their declaration.
func Fields(t reflect.Type) []Field {
	var out []Field
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	walkFields(t, "", false, &out)
	return out
}

func walkFields(t reflect.Type, prefix string, readOnly bool, out *[]Field) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && f.Tag.Get("json") == "" {
			walkFields(f.Type, prefix, readOnly, out)
			continue
		}
		name, ok := jsonName(f)
		if !ok {
			continue
		}
		ro := readOnly || f.Tag.Get("readOnly") == "true"
		ft := f.Type
		for ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		if isStruct(ft) {
			walkFields(ft, prefix+name+".", ro, out)
			continue
		}
		*out = append(*out, Field{Path: prefix + name, Type: ft, Doc: f.Tag.Get("doc"), ReadOnly: ro})
	}
}

// isStruct reports whether values of t are JSON objects with known keys.
func isStruct(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !reflect.PointerTo(t).Implements(textType)
}

func jsonName(f reflect.StructField) (string, bool) {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name, f.IsExported() && name != "" && name != "-"
}

// DecodeJSON reads one JSON value into the value that the pointer into points
// to. It is stricter than encoding/json and says more: an unknown key is an
// error that names the key and the nearest known one, and every other error
// names the key it is about.
func DecodeJSON(data []byte, into any) error {
	if !json.Valid(data) {
		return invalidJSON(data)
	}
	return decodeValue(data, reflect.ValueOf(into).Elem(), "")
}

func invalidJSON(data []byte) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return Errorf(ErrInvalid, "the body is empty").WithHint("send one JSON object")
	}
	var v any
	err := json.Unmarshal(data, &v)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return Errorf(ErrInvalid, "the body is no JSON: %s at byte %d", syntax, syntax.Offset)
	}
	return Errorf(ErrInvalid, "the body is no JSON: %v", err)
}

func decodeValue(raw json.RawMessage, v reflect.Value, path string) error {
	raw = bytes.TrimSpace(raw)
	if string(raw) == "null" {
		v.SetZero()
		return nil
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		return decodeValue(raw, v.Elem(), path)
	}
	switch {
	case isStruct(v.Type()):
		return decodeStruct(raw, v, path)
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8:
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return Invalid(path, "%s is no list", clip(raw))
		}
		s := reflect.MakeSlice(v.Type(), len(list), len(list))
		for i, e := range list {
			if err := decodeValue(e, s.Index(i), path); err != nil {
				return err
			}
		}
		v.Set(s)
		return nil
	}
	if err := decodeLeaf(raw, v); err != nil {
		return badValue(raw, v.Type(), path, err)
	}
	return nil
}

// decodeLeaf reads one value. Addresses are taken in every form that people
// write, not only in those that netip reads.
func decodeLeaf(raw json.RawMessage, v reflect.Value) error {
	var s string
	switch into := v.Addr().Interface().(type) {
	case *netip.Addr:
		if json.Unmarshal(raw, &s) == nil && s != "" {
			a, err := ParseAddrZone(s)
			*into = a
			return err
		}
	case *netip.Prefix:
		if json.Unmarshal(raw, &s) == nil && s != "" {
			p, err := ParseInterfacePrefix(s)
			*into = p
			return err
		}
	}
	return json.Unmarshal(raw, v.Addr().Interface())
}

func decodeStruct(raw json.RawMessage, v reflect.Value, path string) error {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(raw, &keys); err != nil {
		if path == "" {
			return Errorf(ErrInvalid, "the body is no JSON object")
		}
		return Invalid(path, "%s is no JSON object", clip(raw))
	}
	if key := keyTwice(raw, len(keys)); key != "" {
		return Invalid(join(path, key), "the key is there twice").WithHint("leave one of them out")
	}
	fields := map[string]reflect.Value{}
	collectFields(v, fields)
	for _, key := range sortedKeys(keys) {
		f, ok := fields[key]
		if !ok {
			return UnknownKey(join(path, key), joinAll(path, sortedKeys(fields)))
		}
		if err := decodeValue(keys[key], f, join(path, key)); err != nil {
			return err
		}
	}
	return nil
}

// keyTwice returns the first key that a JSON object of so many different ones
// has twice (RFC 8259 section 4 leaves open which of the two counts).
func keyTwice(raw json.RawMessage, different int) string {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return ""
	}
	seen := make(map[string]bool, different)
	for d.More() {
		t, err := d.Token()
		key, ok := t.(string)
		if err != nil || !ok {
			return ""
		}
		if seen[key] {
			return key
		}
		seen[key] = true
		var skip json.RawMessage
		if d.Decode(&skip) != nil {
			return ""
		}
	}
	return ""
}

func collectFields(v reflect.Value, into map[string]reflect.Value) {
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && f.Tag.Get("json") == "" {
			collectFields(v.Field(i), into)
		} else if name, ok := jsonName(f); ok {
			into[name] = v.Field(i)
		}
	}
}

// badValue says what was expected where a value did not parse.
func badValue(raw json.RawMessage, t reflect.Type, path string, err error) error {
	var ours *Error
	if errors.As(err, &ours) {
		e := *ours
		e.Field = path
		return &e
	}
	switch t {
	case reflect.TypeFor[netip.Addr]():
		return Invalid(path, "%s is no IP address", clip(raw)).WithHint("write it as 192.0.2.1 or 2001:db8::1")
	case reflect.TypeFor[netip.Prefix]():
		return Invalid(path, "%s is no prefix", clip(raw)).WithHint("write it as 192.0.2.1/24 or 2001:db8::1/64")
	}
	switch t.Kind() {
	case reflect.Bool:
		return Invalid(path, "%s is neither true nor false", clip(raw))
	case reflect.String:
		return Invalid(path, "%s is no string", clip(raw))
	case reflect.Map:
		return Invalid(path, "%s is no set of key=value labels", clip(raw))
	case reflect.Int, reflect.Int64, reflect.Uint32, reflect.Uint64:
		return Invalid(path, "%s is no number, or out of range", clip(raw))
	}
	return Invalid(path, "%s does not fit", clip(raw))
}

// UnknownKey is the error for a key that is not among the known ones; it
// names the nearest.
func UnknownKey(key string, known []string) *Error {
	e := Invalid(key, "unknown key")
	if near := Nearest(key, known); near != "" {
		return e.WithHint("did you mean %s?", near)
	}
	if names := beside(key, known); len(names) > 0 {
		return e.WithHint("it is one of %s", strings.Join(names, ", "))
	}
	return e
}

// beside returns the known keys of the same object as key: of ipv4.x those
// below ipv4, else those at the top, without what is below them.
func beside(key string, known []string) []string {
	at := key[:strings.LastIndex(key, ".")+1]
	var out []string
	for _, k := range known {
		if rest, ok := strings.CutPrefix(k, at); ok && rest != "" {
			name, _, _ := strings.Cut(rest, ".")
			out = append(out, at+name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Nearest returns the word that looks most like the given one, or "" if none
// is near.
func Nearest(word string, words []string) string {
	best, bestCost := "", max(2, len(word)/3)+1
	for _, w := range words {
		if c := distance(strings.ToLower(word), strings.ToLower(w)); c < bestCost {
			best, bestCost = w, c
		}
	}
	return best
}

// distance is the Damerau-Levenshtein distance in bytes (two neighbours that
// changed places count once), of at most 64 of them.
func distance(a, b string) int {
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	var d [65][65]int
	for i := range len(a) + 1 {
		d[i][0] = i
	}
	for j := range len(b) + 1 {
		d[0][j] = j
	}
	for i := range len(a) {
		for j := range len(b) {
			cost := d[i][j]
			if a[i] != b[j] {
				cost++
			}
			cost = min(cost, d[i][j+1]+1, d[i+1][j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				cost = min(cost, d[i-1][j-1]+1)
			}
			d[i+1][j+1] = cost
		}
	}
	return d[len(a)][len(b)]
}

// clip quotes what was sent, shortened.
func clip(raw []byte) string {
	if len(raw) > 60 {
		return string(bytes.ToValidUTF8(raw[:57], nil)) + "…"
	}
	return string(raw)
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func joinAll(path string, keys []string) []string {
	for i := range keys {
		keys[i] = join(path, keys[i])
	}
	return keys
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// NewObject returns an empty object of the kind, or nil if there is no such
// noun.
func NewObject(k Kind) Object {
	switch k {
	case KindInstallation:
		return new(Installation)
	case KindProject:
		return new(Project)
	case KindNetwork:
		return new(Network)
	case KindSubnet:
		return new(Subnet)
	case KindPool:
		return new(Pool)
	case KindRouter:
		return new(Router)
	case KindPort:
		return new(Port)
	case KindReservation:
		return new(Reservation)
	case KindHost:
		return new(Host)
	case KindActivation:
		return new(Activation)
	case KindUplink:
		return new(UplinkPolicy)
	case KindLease:
		return new(Lease)
	case KindAssignment:
		return new(PrefixAssignment)
	case KindStatus:
		return new(Status)
	case KindEvent:
		return new(Event)
	case KindOrder:
		return new(LeaseOrder)
	case KindHistory:
		return new(LeaseHistory)
	}
	return nil
}
