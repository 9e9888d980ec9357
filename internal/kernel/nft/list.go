package nft

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// The chains that mark our tables: see the package comment.
const (
	designPrefix = "design-"
	seenPrefix   = "seen-"
)

// hash is short, for names of chains: it tells texts apart, it proves nothing.
func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}

// listing is our tables as nft lists them.
type listing struct {
	families []string
	design   string // mark found, the same in every family; "" none
	seen     string
	skeleton string // hash of everything but elements, handles and marks
	elements map[id]element
}

// present returns the families that have a table of ours in the namespace.
func (t *Tables) present(ctx context.Context, ns string) ([]string, error) {
	all, err := tablesIn(ctx, t.spaces, ns)
	if err != nil {
		return nil, err
	}
	var families []string
	for _, o := range all {
		if o.Name == plan.Table && (o.Family == "inet" || o.Family == "bridge") {
			families = append(families, o.Family)
		}
	}
	slices.Sort(families)
	return families, nil
}

// tablesIn lists the tables in a namespace, everybody's.
func tablesIn(ctx context.Context, spaces *netns.Set, ns string) ([]object, error) {
	out, err := run(ctx, spaces, ns, "", "-j", "list", "tables")
	if err != nil {
		return nil, hostError("list tables", err)
	}
	objects, err := objectsOf(out)
	return slices.DeleteFunc(objects, func(o object) bool { return o.kind != "table" }), err
}

// list reads our tables; without elements if terse.
func (t *Tables) list(ctx context.Context, ns string, terse bool) (*listing, error) {
	families, err := t.present(ctx, ns)
	if err != nil {
		return nil, err
	}
	l := &listing{families: families, elements: map[id]element{}}
	var objects []object
	for _, f := range families {
		args := []string{"-j", "-s"}
		if terse {
			args = append(args, "-t")
		}
		out, err := run(ctx, t.spaces, ns, "", append(args, "list", "table", f, plan.Table)...)
		if err != nil {
			return nil, hostError("list table "+f+" "+plan.Table, err)
		}
		more, err := objectsOf(out)
		if err != nil {
			return nil, err
		}
		objects = append(objects, more...)
	}
	return l, l.read(objects)
}

// read sorts the objects of a listing.
func (l *listing) read(objects []object) error {
	var rest []string
	designs := map[string]int{}
	for _, o := range objects {
		switch o.kind {
		case "metainfo":
			continue
		case "chain":
			if d, ok := strings.CutPrefix(o.Name, designPrefix); ok {
				designs[d]++
				continue
			}
			if s, ok := strings.CutPrefix(o.Name, seenPrefix); ok {
				l.seen = s
				continue
			}
		case "set", "map":
			l.readSet(o)
		}
		text, err := o.skeleton()
		if err != nil {
			return err
		}
		rest = append(rest, text)
	}
	// Every table bears the mark: one that somebody removed and another
	// program made anew does not.
	if len(designs) == 1 {
		for d, n := range designs {
			if n == len(l.families) {
				l.design = d
			}
		}
	}
	l.skeleton = hash(strings.Join(rest, "\n"))
	return nil
}

// readSet takes the elements of a set that fragments fill. What packets fill
// is no element of a plan.
func (l *listing) readSet(o object) {
	for _, f := range o.Flags {
		if f == "dynamic" || f == "timeout" {
			return
		}
	}
	how := listed{types: o.types(), isMap: o.kind == "map"}
	for _, raw := range o.Elem {
		if key, e, ok := how.read(raw); ok {
			l.elements[newID(o.Family, o.Name, key)] = e
		}
	}
}

// object is one object of `nft -j`.
type object struct {
	kind   string
	Family string            `json:"family"`
	Table  string            `json:"table"`
	Name   string            `json:"name"`
	Type   json.RawMessage   `json:"type"`
	Flags  words             `json:"flags"`
	Elem   []json.RawMessage `json:"elem"`
	raw    json.RawMessage
}

// words is a list of words that nft writes as a plain one where it has one.
type words []string

// UnmarshalJSON takes a string or a list.
func (w *words) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*w = words{one}
		return nil
	}
	var many []string
	if err := json.Unmarshal(b, &many); err != nil {
		return nil // something newer: of no interest here
	}
	*w = many
	return nil
}

// types returns the types of a set's key, nil where nft only says an
// expression.
func (o object) types() []string {
	var w words
	_ = json.Unmarshal(o.Type, &w)
	return w
}

// skeleton writes the object without what changes by itself: handles,
// elements.
func (o object) skeleton() (string, error) {
	var m map[string]any
	if err := json.Unmarshal(o.raw, &m); err != nil {
		return "", vnet.Errorf(vnet.ErrHost, "read nft's listing: %w", err)
	}
	delete(m, "handle")
	delete(m, "elem")
	b, err := json.Marshal(m) // keys sorted
	return o.kind + string(b), err
}

// objectsOf parses what `nft -j list …` printed.
func objectsOf(out []byte) ([]object, error) {
	var top struct {
		Objects []map[string]json.RawMessage `json:"nftables"`
	}
	if len(strings.TrimSpace(string(out))) == 0 {
		return nil, nil // an empty ruleset, to some versions
	}
	if err := json.Unmarshal(out, &top); err != nil {
		return nil, vnet.Errorf(vnet.ErrHost, "read nft's listing: %w", err).
			WithHint("nftables 1.0.6 or later with JSON support is needed")
	}
	var objects []object
	for _, m := range top.Objects {
		for kind, raw := range m {
			o := object{kind: kind, raw: raw}
			if err := json.Unmarshal(raw, &o); err != nil {
				return nil, vnet.Errorf(vnet.ErrHost, "read nft's listing of a %s: %w", kind, err)
			}
			objects = append(objects, o)
		}
	}
	return objects, nil
}
