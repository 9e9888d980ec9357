package xml

import (
	stdxml "encoding/xml"
	"errors"
	"fmt"
	"strings"
)

// line returns the number of the line of an offset.
func (r *reader) line(offset int) int { return 1 + strings.Count(r.source[:offset], "\n") }

// nextLine is line for offsets that grow.
func (r *reader) nextLine(offset int) int {
	r.lines += strings.Count(r.source[r.counted:offset], "\n")
	r.counted = offset
	return 1 + r.lines
}

// malformed is libvirt's error for a document that is not well formed: what is
// wrong, the line, and an arrow below the place (catchXMLError in virxml.c).
func (r *reader) malformed(offset int, format string, args ...any) error {
	begin := offset
	for begin > 0 && begin < len(r.source) && strings.ContainsRune("\r\n", rune(r.source[begin])) {
		begin--
	}
	begin = 1 + strings.LastIndexAny(r.source[:min(begin+1, len(r.source))], "\r\n")
	text := r.source[begin:]
	if i := strings.IndexAny(text, "\r\n"); i >= 0 {
		text = text[:i]
	}
	arrow := strings.Map(func(c rune) rune {
		if c == '\t' {
			return c
		}
		return '-'
	}, asciiOnly(text[:max(0, min(offset-begin, len(text)))])) + "^"
	if text == "" {
		text = "(null)" // as C prints it
	}
	return fail(CodeXMLDetail, "at line %d: %s\n%s\n%s", r.line(offset), fmt.Sprintf(format, args...), text, arrow)
}

// asciiOnly has one letter for each byte, as the arrow counts.
func asciiOnly(s string) string {
	b := []byte(s)
	for i := range b {
		if b[i] >= 0x80 {
			b[i] = '-'
		}
	}
	return string(b)
}

// syntax is the error for what encoding/xml could not read. Its words are that
// package's where libxml2 has others for each of many cases; the number, the
// line and the arrow are libvirt's.
func (r *reader) syntax(err error, start int) error {
	text := err.Error()
	var s *stdxml.SyntaxError
	if errors.As(err, &s) {
		text = s.Msg
	}
	end := min(int(r.dec.InputOffset()), len(r.source))
	switch name := startTag(r.source[start:]); {
	case text == "unexpected EOF" && name != "":
		return r.malformed(end, "Couldn't find end of Start Tag %s line %d", name, r.line(start))
	case text == "unexpected EOF" && r.at != nil && start == len(r.source):
		return r.malformed(end, "Premature end of data in tag %s line %d", r.at.fullName(), r.at.line)
	case r.root == nil && !strings.HasPrefix(strings.TrimLeft(r.source, " \t\r\n"), "<"):
		return r.malformed(start, "Start tag expected, '<' not found")
	case r.at == nil && r.root != nil:
		return r.malformed(start, "Extra content at the end of the document")
	}
	return r.malformed(end, "%s", text)
}

// startTag is the name of the tag that s begins with, "" if there is none.
func startTag(s string) string {
	s, ok := strings.CutPrefix(s, "<")
	if i := strings.IndexAny(s, " \t\r\n/>="); i >= 0 {
		s = s[:i]
	}
	if !ok || s == "" || strings.ContainsAny(s[:1], "!?") {
		return ""
	}
	return s
}
