package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
)

// The YAML that is shown is written here and not by a library: keys keep their
// order, and what a guest may have put into a name never reaches the terminal
// as a control character. Reading is the library's.

// toYAML writes a JSON value as YAML.
func toYAML(raw json.RawMessage) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	w := &yamlWriter{d: d}
	if err := w.value(0, false); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("there is something behind the value")
	}
	return bytes.TrimLeft(w.out.Bytes(), "\n "), nil
}

// yamlWriter turns the tokens of a JSON document into block YAML.
type yamlWriter struct {
	d   *json.Decoder
	out bytes.Buffer
}

// value writes the next value. Behind a key or a dash (inline) a scalar stays
// on its line; in a list the first key of an object does, too.
func (w *yamlWriter) value(indent int, item bool) error {
	t, err := w.d.Token()
	if err != nil {
		return err
	}
	switch t := t.(type) {
	case json.Delim:
		if !w.d.More() {
			fmt.Fprintf(&w.out, " %v%v\n", t, map[json.Delim]string{'{': "}", '[': "]"}[t])
		} else if t == '{' {
			err = w.object(indent, item)
		} else {
			err = w.list(indent)
		}
		if err == nil {
			_, err = w.d.Token() // the closing one
		}
		return err
	case string:
		fmt.Fprintf(&w.out, " %s\n", yamlString(t))
	case nil:
		w.out.WriteString(" null\n")
	default: // a number or a boolean, which look the same
		fmt.Fprintf(&w.out, " %v\n", t)
	}
	return nil
}

func (w *yamlWriter) object(indent int, item bool) error {
	if !item {
		w.out.WriteByte('\n')
	}
	for first := true; w.d.More(); first = false {
		key, err := w.d.Token()
		if err != nil {
			return err
		}
		if item && first {
			w.out.WriteByte(' ') // behind the dash
		} else {
			w.out.WriteString(strings.Repeat(" ", indent))
		}
		w.out.WriteString(yamlString(key.(string)) + ":")
		if err := w.value(indent+2, false); err != nil {
			return err
		}
	}
	return nil
}

func (w *yamlWriter) list(indent int) error {
	// A list stands below its key without further indent.
	indent = max(indent-2, 0)
	w.out.WriteByte('\n')
	for w.d.More() {
		w.out.WriteString(strings.Repeat(" ", indent) + "-")
		if err := w.value(indent+2, true); err != nil {
			return err
		}
	}
	return nil
}

var (
	// plain is a string that needs no quotes, unless it looks like something
	// else.
	plain = regexp.MustCompile(`^[\pL/_][\pL\pN /_.:;,()=+-]*$|^[0-9][\pL\pN/_.:-]*[.:/-][\pL\pN/_.:-]*$|^[0-9a-f:]+(/[0-9]+)?$|^[0-9]+(ns|us|ms|s|m|h)([0-9]+[smh])*$`)
	// other is what YAML 1.1 or 1.2 takes for a number, a date or a word with
	// a meaning.
	other = regexp.MustCompile(`(?i)^(y|yes|n|no|true|false|on|off|null|[-+]?[0-9._]+(e[-+]?[0-9]+)?|0[xob][0-9a-f_]+|[0-9]+(:[0-9]+)+(\.[0-9]*)?|[0-9]{4}-[0-9].*)$`)
)

// yamlString writes a string plain where that is safe, else as a JSON string,
// which is YAML as well.
func yamlString(s string) string {
	if plain.MatchString(s) && !other.MatchString(s) && !strings.Contains(s, ": ") && !strings.HasSuffix(s, ":") && !strings.HasSuffix(s, " ") {
		return s
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always encodes
	var out strings.Builder
	for _, r := range strings.TrimSuffix(b.String(), "\n") {
		if r >= 0x7f && r < 0xa0 { // C1 controls, which JSON does not escape
			fmt.Fprintf(&out, `\u%04x`, r)
			continue
		}
		out.WriteRune(r)
	}
	return out.String()
}

// fromYAML reads YAML into JSON.
func fromYAML(text []byte) (json.RawMessage, error) {
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		return nil, err
	}
	return json.Marshal(v)
}
