package xml

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// seed adds all files of a directory.
func seed(f *testing.F, dir string, add func(text string)) {
	f.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*"))
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		if ext := filepath.Ext(name); ext != ".xml" && ext != ".txtar" {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		add(string(b))
	}
}

// refused checks that an error is one that a client can be told.
func refused(t *testing.T, err error) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Code == 0 || e.Text == "" {
		t.Fatalf("%T: %v", err, err)
	}
}

// stable checks that what is printed is read, and printed the same.
func stable(t *testing.T, n *Network) {
	t.Helper()
	once := n.Print(true)
	again, err := Parse(once)
	if err != nil {
		t.Fatalf("%v\n%s", err, once)
	}
	if twice := again.Print(true); twice != once && !fades.MatchString(once) {
		t.Fatalf("printed\n%s\nread and printed\n%s", once, twice)
	}
}

func FuzzParse(f *testing.F) {
	for _, dir := range []string{"define", "start", "translate"} {
		seed(f, dir, func(text string) { f.Add(text) })
	}
	f.Fuzz(func(t *testing.T, text string) {
		n, err := define(text)
		if err != nil {
			refused(t, err)
			return
		}
		stable(t, n)
		o, err := n.Objects()
		if err != nil {
			refused(t, err)
			return
		}
		same, err := Definition(o, n)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := n.Print(true), same.Print(true); a != b {
			t.Fatalf("unchanged, and not as it was:\n%s\n%s", a, b)
		}
		if _, err := Definition(o, nil); err != nil {
			refused(t, err)
		}
	})
}

func FuzzParsePort(f *testing.F) {
	seed(f, "port", func(text string) { f.Add(text) })
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePort(text)
		if err != nil {
			refused(t, err)
			return
		}
		once := p.Print()
		again, err := ParsePort(once)
		if err != nil {
			t.Fatalf("%v\n%s", err, once)
		}
		if twice := again.Print(); twice != once && !fades.MatchString(once) {
			t.Fatalf("printed\n%s\nread and printed\n%s", once, twice)
		}
	})
}

func FuzzUpdated(f *testing.F) {
	seed(f, "update", func(text string) {
		a := txtar.Parse([]byte(text))
		for _, p := range a.Files {
			var command, section uint32
			var index int
			if _, err := fmt.Sscan(p.Name, &command, &section, &index); err != nil {
				f.Fatal(err)
			}
			f.Add(string(a.Comment), command, section, index, string(p.Data))
		}
	})
	f.Fuzz(func(t *testing.T, def string, command, section uint32, index int, text string) {
		n, err := define(def)
		if err != nil {
			return
		}
		before := n.Print(true)
		c, err := n.Updated(Update{Command(command), Section(section), index, text}, true)
		if n.Print(true) != before {
			t.Fatal("what is updated was changed itself")
		}
		if err != nil {
			refused(t, err)
			return
		}
		stable(t, c)
	})
}
