package xml

import (
	"fmt"
	"strings"
)

// printer writes a document as libvirt's virBuffer does: two blanks for each
// level, values in single quotes.
type printer struct {
	b      strings.Builder
	indent int
}

// line writes one line.
func (p *printer) line(format string, args ...any) {
	p.b.WriteString(strings.Repeat(" ", p.indent))
	fmt.Fprintf(&p.b, format+"\n", args...)
}

// block writes a start tag, what the function writes, one level deeper, and
// the end tag.
func (p *printer) block(name, attrs string, inside func()) {
	p.line("<%s%s>", name, attrs)
	p.indent += 2
	inside()
	p.indent -= 2
	p.line("</%s>", name)
}

// attr is an attribute with a blank in front, nothing if there is no value.
func attr(name string, value *string) string {
	if value == nil {
		return ""
	}
	return " " + name + "='" + escape(*value) + "'"
}

// some is attr for a value that is absent when it is empty.
func some[T ~string](name string, value T) string {
	if value == "" {
		return ""
	}
	s := string(value)
	return attr(name, &s)
}

// some32 is some for a number.
func some32(name string, value uint32) string {
	if value == 0 {
		return ""
	}
	return fmt.Sprintf(" %s='%d'", name, value)
}

var escaper = strings.NewReplacer("<", "&lt;", ">", "&gt;", "&", "&amp;", `"`, "&quot;", "'", "&apos;")

// escape writes the five letters that XML reserves as entities and leaves
// control characters out (virBufferEscapeString).
func escape(s string) string {
	return escaper.Replace(strings.Map(func(r rune) rune {
		if r < 0x1a && r != '\t' && r != '\n' && r != '\r' {
			return -1
		}
		return r
	}, s))
}
