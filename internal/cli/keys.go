package cli

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/sextant-net/sextant/internal/vnet"
)

// assignment is one key=value of the command line.
type assignment struct {
	path  string // JSON path
	typ   reflect.Type
	op    byte // '=', '+' or '-'
	value string
	// within is the prefix that ranges may be relative to; may be zero.
	within netip.Prefix
}

// keyed is what keys are looked up in: the JSON form of a type, and other
// names for some of its keys.
type keyed struct {
	fields  []vnet.Field
	aliases map[string]string
}

func keysOf(t reflect.Type, aliases map[string]string) keyed {
	return keyed{vnet.Fields(t), aliases}
}

// parse reads one key=value, key+=value or key-=value.
func (k keyed) parse(arg string) (assignment, error) {
	key, value, ok := strings.Cut(arg, "=")
	if !ok || key == "" {
		return assignment{}, usagef("%q is no key=value; write it as KEY=VALUE", arg)
	}
	a := assignment{op: '=', value: value}
	if n := len(key) - 1; key[n] == '+' || key[n] == '-' {
		a.op, key = key[n], key[:n]
	}
	f, err := k.find(key)
	if err != nil {
		return a, err
	}
	a.path, a.typ = f.Path, f.Type
	if a.op != '=' && f.Type.Kind() != reflect.Slice {
		return a, usagef("%s: %c= is for lists only", key, a.op)
	}
	return a, nil
}

// find returns the field that the user's key means.
func (k keyed) find(key string) (vnet.Field, error) {
	path := key
	if p, ok := k.aliases[key]; ok {
		path = p
	}
	for _, f := range k.fields {
		name, label, isLabel := strings.Cut(path, ".")
		if isLabel && f.Type.Kind() == reflect.Map && f.Path == name {
			f.Path, f.Type = name+"."+label, f.Type.Elem()
			return f, nil
		}
		if !sameKey(f.Path, path) {
			continue
		}
		if f.ReadOnly {
			return f, &usageError{vnet.Invalid(key, "is shown, never set").WithHint("leave it out")}
		}
		return f, nil
	}
	return vnet.Field{}, &usageError{vnet.UnknownKey(key, k.names())}
}

// sameKey forgives case and dashes: lease-time is leaseTime.
func sameKey(a, b string) bool {
	return strings.EqualFold(strings.ReplaceAll(a, "-", ""), strings.ReplaceAll(b, "-", ""))
}

// names lists every key that may be set.
func (k keyed) names() []string {
	var out []string
	for _, f := range k.fields {
		if !f.ReadOnly {
			out = append(out, f.Path)
		}
	}
	for a := range k.aliases {
		out = append(out, a)
	}
	slices.Sort(out)
	return out
}

// jsonValue writes the value as JSON; an empty one is null: back to the
// default.
func (a assignment) jsonValue() (any, error) {
	if a.value == "" {
		return nil, nil
	}
	if a.typ.Kind() != reflect.Slice || isText(a.typ) {
		return a.scalar(a.typ, a.value)
	}
	list := []any{}
	for _, s := range strings.Split(a.value, ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		v, err := a.scalar(a.typ.Elem(), s)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// isText reports whether values of t are strings in JSON.
func isText(t reflect.Type) bool {
	type text interface{ UnmarshalText([]byte) error }
	return reflect.PointerTo(t).Implements(reflect.TypeFor[text]())
}

func (a assignment) scalar(t reflect.Type, s string) (any, error) {
	switch {
	case isText(t), t.Kind() == reflect.String:
		return s, nil
	case t == reflect.TypeFor[vnet.Range]():
		r, err := vnet.ParseRange(s, a.within)
		if err != nil {
			return nil, &usageError{fmt.Errorf("%s: %w", a.path, err)}
		}
		return map[string]any{"first": r.First.String(), "last": r.Last.String()}, nil
	}
	switch t.Kind() {
	case reflect.Bool:
		switch strings.ToLower(s) {
		case "true", "yes", "on", "1":
			return true, nil
		case "false", "no", "off", "0":
			return false, nil
		}
		return nil, usagef("%s: %q is neither yes nor no; say one of them", a.path, s)
	case reflect.Int, reflect.Int64, reflect.Uint32, reflect.Uint64:
		if _, err := strconv.ParseInt(s, 10, 64); err != nil {
			return nil, usagef("%s: %q is no number; write it in digits", a.path, s)
		}
		return json.Number(s), nil
	}
	return nil, usagef("%s cannot be set with key=value; use edit", a.path)
}

// body is a JSON object that is built key by key.
type body map[string]any

// set puts a value at a dotted path.
func (b body) set(path string, v any) {
	head, rest, deeper := strings.Cut(path, ".")
	if !deeper {
		b[head] = v
		return
	}
	inner, ok := b[head].(body)
	if !ok {
		inner = body{}
		b[head] = inner
	}
	inner.set(rest, v)
}

// fill parses key=value arguments into b; lists that are appended to or cut
// are returned for the caller, who knows what they hold now.
func (b body) fill(k keyed, args []string) (edits []assignment, err error) {
	var all []assignment
	for _, arg := range args {
		a, err := k.parse(arg)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	for _, a := range all {
		a.within = prefixFor(a, all)
		if a.op != '=' {
			edits = append(edits, a)
			continue
		}
		if _, twice := lookup(b, a.path); twice {
			return nil, usagef("%s is given twice; leave one of them out", a.path)
		}
		v, err := a.jsonValue()
		if err != nil {
			return nil, err
		}
		b.set(a.path, v)
	}
	return edits, nil
}

// prefixFor is the prefix that the same command gives to what a's ranges lie
// in: ipv6.address is for ipv6.ranges, prefix for ranges.
func prefixFor(a assignment, all []assignment) netip.Prefix {
	family, ok := strings.CutSuffix(a.path, "ranges")
	if !ok {
		return netip.Prefix{}
	}
	for _, b := range all {
		if b.path == family+"address" || b.path == family+"prefix" {
			if p, err := vnet.ParseInterfacePrefix(b.value); err == nil {
				return p
			}
		}
	}
	return netip.Prefix{}
}

// edit returns the list now with the values of a added or removed.
func (a assignment) edit(now []any) ([]any, error) {
	v, err := a.jsonValue()
	if err != nil {
		return nil, err
	}
	list, _ := v.([]any)
	if now == nil {
		now = []any{}
	}
	for _, e := range list {
		at := slices.IndexFunc(now, func(x any) bool { return equalJSON(x, e) })
		switch {
		case a.op == '+' && at < 0:
			now = append(now, e)
		case a.op == '-' && at < 0:
			return nil, vnet.Invalid(a.path, "%s is not in the list", a.value).WithHint("the list is shown by `show`")
		case a.op == '-':
			now = slices.Delete(now, at, at+1)
		}
	}
	return now, nil
}

func equalJSON(a, b any) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && string(x) == string(y)
}
