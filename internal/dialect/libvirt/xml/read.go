package xml

import (
	stdxml "encoding/xml"
	"errors"
	"io"
	"strings"
)

// mostDepth is how deep elements may be nested, as in libxml2.
const mostDepth = 256

// reader makes a tree of a document. The tokens are encoding/xml's; the tree,
// the check that tags match and the texts of errors are ours.
type reader struct {
	source string
	dec    *stdxml.Decoder
	root   *node
	at     *node // the element that is open
	depth  int
	// Lines are counted on from where they were counted last.
	counted, lines int
}

// read parses a document. Its root must have the name, if one is given.
func read(source, root string) (*node, error) {
	if i := strings.IndexByte(source, 0); i >= 0 {
		source = source[:i] // libvirt's strings end there
	}
	r := &reader{source: source, dec: stdxml.NewDecoder(strings.NewReader(source))}
	for {
		start := int(r.dec.InputOffset())
		t, err := r.dec.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = r.take(t, start)
		} else {
			err = r.syntax(err, start)
		}
		if err != nil {
			return nil, err
		}
	}
	switch {
	case r.at != nil:
		return nil, r.malformed(len(source), "Premature end of data in tag %s line %d", r.at.fullName(), r.at.line)
	case source == "":
		return nil, r.malformed(len(source), "Document is empty")
	case r.root == nil:
		return nil, r.malformed(len(source), "Start tag expected, '<' not found")
	case root != "" && r.root.name != root:
		return nil, failFrom(DomainXML, CodeXML, "expecting root element of '%s', not '%s'", root, r.root.name)
	}
	return r.root, nil
}

// take takes one token into the tree; start is where it begins.
func (r *reader) take(t stdxml.Token, start int) error {
	switch t := t.(type) {
	case stdxml.StartElement:
		return r.open(t, start)
	case stdxml.EndElement:
		return r.close(t.Name, start)
	case stdxml.CharData:
		return r.chars(string(t), start)
	case stdxml.Comment:
		r.add(&node{kind: commentNode, text: string(t)})
	case stdxml.ProcInst:
		if t.Target != "xml" {
			r.add(&node{kind: instructionNode, name: t.Target, text: string(t.Inst)})
		}
	}
	return nil
}

// add puts n into the element that is open. What stands outside of the root
// is not kept.
func (r *reader) add(n *node) {
	if r.at != nil {
		n.parent = r.at
		r.at.children = append(r.at.children, n)
	}
}

func (r *reader) open(t stdxml.StartElement, start int) error {
	if r.root != nil && r.at == nil {
		return r.malformed(start, "Extra content at the end of the document")
	}
	if r.depth++; r.depth > mostDepth {
		return r.malformed(int(r.dec.InputOffset()), "Excessive depth in document: %d use XML_PARSE_HUGE option", mostDepth)
	}
	n := &node{prefix: t.Name.Space, name: t.Name.Local, parent: r.at, line: r.nextLine(start)}
	for _, a := range t.Attr {
		switch {
		case a.Name.Space == "xmlns":
			n.decls = append(n.decls, attribute{name: a.Name.Local, value: a.Value})
		case a.Name.Space == "" && a.Name.Local == "xmlns":
			n.decls = append(n.decls, attribute{value: a.Value})
		default:
			for _, o := range n.attrs {
				if o.name == a.Name.Local && o.prefix == a.Name.Space {
					return r.malformed(start+len(strings.TrimRight(r.source[start:r.dec.InputOffset()], "/>")), "Attribute %s redefined", o.fullName())
				}
			}
			n.attrs = append(n.attrs, attribute{a.Name.Space, a.Name.Local, a.Value})
		}
	}
	if uri, ok := n.resolve(n.prefix); ok {
		n.space = uri
	} else if n.prefix != "" { // as libxml2: the prefix is part of the name
		n.name, n.prefix = n.prefix+":"+n.name, ""
	}
	if r.at == nil {
		r.root = n
	} else {
		r.add(n)
	}
	r.at = n
	return nil
}

func (r *reader) close(name stdxml.Name, start int) error {
	full := name.Local
	if name.Space != "" {
		full = name.Space + ":" + full
	}
	if r.at == nil {
		return r.malformed(start, "Extra content at the end of the document")
	}
	if r.at.fullName() != full {
		return r.malformed(int(r.dec.InputOffset()), "Opening and ending tag mismatch: %s line %d and %s", r.at.fullName(), r.at.line, full)
	}
	r.at = r.at.parent
	r.depth--
	return nil
}

// chars takes text in, unless it is white space that libxml2 takes for mere
// indentation (areBlanks in its parser.c, with xmlKeepBlanksDefault(0)).
func (r *reader) chars(text string, start int) error {
	end := int(r.dec.InputOffset())
	first := start + len(text) - len(strings.TrimLeft(text, " \t\r\n"))
	blank := strings.Trim(text, " \t\r\n") == ""
	cdata := strings.HasPrefix(r.source[start:end], "<![CDATA[")
	if r.at == nil {
		switch {
		case blank && !cdata:
			return nil
		case r.root == nil:
			return r.malformed(first, "Start tag expected, '<' not found")
		}
		return r.malformed(first, "Extra content at the end of the document")
	}
	if blank && !cdata && !r.at.preserves() {
		rest := r.source[end:]
		l := r.at.children
		switch {
		case !strings.HasPrefix(rest, "<"):
		case len(l) == 0 && strings.HasPrefix(rest, "</"):
		case len(l) > 0 && (l[len(l)-1].kind == textNode || l[0].kind == textNode):
		default:
			return nil
		}
	}
	kind := textNode
	if cdata {
		kind = cdataNode
	}
	if text != "" {
		r.add(&node{kind: kind, text: text})
	}
	return nil
}

func (n *node) fullName() string {
	if n.prefix == "" {
		return n.name
	}
	return n.prefix + ":" + n.name
}

func (a attribute) fullName() string {
	if a.prefix == "" {
		return a.name
	}
	return a.prefix + ":" + a.name
}
