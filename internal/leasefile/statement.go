package leasefile

import (
	"errors"
	"io"
	"strings"

	"github.com/sextant-net/sextant/internal/vnet"
)

// word is a word or a quoted string of dhcpd.conf(5)'s language.
type word struct {
	text   string // without quotes and escapes
	quoted bool
}

// maxWords bounds a statement; longer ones lose their end, which the few that
// matter do not have.
const maxWords = 32

// statement is what stands before a ";", "{" or "}", which is its end.
type statement struct {
	line  int // where it ends
	words []word
	end   byte
}

// is reports whether the statement begins with these words.
func (s statement) is(words ...string) bool {
	if len(s.words) < len(words) {
		return false
	}
	for i, w := range words {
		if s.words[i].quoted || !strings.EqualFold(s.words[i].text, w) {
			return false
		}
	}
	return true
}

// at returns the text of a word, "" if there are not so many.
func (s statement) at(i int) string {
	if i >= len(s.words) {
		return ""
	}
	return s.words[i].text
}

// statements splits lines into statements.
type statements struct {
	lines *lineReader
	rest  string // of the current line
}

// next returns the next statement, io.EOF after the last. What stands after
// the last end is lost.
func (s *statements) next() (statement, error) {
	var out statement
	for {
		s.rest = strings.TrimLeft(s.rest, " \t\r\n\f\v\x00")
		if s.rest == "" || s.rest[0] == '#' {
			line, err := s.lines.next()
			if err != nil {
				return out, err
			}
			s.rest = line
			continue
		}
		out.line = s.lines.n
		switch c := s.rest[0]; c {
		case ';', '{', '}':
			s.rest = s.rest[1:]
			out.end = c
			return out, nil
		default:
			w := s.word()
			if len(out.words) < maxWords {
				out.words = append(out.words, w)
			}
		}
	}
}

// word takes the first word of the line.
func (s *statements) word() word {
	if s.rest[0] != '"' {
		n := strings.IndexAny(s.rest, " \t\r\n\f\v\x00;{}\"#")
		if n < 0 {
			n = len(s.rest)
		}
		w := word{text: s.rest[:n]}
		s.rest = s.rest[n:]
		return w
	}
	text, n, ok := unquote(s.rest[1:])
	if !ok {
		s.lines.bad(s.lines.n, vnet.Invalid("", "a string has no end"))
	}
	s.rest = s.rest[1+n:]
	return word{text: text, quoted: true}
}

// unquote reads a string up to its closing quote, and returns how much of s it
// took. A backslash stands before one to three octal digits, "x" and one or two
// hex digits, t, r, n, b, or any other character.
func unquote(s string) (text string, n int, ok bool) {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return out.String(), i + 1, true
		case s[i] != '\\' || i+1 == len(s):
			out.WriteByte(s[i])
			continue
		}
		i++
		var b byte
		switch c := s[i]; {
		case c >= '0' && c <= '7':
			first := i
			for ; i < len(s) && i < first+3 && s[i] >= '0' && s[i] <= '7'; i++ {
				b = b<<3 | (s[i] - '0')
			}
			i--
		case c == 'x' && i+1 < len(s) && hexDigit(s[i+1]) >= 0:
			first := i + 1
			for i++; i < len(s) && i < first+2 && hexDigit(s[i]) >= 0; i++ {
				b = b<<4 | byte(hexDigit(s[i]))
			}
			i--
		case strings.IndexByte("trnb", c) >= 0:
			b = "\t\r\n\b"[strings.IndexByte("trnb", c)]
		default:
			b = c
		}
		out.WriteByte(b)
	}
	return out.String(), len(s), false
}

// hexDigit returns the value of a hex digit, -1 for what is none.
func hexDigit(c byte) int {
	if c >= 'A' && c <= 'F' {
		c += 'a' - 'A'
	}
	return strings.IndexByte("0123456789abcdef", c)
}

// block calls f with the statements of a block whose "{" was just read, up to
// its "}"; blocks within it are passed over, unless inner takes them, which
// then reads them up to their end. It returns io.ErrUnexpectedEOF for a block
// that the file ends in.
func (s *statements) block(f func(statement), inner func(statement) (taken bool, err error)) error {
	for depth := 1; ; {
		st, err := s.next()
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		switch st.end {
		case '{':
			if depth == 1 && inner != nil {
				taken, err := inner(st)
				if err != nil {
					return err
				}
				if taken {
					continue
				}
			}
			depth++
		case '}':
			if depth--; depth == 0 {
				return nil
			}
		default:
			if depth == 1 {
				f(st)
			}
		}
	}
}
