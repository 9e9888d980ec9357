package xml

import (
	"slices"
	"strings"
)

// nodeKind is what a node of the tree is.
type nodeKind int

const (
	elementNode nodeKind = iota
	textNode
	cdataNode
	commentNode
	instructionNode
)

// node is an element, or a piece of what is in one. The tree is as libxml2
// makes it: names keep their prefixes, declarations of name spaces stand where
// they were written, white space between elements is gone.
type node struct {
	kind     nodeKind
	prefix   string
	name     string // an instruction's target, too
	space    string // the URI of the prefix
	decls    []attribute
	attrs    []attribute
	text     string
	children []*node
	parent   *node
	line     int // of the start tag
}

// attribute is one of an element, or the declaration of a name space, whose
// name is then the prefix.
type attribute struct{ prefix, name, value string }

// prop returns the value of an attribute, nil if there is none.
func (n *node) prop(name string) *string {
	if n == nil {
		return nil
	}
	for i := range n.attrs {
		if n.attrs[i].name == name {
			return &n.attrs[i].value
		}
	}
	return nil
}

// value returns an attribute's value; one that is empty counts as absent, as
// in libvirt's XPath functions.
func (n *node) value(name string) string {
	if v := n.prop(name); v != nil {
		return *v
	}
	return ""
}

// all returns the child elements of that name and of no name space.
func (n *node) all(name string) []*node {
	if n == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(n.children), func(c *node) bool {
		return c.kind != elementNode || c.name != name || c.space != ""
	})
}

// first returns the first of all, nil if there is none.
func (n *node) first(name string) *node {
	if l := n.all(name); len(l) > 0 {
		return l[0]
	}
	return nil
}

// elements returns the child elements.
func (n *node) elements() []*node {
	return slices.DeleteFunc(slices.Clone(n.children), func(c *node) bool { return c.kind != elementNode })
}

// content returns all text below n.
func (n *node) content() string {
	if n == nil {
		return ""
	}
	switch n.kind {
	case textNode, cdataNode:
		return n.text
	case elementNode:
		var b strings.Builder
		for _, c := range n.children {
			b.WriteString(c.content())
		}
		return b.String()
	}
	return ""
}

// resolve returns the URI that a prefix stands for at n.
func (n *node) resolve(prefix string) (uri string, ok bool) {
	if prefix == "xml" {
		return "http://www.w3.org/XML/1998/namespace", true
	}
	for ; n != nil; n = n.parent {
		for _, d := range n.decls {
			if d.name == prefix {
				return d.value, true
			}
		}
	}
	return "", false
}

// preserves reports whether white space counts at n (XML 1.0 section 2.10).
func (n *node) preserves() bool {
	for ; n != nil; n = n.parent {
		for _, a := range n.attrs {
			if a.prefix == "xml" && a.name == "space" {
				return a.value == "preserve"
			}
		}
	}
	return false
}
