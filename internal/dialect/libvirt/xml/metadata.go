package xml

import (
	"fmt"
	"slices"
	"strings"
)

const (
	dnsmasqSpace = "http://libvirt.org/schemas/network/dnsmasq/1.0"
	// Space is ours, in <metadata>, where libvirt keeps and ignores it.
	Space = "urn:sextant:network:1"
)

// parseMetadata keeps <metadata>: of each name space the first element, and
// none without a name space (virXMLNodeSanitizeNamespaces). Of ours all are
// kept, for what one may write as one element may also stand there as several.
func (n *Network) parseMetadata(root *node) {
	m := root.first("metadata")
	if m == nil || len(m.elements()) == 0 {
		return
	}
	var seen []string
	m.children = slices.DeleteFunc(m.children, func(c *node) bool {
		if c.kind != elementNode || c.space == "" || c.space != Space && slices.Contains(seen, c.space) {
			return true
		}
		seen = append(seen, c.space)
		return false
	})
	n.metadata = m
}

// Metadata returns <metadata> as it is printed, "" if there is none.
func (n *Network) Metadata() string {
	var p printer
	n.printMetadata(&p)
	return p.b.String()
}

func (n *Network) printMetadata(p *printer) {
	if n.metadata == nil {
		return
	}
	var b strings.Builder
	// Name spaces that were declared around it are declared in it.
	m := *n.metadata
	m.decls = slices.Concat(m.decls, m.inherited())
	m.dump(&b, p.indent/2, true)
	p.line("%s", b.String())
}

// inherited are the declarations that stand around n and are used below it.
func (n *node) inherited() (l []attribute) {
	used := map[string]bool{}
	n.prefixes(used)
	for a := n.parent; a != nil; a = a.parent {
		for _, d := range a.decls {
			if used[d.name] && !slices.ContainsFunc(slices.Concat(n.decls, l), func(o attribute) bool { return o.name == d.name }) {
				l = append(l, d)
			}
		}
	}
	return l
}

// prefixes collects the prefixes that are used in n.
func (n *node) prefixes(used map[string]bool) {
	if n.kind != elementNode {
		return
	}
	used[n.prefix] = true
	for _, a := range n.attrs {
		if a.prefix != "" {
			used[a.prefix] = true
		}
	}
	for _, c := range n.children {
		c.prefixes(used)
	}
}

// dump writes the node as libxml2 does: values in double quotes, elements each
// on a line of its own unless there is text among them.
func (n *node) dump(b *strings.Builder, level int, format bool) {
	switch n.kind {
	case textNode:
		b.WriteString(dumpText.Replace(n.text))
	case cdataNode:
		b.WriteString("<![CDATA[" + n.text + "]]>")
	case commentNode:
		b.WriteString("<!--" + n.text + "-->")
	case instructionNode:
		b.WriteString("<?" + n.name)
		if n.text != "" {
			b.WriteString(" " + n.text)
		}
		b.WriteString("?>")
	case elementNode:
		n.dumpElement(b, level, format)
	}
}

func (n *node) dumpElement(b *strings.Builder, level int, format bool) {
	b.WriteString("<" + n.fullName())
	for _, d := range n.decls {
		b.WriteString(" xmlns")
		if d.name != "" {
			b.WriteString(":" + d.name)
		}
		b.WriteString(`="` + dumpAttr.Replace(d.value) + `"`)
	}
	for _, a := range n.attrs {
		b.WriteString(" " + a.fullName() + `="` + dumpLetters(dumpAttr.Replace(a.value)) + `"`)
	}
	if len(n.children) == 0 {
		b.WriteString("/>")
		return
	}
	b.WriteString(">")
	format = format && !slices.ContainsFunc(n.children, func(c *node) bool { return c.kind == textNode || c.kind == cdataNode })
	newline := func(level int) {
		if format {
			b.WriteString("\n" + strings.Repeat("  ", level))
		}
	}
	for _, c := range n.children {
		newline(level + 1)
		c.dump(b, level+1, format)
	}
	newline(level)
	b.WriteString("</" + n.fullName() + ">")
}

var (
	dumpText = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\r", "&#13;")
	dumpAttr = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "\n", "&#10;", "\t", "&#9;", "\r", "&#13;")
)

// dumpLetters writes what is not ASCII by its number, as libxml2 does in
// attributes of documents that name no encoding.
func dumpLetters(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r < 0x80 {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "&#x%X;", r)
		}
	}
	return b.String()
}
