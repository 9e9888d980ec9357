package xml

import (
	"strconv"
	"strings"
)

// YesNo is a switch that may be left out: "", "yes" or "no".
type YesNo string

// number reads s as C's strtoul does in libvirt's virStrToLong functions: with
// blanks and a plus sign in front, nothing behind, and for base 0 with 0x and 0
// for other bases. Negative numbers are none.
func number(s string, base, bits int) (n uint64, ok bool) {
	s = strings.TrimPrefix(strings.TrimLeft(s, " \t\n\v\f\r"), "+")
	if base == 0 {
		base = 10
		switch l := strings.ToLower(s); {
		case strings.HasPrefix(l, "0x"):
			base, s = 16, s[2:]
		case len(s) > 1 && s[0] == '0':
			base, s = 8, s[1:]
		}
	}
	if s == "" || s[0] == '+' || s[0] == '-' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, base, bits)
	return n, err == nil
}

// wrapped is number for the places where libvirt takes -1 for the greatest one.
func wrapped(s string, base int) (n uint32, ok bool) {
	t := strings.TrimLeft(s, " \t\n\v\f\r")
	neg := strings.HasPrefix(t, "-")
	if neg {
		if t = t[1:]; strings.HasPrefix(t, "+") || t == "" || strings.ContainsRune(" \t\n\v\f\r", rune(t[0])) {
			return 0, false
		}
	}
	v, ok := number(t, base, 32)
	if neg {
		v = -v
	}
	return uint32(v), ok
}

// uintProp reads an attribute that is a number, and reports whether it is there
// (virXMLPropUInt).
func (n *node) uintProp(name string, base int) (v uint32, there bool, err error) {
	p := n.prop(name)
	if p == nil {
		return 0, false, nil
	}
	u, ok := number(*p, base, 32)
	if !ok {
		return 0, false, failFrom(DomainXML, CodeXML, "Invalid value for attribute '%s' in element '%s': '%s'. Expected non-negative integer value", name, n.name, *p)
	}
	return uint32(u), true, nil
}

// ulonglongProp is uintProp for 64 bits (virXMLPropULongLong).
func (n *node) ulonglongProp(name string) (v uint64, there bool, err error) {
	p := n.prop(name)
	if p == nil {
		return 0, false, nil
	}
	u, ok := number(*p, 10, 64)
	if !ok {
		return 0, false, failFrom(DomainXML, CodeXML, "Invalid value for attribute '%s' in element '%s': '%s'. Expected non-negative integer value", name, n.name, *p)
	}
	return u, true, nil
}

// wordProp reads an attribute that is one of some words (virXMLPropEnum).
func (n *node) wordProp(name string, words ...string) (string, error) {
	p := n.prop(name)
	if p == nil {
		return "", nil
	}
	for _, w := range words {
		if w == *p {
			return w, nil
		}
	}
	return "", failFrom(DomainXML, CodeXML, "Invalid value for attribute '%s' in element '%s': '%s'.", name, n.name, *p)
}

// yesNoProp reads a switch (virXMLPropTristateBool).
func (n *node) yesNoProp(name string) (YesNo, error) {
	w, err := n.wordProp(name, "yes", "no")
	return YesNo(w), err
}
