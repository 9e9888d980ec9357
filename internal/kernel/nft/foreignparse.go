package nft

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// parseRules reads what `nft -j list ruleset` printed.
func parseRules(out []byte) ([]*ruleTable, error) {
	objects, err := objectsOf(out)
	if err != nil {
		return nil, err
	}
	var all []*ruleTable
	at := map[string]*ruleTable{}
	table := func(family, name string) *ruleTable {
		k := family + " " + name
		if at[k] == nil {
			at[k] = &ruleTable{family: family, table: name, chains: map[string]*ruleChain{}, sets: map[string][]string{}, maps: map[string][]mapping{}}
			all = append(all, at[k])
		}
		return at[k]
	}
	for _, o := range objects {
		switch o.kind {
		case "chain":
			var c struct {
				Type   string `json:"type"`
				Hook   string `json:"hook"`
				Policy string `json:"policy"`
			}
			_ = json.Unmarshal(o.raw, &c)
			t := table(o.Family, o.Table)
			t.chains[o.Name] = &ruleChain{name: o.Name, kind: c.Type, hook: c.Hook, policy: c.Policy}
			t.order = append(t.order, o.Name)
		case "set":
			t := table(o.Family, o.Table)
			for _, e := range o.Elem {
				t.sets[o.Name] = append(t.sets[o.Name], valueWord(e))
			}
		case "map":
			t := table(o.Family, o.Table)
			t.maps[o.Name] = mappings(o.Elem)
		}
	}
	for _, o := range objects {
		if o.kind != "rule" {
			continue
		}
		var r struct {
			Chain string            `json:"chain"`
			Expr  []json.RawMessage `json:"expr"`
		}
		_ = json.Unmarshal(o.raw, &r)
		t := table(o.Family, o.Table)
		if c := t.chains[r.Chain]; c != nil {
			c.rules = append(c.rules, t.rule(r.Expr))
		}
	}
	return all, nil
}

// rule reads the expressions of one rule.
func (t *ruleTable) rule(exprs []json.RawMessage) rule {
	var r rule
	var words []string
	for _, raw := range exprs {
		var e map[string]json.RawMessage
		if json.Unmarshal(raw, &e) != nil || len(e) != 1 {
			continue
		}
		for verb, arg := range e {
			switch verb {
			case "match":
				test, text := t.match(arg)
				r.tests = append(r.tests, test)
				words = append(words, text)
			case "accept", "drop", "reject", "return":
				r.do = verdict{verb: verb}
				words = append(words, verb)
			case "jump", "goto":
				v, _ := valueText(raw)
				r.do = verdictOf(v)
				words = append(words, v)
			case "vmap":
				var name string
				r.pick, name = t.vmap(arg)
				words = append(words, name)
			case "counter", "log", "comment", "mangle", "notrack":
			case "xt": // what only iptables understands: see legible
				t.opaque = true
				var x struct{ Type, Name string }
				_ = json.Unmarshal(arg, &x)
				if x.Type == "target" {
					continue
				}
				r.tests = append(r.tests, undecided)
				words = append(words, strings.TrimSpace("-m "+x.Name))
			default: // limit, quota, …: a condition of its own
				r.tests = append(r.tests, undecided)
				words = append(words, verb)
			}
		}
	}
	r.text = strings.Join(words, " ")
	return r
}

func undecided(packet) answer { return unknown }

func verdictOf(s string) verdict {
	verb, to, _ := strings.Cut(s, " ")
	return verdict{verb, to}
}

// field reads one thing of a packet; false if it cannot be told.
type field func(packet) (string, bool)

// match reads a comparison.
func (t *ruleTable) match(raw json.RawMessage) (test, string) {
	var m struct {
		Op    string          `json:"op"`
		Left  json.RawMessage `json:"left"`
		Right json.RawMessage `json:"right"`
	}
	_ = json.Unmarshal(raw, &m)
	get, proto, name := fieldOf(m.Left)
	values, known := t.values(m.Right)
	text := name + " " + strings.TrimPrefix(m.Op+" ", "== ") + strings.Join(values, ",")
	if get == nil || !known || m.Op != "==" && m.Op != "!=" && m.Op != "in" {
		return func(p packet) answer {
			if proto != "" && proto != "th" && p.proto != proto {
				return no
			}
			return unknown
		}, strings.TrimSpace(text)
	}
	return func(p packet) answer {
		if proto != "" && proto != "th" && p.proto != proto {
			return no
		}
		have, ok := get(p)
		if !ok {
			return unknown
		}
		is := slices.ContainsFunc(values, func(v string) bool { return equal(v, have) })
		if is == (m.Op != "!=") {
			return yes
		}
		return no
	}, strings.TrimSpace(text)
}

// equal compares a rule's value with a packet's: names may end in *, numbers
// may be ranges.
func equal(rule, have string) bool {
	if prefix, ok := strings.CutSuffix(rule, "*"); ok {
		return strings.HasPrefix(have, prefix)
	}
	if from, to, ok := strings.Cut(rule, "-"); ok {
		a, errA := strconv.Atoi(from)
		b, errB := strconv.Atoi(to)
		n, err := strconv.Atoi(have)
		if errA == nil && errB == nil && err == nil {
			return a <= n && n <= b
		}
	}
	return rule == have
}

// fieldOf reads the left side of a comparison: how to get it from a packet
// (nil: not known), which protocol it implies, and its name.
func fieldOf(raw json.RawMessage) (get field, proto, name string) {
	var e struct {
		Meta *struct {
			Key string `json:"key"`
		} `json:"meta"`
		CT *struct {
			Key string `json:"key"`
		} `json:"ct"`
		Payload *struct {
			Protocol string `json:"protocol"`
			Field    string `json:"field"`
		} `json:"payload"`
	}
	_ = json.Unmarshal(raw, &e)
	switch {
	case e.Meta != nil:
		return metaField(e.Meta.Key), "", "meta " + e.Meta.Key
	case e.CT != nil && e.CT.Key == "state":
		return func(p packet) (string, bool) { return p.state, true }, "", "ct state"
	case e.CT != nil && e.CT.Key == "status":
		return func(packet) (string, bool) { return "confirmed", true }, "", "ct status"
	case e.Payload != nil:
		return payloadField(e.Payload.Protocol, e.Payload.Field)
	}
	return nil, "", "?"
}

func metaField(key string) field {
	switch key {
	case "iifname", "iif":
		return func(p packet) (string, bool) { return p.iif, true }
	case "oifname", "oif":
		return func(p packet) (string, bool) { return p.oif, true }
	case "l4proto":
		return func(p packet) (string, bool) { return p.proto, true }
	case "nfproto":
		return func(p packet) (string, bool) { return pick(p.v6, "ipv6", "ipv4"), true }
	case "protocol":
		return func(p packet) (string, bool) { return pick(p.v6, "ip6", "ip"), true }
	}
	return nil
}

func pick(c bool, a, b string) string {
	if c {
		return a
	}
	return b
}

func payloadField(protocol, name string) (get field, proto, text string) {
	text = protocol + " " + name
	switch protocol {
	case "tcp", "udp", "th", "sctp", "dccp", "udplite":
		switch name {
		case "dport":
			get = func(p packet) (string, bool) { return strconv.Itoa(p.dport), p.dport != 0 }
		case "sport":
			get = func(p packet) (string, bool) { return strconv.Itoa(p.sport), p.sport != 0 }
		}
		return get, protocol, text
	case "icmp":
		return nil, "icmp", text
	case "icmpv6":
		if name == "type" {
			get = func(p packet) (string, bool) { return p.icmp, p.icmp != "" }
		}
		return get, "ipv6-icmp", text
	case "ip", "ip6":
		switch name {
		case "protocol", "nexthdr":
			get = func(p packet) (string, bool) { return p.proto, true }
		case "daddr":
			get = func(p packet) (string, bool) { return p.daddr, p.daddr != "" }
		}
	}
	return get, "", text
}

// values reads the right side of a comparison as a list of words; false if it
// is something else.
func (t *ruleTable) values(raw json.RawMessage) ([]string, bool) {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		if name, ok := strings.CutPrefix(s, "@"); ok {
			v, known := t.sets[name]
			return v, known
		}
		return []string{s}, true
	}
	var list []json.RawMessage
	var set struct {
		Set []json.RawMessage `json:"set"`
	}
	if json.Unmarshal(raw, &list) != nil {
		if json.Unmarshal(raw, &set) != nil || set.Set == nil {
			w := valueWord(raw)
			return []string{w}, w != ""
		}
		list = set.Set
	}
	var out []string
	for _, e := range list {
		out = append(out, valueWord(e))
	}
	return out, true
}

// valueWord is one value as a word, "" for what is none.
func valueWord(raw json.RawMessage) string {
	parts, ok := keyParts(raw)
	if !ok {
		return ""
	}
	words := make([]string, len(parts))
	for n, p := range parts {
		words[n] = p.text
	}
	return strings.Join(words, " . ")
}

// mappings reads the elements of a verdict map.
func mappings(elems []json.RawMessage) []mapping {
	var out []mapping
	for _, e := range elems {
		var pair []json.RawMessage
		if json.Unmarshal(e, &pair) != nil || len(pair) != 2 {
			continue
		}
		if v, ok := valueText(pair[1]); ok {
			out = append(out, mapping{valueWord(pair[0]), verdictOf(v)})
		}
	}
	return out
}

// vmap reads a lookup in a verdict map.
func (t *ruleTable) vmap(raw json.RawMessage) (pick func(packet) (verdict, bool), text string) {
	var m struct {
		Key  json.RawMessage `json:"key"`
		Data json.RawMessage `json:"data"`
	}
	_ = json.Unmarshal(raw, &m)
	var name string
	var inline struct {
		Set []json.RawMessage `json:"set"`
	}
	var list []mapping
	if json.Unmarshal(m.Data, &name) == nil {
		list = t.maps[strings.TrimPrefix(name, "@")]
	} else if json.Unmarshal(m.Data, &inline) == nil {
		list = mappings(inline.Set)
	}
	get, proto, text := fieldOf(m.Key)
	text = strings.TrimSpace(text + " vmap " + name)
	return func(p packet) (verdict, bool) {
		if get == nil || proto != "" && proto != "th" && p.proto != proto {
			return verdict{}, false
		}
		have, ok := get(p)
		if !ok {
			return verdict{}, false
		}
		for _, e := range list {
			if equal(e.key, have) {
				return e.do, true
			}
		}
		return verdict{}, false
	}, text
}
