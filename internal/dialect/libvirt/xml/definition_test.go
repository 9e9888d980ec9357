package xml

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// testHost is the host on which libvirtd gave its answers: compat/libvirt.
type testHost struct{}

func (testHost) BridgeInUse(string, string) bool { return false }
func (testHost) DeviceExists(name string) bool {
	return name == "uplink0" || name == "outside" || name == "uplink1"
}
func (testHost) VirtualFunction(string) bool { return false }

var keep = flag.Bool("ours", false, "write down what is ours where it differs; read it before it is committed")

// TestDefinitions compares what we make of definitions, changes and ports with
// what libvirtd 9.0 made of them (compat/libvirt has the real one say so). A
// file NAME.ours beside its answer NAME.out is ours where we differ, as libvirt
// 11 does or for a reason; DESIGN.md lists them.
func TestDefinitions(t *testing.T) {
	for _, kind := range []struct {
		dir   string
		least int
		ask   func(*testing.T, string) string
	}{{"define", 300, askDefine}, {"start", 5, askStart}, {"update", 10, askUpdate}, {"port", 20, askPort}, {"allocate", 6, askAllocate}} {
		files, err := filepath.Glob(filepath.Join("testdata", kind.dir, "*.out"))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) < kind.least {
			t.Errorf("%d answers in %s", len(files), kind.dir)
		}
		for _, f := range files {
			base := strings.TrimSuffix(f, ".out")
			t.Run(kind.dir+"/"+filepath.Base(base), func(t *testing.T) {
				ext := ".xml"
				if kind.dir == "update" || kind.dir == "allocate" {
					ext = ".txtar"
				}
				in := readFile(t, base+ext)
				got := settle(kind.ask(t, in), in)
				if want := wanted(t, base); got != want && *keep {
					if err := os.WriteFile(base+".ours", []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				} else if got != want {
					t.Errorf("of\n%s\nwe say\n%s\nwant\n%s", in, got, want)
				}
			})
		}
	}
}

func readFile(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// place is how libvirt 9 names the line of a fault; 11 leaves the name out.
var place = regexp.MustCompile(`(?m)^\(?network\w+\)?:(\d+): `)

// wanted is what we are to say.
func wanted(t *testing.T, base string) string {
	t.Helper()
	theirs := place.ReplaceAllString(readFile(t, base+".out"), "at line $1: ")
	b, err := os.ReadFile(base + ".ours")
	if errors.Is(err, os.ErrNotExist) {
		return theirs
	}
	if err != nil {
		t.Fatal(err)
	}
	if string(b) == theirs {
		t.Error("the two answers do not differ")
	}
	return string(b)
}

var (
	saysMAC  = regexp.MustCompile(`<mac address='[^']`)
	madeUUID = regexp.MustCompile(`<uuid>[0-9a-f-]{36}</uuid>`)
	madeMAC  = regexp.MustCompile(`<mac address='[0-9a-f:]{17}'/>`)
)

// settle writes words for what is made up.
func settle(out, in string) string {
	if !strings.Contains(in, "<uuid>") {
		out = madeUUID.ReplaceAllString(out, "<uuid>UUID</uuid>")
	}
	if !saysMAC.MatchString(in) {
		out = madeMAC.ReplaceAllString(out, "<mac address='MAC'/>")
	}
	return out
}

// answer is the text, or the error with its numbers.
func answer(t *testing.T, text string, err error) string {
	t.Helper()
	if err == nil {
		return text
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%T: %v", err, err)
	}
	return fmt.Sprintf("error %d %d\n%s\n", e.Code, e.Domain, e.Text)
}

func define(text string) (*Network, error) {
	n, err := Parse(text)
	if err == nil {
		err = n.Validate(testHost{})
	}
	return n, err
}

// fades is what libvirt prints and does not read back, either.
var fades = regexp.MustCompile(`<metadata[^>]*/>|<bandwidth>\n *</bandwidth>`)

func askDefine(t *testing.T, text string) string {
	n, err := define(text)
	if err != nil {
		return answer(t, "", err)
	}
	once := n.Print(true)
	again, err := define(once)
	if err != nil {
		t.Errorf("what was printed is refused: %v\n%s", err, once)
	} else if twice := again.Print(true); twice != once && !fades.MatchString(once) {
		t.Errorf("printed\n%s\nread and printed\n%s", once, twice)
	}
	return once
}

func askStart(t *testing.T, text string) string {
	n, err := define(text)
	if err != nil {
		t.Fatal(err)
	}
	return n.Print(true) + "running:\n" + n.Running().Print(false)
}

func askUpdate(t *testing.T, archive string) string {
	a := txtar.Parse([]byte(archive))
	n, err := define(string(a.Comment))
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for _, f := range a.Files {
		u := Update{XML: string(f.Data)}
		if _, err := fmt.Sscan(f.Name, &u.Command, &u.Section, &u.Index); err != nil {
			t.Fatal(err)
		}
		changed, err := n.Updated(u, true)
		if err == nil {
			n = changed
		}
		out.WriteString(answer(t, "ok\n", err))
	}
	return out.String() + n.Print(true)
}

func askPort(t *testing.T, text string) string {
	p, err := ParsePort(text)
	if err == nil && p.Plug.Type == "" {
		err = failFrom(DomainNetwork, CodeInvalidArg, "Port reclaim requested but plug type is none")
	}
	if err != nil {
		return answer(t, "", err)
	}
	once := p.Print()
	again, err := ParsePort(once)
	if err != nil || again.Print() != once {
		t.Errorf("read again: %v", err)
	}
	return once
}

// askAllocate makes the ports of an archive on a network that runs: those named
// reclaim are taken back, and of two with one UUID the second is not asked for.
func askAllocate(t *testing.T, archive string) string {
	a := txtar.Parse([]byte(archive))
	n, err := define(string(a.Comment))
	if err != nil {
		t.Fatal(err)
	}
	n = n.Running()
	var out strings.Builder
	var ports []*Port
	for _, f := range a.Files {
		p, err := ParsePort(string(f.Data))
		if err == nil && f.Name == "reclaim" {
			err = n.Reclaim(p)
		} else if err == nil {
			err = n.Allocate(p)
		}
		text := ""
		if err == nil {
			ports = append(ports, p)
			text = p.Print()
		}
		out.WriteString(answer(t, text, err))
	}
	out.WriteString(n.Print(false))
	for _, p := range ports {
		n.Release(p)
	}
	if text := n.Print(false); strings.Contains(text, "connections=") {
		t.Errorf("all ports are gone:\n%s", text)
	}
	return out.String()
}
