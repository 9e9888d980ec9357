package xml

import (
	"regexp"
	"slices"
	"strings"
)

// Kind is a kind of metadata (virNetworkMetadataType).
type Kind int32

// The kinds.
const (
	KindDescription Kind = 0
	KindTitle       Kind = 1
	KindElement     Kind = 2
)

// ncName is a prefix of a name space (Namespaces in XML section 3), as far as
// anybody chooses them.
var ncName = regexp.MustCompile(`^[\pL_][\pL\pN._-]*$`)

// GetMetadata returns one kind of metadata; of elements the one of the name
// space, without its declaration.
func (n *Network) GetMetadata(k Kind, uri string) (string, error) {
	text := ""
	switch k {
	case KindDescription:
		text = n.Description
	case KindTitle:
		text = n.Title
	case KindElement:
		if n.metadata == nil {
			break
		}
		if i := slices.IndexFunc(n.metadata.children, func(c *node) bool { return c.space == uri }); i >= 0 {
			var b strings.Builder
			n.metadata.children[i].without(uri).dump(&b, 0, true)
			text = b.String()
		}
	default:
		return "", fail(CodeInvalidArg, "unknown metadata type '%d'", k)
	}
	if text == "" {
		return "", fail(CodeNoMetadata, "Requested metadata element is not present")
	}
	return text, nil
}

// without is a copy of n in which names of the name space have no prefix.
func (n *node) without(uri string) *node {
	c := *n
	if c.space == uri {
		c.prefix, c.space = "", ""
	}
	c.decls = slices.DeleteFunc(slices.Clone(c.decls), func(d attribute) bool { return d.value == uri })
	c.children = slices.Clone(c.children)
	for i, o := range c.children {
		c.children[i] = o.without(uri)
		c.children[i].parent = &c
	}
	return &c
}

// SetMetadata returns n with one kind of metadata set; nil removes it. An element
// gets the name space with the key as prefix, in place of what it had there.
func (n *Network) SetMetadata(k Kind, text *string, key, uri string) (*Network, error) {
	c := *n
	value := ""
	if text != nil {
		value = *text
	}
	switch k {
	case KindDescription:
		c.Description = value
	case KindTitle:
		if strings.Contains(value, "\n") {
			return nil, fail(CodeXML, "Network title can't contain newlines")
		}
		c.Title = value
	case KindElement:
		return c.setElement(text, key, uri)
	default:
		return nil, fail(CodeInvalidArg, "unknown metadata type '%d'", k)
	}
	return &c, nil
}

func (n *Network) setElement(text *string, key, uri string) (*Network, error) {
	m := &node{name: "metadata"}
	if n.metadata != nil {
		old := *n.metadata
		m = &old
	}
	m.children = slices.DeleteFunc(slices.Clone(m.children), func(c *node) bool { return c.space == uri })
	if text != nil {
		root, err := read(*text, "")
		if err != nil {
			return nil, err
		}
		if !ncName.MatchString(key) {
			return nil, failFrom(DomainXML, CodeInternal, "failed to validate prefix for a new XML namespace")
		}
		for _, d := range root.decls {
			if d.name == key {
				return nil, failFrom(DomainXML, CodeInternal, "failed to create a new XML namespace")
			}
		}
		root.decls = append(root.decls, attribute{name: key, value: uri})
		root.within(key, uri)
		root.parent = m
		m.children = append(m.children, root)
	}
	if n.metadata = m; len(m.children) == 0 {
		n.metadata = nil
	}
	return n, nil
}

// within puts the elements that have no name space into one.
func (n *node) within(key, uri string) {
	if n.kind == elementNode && n.space == "" {
		n.prefix, n.space = key, uri
	}
	for _, c := range n.children {
		c.within(key, uri)
	}
}
