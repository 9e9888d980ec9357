package nft

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"
	"unique"

	"github.com/sextant-net/sextant/internal/plan"
)

// idOf identifies a wanted element.
func idOf(e plan.Element) id { return newID(e.Family, e.Set, canonicalKey(e.Elem)) }

// canonicalKey brings the key of an element, as a plan or a person writes it,
// into the one form in which keys are compared: components joined by " . ",
// interface names bare, prefixes masked, single addresses without a length,
// ranges that are prefixes as prefixes, numbers in decimal.
func canonicalKey(s string) string {
	parts := splitKey(s)
	for n, p := range parts {
		parts[n] = canonicalPart(p)
	}
	return strings.Join(parts, " . ")
}

// writtenKey is how a wanted key is given to nft: as the plan has it, but for
// addresses, whose canonical form every version takes. (nft 1.0.6 refuses a
// prefix of full length in a concatenation with "set is not a map".)
func writtenKey(s string) string {
	parts := splitKey(s)
	for n, p := range parts {
		if !strings.HasPrefix(p, `"`) && strings.ContainsAny(p, ".:/") {
			parts[n] = canonicalWord(p)
		}
	}
	return strings.Join(parts, " . ")
}

// splitKey cuts a concatenation at its dots, which stand between spaces and
// outside of quotes.
func splitKey(s string) []string {
	var out []string
	quoted, from := false, 0
	for n := 0; n < len(s); n++ {
		switch {
		case s[n] == '"':
			quoted = !quoted
		case !quoted && s[n] == '.' && n > 0 && n+1 < len(s) && isSpace(s[n-1]) && isSpace(s[n+1]):
			out = append(out, strings.TrimSpace(s[from:n]))
			from = n + 1
		}
	}
	return append(out, strings.TrimSpace(s[from:]))
}

func isSpace(b byte) bool { return b == ' ' || b == '\t' || b == '\n' }

func canonicalPart(s string) string {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	if n, err := strconv.ParseUint(s, 0, 64); err == nil {
		return strconv.FormatUint(n, 10)
	}
	return canonicalWord(s)
}

// canonicalWord is canonicalPart for what is neither quoted nor a number.
func canonicalWord(s string) string {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.String()
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return prefixText(p)
	}
	if from, to, ok := strings.Cut(s, "-"); ok {
		if r, ok := rangeText(from, to); ok {
			return r
		}
	}
	if len(s) == 17 && strings.Count(s, ":") == 5 { // a MAC
		return strings.ToLower(s)
	}
	if n, ok := protocols[s]; ok {
		return n
	}
	return s
}

// protocols are the names that nft prints for numbers of inet_proto.
var protocols = map[string]string{
	"icmp": "1", "igmp": "2", "tcp": "6", "udp": "17", "dccp": "33", "gre": "47", "esp": "50", "ah": "51",
	"icmpv6": "58", "ipv6-icmp": "58", "sctp": "132", "udplite": "136",
}

func prefixText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.Masked().String()
}

// rangeText writes a range of addresses or numbers, false if it is none.
func rangeText(from, to string) (string, bool) {
	a, errA := netip.ParseAddr(from)
	b, errB := netip.ParseAddr(to)
	if errA == nil && errB == nil && a.BitLen() == b.BitLen() {
		if a == b {
			return a.String(), true
		}
		for bits := 0; bits <= a.BitLen(); bits++ {
			p := netip.PrefixFrom(a, bits)
			if p.Masked().Addr() == a && last(p) == b {
				return p.String(), true
			}
		}
		return a.String() + "-" + b.String(), true
	}
	m, errA := strconv.ParseUint(from, 0, 64)
	n, errB := strconv.ParseUint(to, 0, 64)
	if errA != nil || errB != nil {
		return "", false
	}
	if m == n {
		return strconv.FormatUint(m, 10), true
	}
	return strconv.FormatUint(m, 10) + "-" + strconv.FormatUint(n, 10), true
}

// last is the last address of a prefix.
func last(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for n := p.Bits(); n < len(b)*8; n++ {
		b[n/8] |= 1 << (7 - n%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// canonicalValue brings a verdict or a map's value into the form in which
// values are compared.
func canonicalValue(s string) string {
	f := strings.Fields(s)
	switch {
	case len(f) == 0:
		return ""
	case len(f) == 2 && (f[0] == "jump" || f[0] == "goto"):
		return f[0] + " " + f[1]
	}
	return canonicalKey(s)
}

// listed is one element as nft lists it in JSON: a key, or a pair of key and
// value, where each may be wrapped.
type listed struct {
	types []string // of the key's components, where nft says
	isMap bool
}

// read returns the element's canonical key and how to write key and value.
func (l listed) read(raw json.RawMessage) (key string, e element, ok bool) {
	if l.isMap {
		var pair []json.RawMessage
		if json.Unmarshal(raw, &pair) != nil || len(pair) != 2 {
			return "", element{}, false
		}
		v, ok := valueText(pair[1])
		if !ok {
			return "", element{}, false
		}
		e.value = unique.Make(v).Value() // one copy for all networks
		raw = pair[0]
	}
	parts, ok := keyParts(raw)
	if !ok {
		return "", element{}, false
	}
	canonical, written := make([]string, len(parts)), make([]string, len(parts))
	for n, p := range parts {
		isName := n < len(l.types) && l.types[n] == "ifname"
		if isName {
			written[n] = `"` + p.text + `"`
			canonical[n] = written[n][1 : len(written[n])-1] // one copy instead of two
			continue
		}
		canonical[n], written[n] = p.canonical(), p.text
	}
	e.elem = strings.Join(written, " . ")
	return strings.Join(canonical, " . "), e, true
}

// part is one component of a key: a word, or a number.
type part struct {
	text   string
	number bool
}

func (p part) canonical() string {
	if p.number {
		return p.text
	}
	return canonicalWord(p.text)
}

// keyParts takes a JSON key apart.
func keyParts(raw json.RawMessage) ([]part, bool) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || raw[0] != '{' {
		p, ok := onePart(raw)
		return []part{p}, ok
	}
	var o map[string]json.RawMessage
	if json.Unmarshal(raw, &o) != nil {
		return nil, false
	}
	if inner, ok := o["elem"]; ok { // with a comment, timeout or counter
		var e struct {
			Val json.RawMessage `json:"val"`
		}
		if json.Unmarshal(inner, &e) != nil || len(e.Val) == 0 {
			return nil, false
		}
		return keyParts(e.Val)
	}
	inner, ok := o["concat"]
	if !ok {
		p, ok := onePart(raw)
		return []part{p}, ok
	}
	var list []json.RawMessage
	if json.Unmarshal(inner, &list) != nil {
		return nil, false
	}
	var out []part
	for _, r := range list {
		p, ok := onePart(r)
		if !ok {
			return nil, false
		}
		out = append(out, p)
	}
	return out, len(out) > 0
}

// onePart reads one component: a word, a number, a prefix or a range.
func onePart(raw json.RawMessage) (part, bool) {
	var s string
	if json.Unmarshal(raw, &s) == nil && len(raw) > 0 && raw[0] == '"' {
		return part{text: s}, true
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil && n != "" {
		return part{text: n.String(), number: true}, true
	}
	var o struct {
		Prefix *struct {
			Addr string `json:"addr"`
			Len  int    `json:"len"`
		} `json:"prefix"`
		Range []json.RawMessage `json:"range"`
	}
	if json.Unmarshal(raw, &o) != nil {
		return part{}, false
	}
	switch {
	case o.Prefix != nil:
		return part{text: o.Prefix.Addr + "/" + strconv.Itoa(o.Prefix.Len)}, true
	case len(o.Range) == 2:
		a, okA := onePart(o.Range[0])
		b, okB := onePart(o.Range[1])
		return part{text: a.text + "-" + b.text}, okA && okB
	}
	return part{}, false
}

// valueText writes a map's value as nft reads it.
func valueText(raw json.RawMessage) (string, bool) {
	raw = bytes.TrimSpace(raw)
	var o map[string]json.RawMessage
	if len(raw) > 0 && raw[0] == '{' && json.Unmarshal(raw, &o) == nil && len(o) == 1 {
		for verb, arg := range o {
			switch verb {
			case "accept", "drop", "return", "continue":
				return verb, true
			case "jump", "goto":
				var to struct {
					Target string `json:"target"`
				}
				if json.Unmarshal(arg, &to) != nil {
					return "", false
				}
				return verb + " " + to.Target, true
			}
		}
	}
	parts, ok := keyParts(raw)
	if !ok {
		return "", false
	}
	words := make([]string, len(parts))
	for n, p := range parts {
		words[n] = p.text
	}
	return strings.Join(words, " . "), true
}
