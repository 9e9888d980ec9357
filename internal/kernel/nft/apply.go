package nft

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// refusalsMax bounds how many elements are left out one by one of a
// transaction that nft refuses, before all of it fails.
const refusalsMax = 64

// deletesMost is how many elements are deleted one by one. The kernel copies a
// set of ranges for each, so that thousands take seconds; making the tables
// anew without them takes a fraction of one.
const deletesMost = 300

// change is what is to change in one namespace.
type change struct {
	ns     string
	chains *plan.Chains // new text, nil: stays
	drop   *plan.Chains // the tables go, unless chains is set
	put    map[id]plan.Element
	del    map[id]plan.Element
	failed map[plan.Key]error
}

// fail reports everything of the change as failed.
func (c *change) fail(err error) {
	if c.chains != nil {
		c.failed[c.chains.Key()] = err
	}
	if c.drop != nil {
		c.failed[c.drop.Key()] = err
	}
	for _, e := range c.put {
		c.failed[e.Key()] = err
	}
	for _, e := range c.del {
		c.failed[e.Key()] = err
	}
}

func (c *change) chainsKey() plan.Key { return plan.Chains{NS: c.ns}.Key() }

// apply brings one namespace's tables to where the change wants them.
func (t *Tables) apply(ctx context.Context, c *change) error {
	err := t.bring(ctx, c)
	if vnet.Is(err, vnet.ErrNotFound) {
		delete(t.known, c.ns)
		if c.chains == nil && len(c.put) == 0 {
			return nil // removed with its namespace
		}
	}
	return err
}

func (t *Tables) bring(ctx context.Context, c *change) error {
	now, err := t.read(ctx, c.ns)
	if err != nil {
		return err
	}
	if c.drop != nil && c.chains == nil {
		return t.remove(ctx, c, now)
	}
	if c.chains != nil && now.design != hash(c.chains.Text) {
		return t.replace(ctx, c, now, c.chains.Text)
	}
	if c.chains != nil {
		now.text = c.chains.Text
	}
	return t.update(ctx, c, now)
}

// read returns what is in the tables, from memory where that is known.
func (t *Tables) read(ctx context.Context, ns string) (*tables, error) {
	if now := t.known[ns]; now != nil {
		return now, nil
	}
	l, err := t.list(ctx, ns, false)
	if err != nil {
		return nil, err
	}
	now := &tables{families: l.families, design: l.design, elements: l.elements}
	if l.seen != l.skeleton {
		now.design = "" // changed by others, or half-marked: to be replaced
	}
	t.known[ns] = now
	return now, nil
}

// remove deletes the tables.
func (t *Tables) remove(ctx context.Context, c *change, now *tables) error {
	var s script
	s.deleteTables(now.families)
	if len(now.families) > 0 {
		if _, err := run(ctx, t.spaces, c.ns, s.String(), "-f", "-"); err != nil {
			delete(t.known, c.ns)
			return hostError("remove tables", err)
		}
	}
	delete(t.known, c.ns)
	for _, e := range c.put {
		c.failed[e.Key()] = vnet.Errorf(vnet.ErrInternal, "the tables that hold set %s are to be removed", e.Set)
	}
	return nil
}

// replace makes the tables anew from the text, with the elements that stay
// and those that come, in one transaction.
func (t *Tables) replace(ctx context.Context, c *change, now *tables, text string) error {
	families := familiesOf(text)
	if len(families) == 0 {
		return vnet.Errorf(vnet.ErrInternal, "chains without a table %s", plan.Table)
	}
	elements := maps.Clone(now.elements)
	for k := range c.del {
		delete(elements, k)
	}
	for k, e := range c.put {
		elements[k] = elementOf(e)
	}
	sets := setsOf(text)
	for k := range elements {
		if _, wanted := c.put[k]; !wanted && !sets[k.set.Value().name] {
			delete(elements, k) // went with its set
		}
	}
	old := slices.Clone(now.families)
	for try := 0; ; try++ {
		var s script
		s.deleteTables(union(old, families))
		s.text(text)
		for _, f := range families {
			s.line("add chain "+f+" "+plan.Table+" "+designPrefix+hash(text), nil)
		}
		for _, k := range sorted(elements) {
			s.add(k, elements[k])
		}
		_, err := run(ctx, t.spaces, c.ns, s.String(), "-f", "-")
		if err == nil {
			break
		}
		k, ok := s.blame(err)
		if !ok || try == refusalsMax {
			delete(t.known, c.ns)
			c.fail(vnet.Errorf(vnet.ErrUnavailable, "the tables %s could not be made", plan.Table))
			c.failed[c.chainsKey()] = hostError("make tables", err)
			return nil
		}
		c.refuse(k, err)
		delete(elements, k)
	}
	t.known[c.ns] = &tables{families: families, design: hash(text), text: text, elements: elements}
	return t.sign(ctx, c.ns, families[0])
}

// sign marks the tables with how the kernel lists them now.
func (t *Tables) sign(ctx context.Context, ns, family string) error {
	l, err := t.list(ctx, ns, true)
	if err == nil {
		_, err = run(ctx, t.spaces, ns, "add chain "+family+" "+plan.Table+" "+seenPrefix+l.skeleton+"\n", "-f", "-")
	}
	if err != nil {
		delete(t.known, ns)
	}
	return hostError("mark tables", err)
}

// update changes elements only.
func (t *Tables) update(ctx context.Context, c *change, now *tables) error {
	if now.design == "" && len(c.put) > 0 {
		return vnet.Errorf(vnet.ErrUnavailable, "the tables %s are not there yet", plan.Table)
	}
	del, put := c.difference(now)
	if len(del) > deletesMost && now.text != "" {
		return t.replace(ctx, c, now, now.text)
	}
	for try := 0; len(del)+len(put) > 0; try++ {
		var s script
		for _, k := range sorted(del) {
			s.delete(k, del[k])
		}
		for _, k := range sorted(put) {
			s.add(k, put[k])
		}
		_, err := run(ctx, t.spaces, c.ns, s.String(), "-f", "-")
		if err == nil {
			break
		}
		var r *refusal
		if !errors.As(err, &r) {
			return hostError("change elements", err)
		}
		if done, err := t.rebuilt(ctx, c, now); done || err != nil {
			return err
		}
		k, ok := s.blame(err)
		if !ok || try == refusalsMax {
			delete(t.known, c.ns)
			return hostError("change elements", err)
		}
		if _, gone := del[k]; gone && r.missing() && s.deletes(r.line) {
			delete(del, k)
			continue
		}
		c.refuse(k, err)
		delete(del, k)
		delete(put, k)
	}
	for k := range del {
		delete(now.elements, k)
	}
	for k := range c.del {
		delete(now.elements, k)
	}
	for k, e := range put {
		now.elements[k] = e
	}
	return nil
}

// rebuilt replaces the tables if they are no more what they were: somebody
// flushed them while we were not looking.
func (t *Tables) rebuilt(ctx context.Context, c *change, now *tables) (bool, error) {
	l, err := t.list(ctx, c.ns, true)
	if err != nil {
		return false, err
	}
	if l.design == now.design && l.seen == l.skeleton || now.text == "" {
		return false, nil
	}
	now.families = l.families
	return true, t.replace(ctx, c, now, now.text)
}

// difference is what must be deleted and added, given what is there.
func (c *change) difference(now *tables) (del, put map[id]element) {
	del, put = map[id]element{}, map[id]element{}
	for k := range c.del {
		if have, ok := now.elements[k]; ok {
			del[k] = have
		}
	}
	for k, e := range c.put {
		have, ok := now.elements[k]
		if ok && canonicalValue(have.value) == canonicalValue(e.Value) {
			continue
		}
		if ok {
			del[k] = have // a value is changed by delete and add
		}
		put[k] = elementOf(e)
	}
	return del, put
}

// refuse reports one element as refused.
func (c *change) refuse(k id, err error) {
	e, ok := c.put[k]
	if !ok {
		e, ok = c.del[k]
	}
	if ok {
		c.failed[e.Key()] = hostError(fmt.Sprintf("set %s of table %s %s", k.set.Value().name, k.set.Value().family, plan.Table), err)
	}
}

func union(a, b []string) []string {
	out := append(slices.Clone(a), b...)
	slices.Sort(out)
	return slices.Compact(out)
}

func sorted(m map[id]element) []id {
	out := slices.Collect(maps.Keys(m))
	sort.Slice(out, func(a, b int) bool {
		if out[a].set == out[b].set {
			return out[a].key < out[b].key
		}
		x, y := out[a].set.Value(), out[b].set.Value()
		return x.family < y.family || x.family == y.family && x.name < y.name
	})
	return out
}

var (
	tableHead = regexp.MustCompile(`(?m)^\s*(?:add\s+)?table\s+(\w+)\s+` + plan.Table + `\b`)
	setHead   = regexp.MustCompile(`(?m)\b(?:set|map)\s+([\w./\\-]+)\s*\{`)
)

// familiesOf returns the families of our tables in a text, sorted.
func familiesOf(text string) []string {
	var out []string
	for _, m := range tableHead.FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	return union(out, nil)
}

// setsOf returns the sets and maps in a text that fragments fill: those that
// the text leaves empty.
func setsOf(text string) map[string]bool {
	out := map[string]bool{}
	for _, m := range setHead.FindAllStringSubmatchIndex(text, -1) {
		out[text[m[2]:m[3]]] = !strings.Contains(block(text[m[1]:]), "elements")
	}
	return out
}

// block returns the text up to the brace that closes the one before it.
func block(s string) string {
	depth := 1
	for n, r := range s {
		switch r {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return s[:n]
			}
		}
	}
	return s
}

// script is an nft script that knows which line is which element's.
type script struct {
	b     strings.Builder
	lines []scriptLine
}

type scriptLine struct {
	id     *id
	delete bool
}

func (s *script) String() string { return s.b.String() }

func (s *script) line(text string, k *id) {
	s.b.WriteString(text)
	s.b.WriteByte('\n')
	s.lines = append(s.lines, scriptLine{id: k})
}

// text adds lines that are nobody's.
func (s *script) text(text string) {
	for _, l := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		s.line(l, nil)
	}
}

// deleteTables removes tables whether they are there or not.
func (s *script) deleteTables(families []string) {
	for _, f := range families {
		s.line("table "+f+" "+plan.Table, nil)
		s.line("delete table "+f+" "+plan.Table, nil)
	}
}

func (s *script) add(k id, e element) {
	text := e.elem
	if e.value != "" {
		text += " : " + e.value
	}
	in := k.set.Value()
	s.line(fmt.Sprintf("add element %s %s %s { %s }", in.family, plan.Table, in.name, text), &k)
}

func (s *script) delete(k id, e element) {
	in := k.set.Value()
	s.line(fmt.Sprintf("delete element %s %s %s { %s }", in.family, plan.Table, in.name, e.elem), &k)
	s.lines[len(s.lines)-1].delete = true
}

// blame returns the element whose line a refusal points at.
func (s *script) blame(err error) (id, bool) {
	var r *refusal
	if !errors.As(err, &r) || r.line < 1 || r.line > len(s.lines) || s.lines[r.line-1].id == nil {
		return id{}, false
	}
	return *s.lines[r.line-1].id, true
}

// deletes reports whether the line deletes an element.
func (s *script) deletes(line int) bool {
	return line >= 1 && line <= len(s.lines) && s.lines[line-1].delete
}
