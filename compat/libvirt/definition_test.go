package libvirt

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

// The definitions and libvirtd's answers are kept beside our own parser, whose
// test reads the same answers: so both are held to one text, and neither needs
// the other.
const testdata = "../../internal/dialect/libvirt/xml/testdata"

var record = flag.Bool("record", false, "keep libvirtd's answers instead of comparing them")

// TestDefinitions asks the real libvirtd what it makes of every definition,
// change and port that our dialect is tested with.
func TestDefinitions(t *testing.T) {
	if testing.Short() {
		t.Skip("libvirtd is not for short runs")
	}
	c := libvirtd(t)
	for _, kind := range []struct {
		dir string
		ask func(*client, string) (string, error)
	}{{"define", askDefine}, {"start", askStart}, {"update", askUpdate}, {"port", askPort}, {"allocate", askAllocate}} {
		files, err := filepath.Glob(filepath.Join(testdata, kind.dir, "*.*"))
		if err != nil {
			t.Fatal(err)
		}
		asked := 0
		for _, f := range files {
			ext := filepath.Ext(f)
			if ext != ".xml" && ext != ".txtar" {
				continue
			}
			asked++
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got, err := kind.ask(c, string(text))
			if err != nil {
				t.Fatalf("%s: %v", f, err)
			}
			compare(t, strings.TrimSuffix(f, ext)+".out", settle(got, string(text)))
		}
		if asked == 0 {
			t.Errorf("nothing in %s", kind.dir)
		}
	}
}

func compare(t *testing.T, file, got string) {
	t.Helper()
	if *record {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Error(err)
	} else if string(want) != got {
		t.Errorf("%s: libvirtd says\n%s\nand it is written\n%s", filepath.Base(file), got, want)
	}
}

var (
	saysMAC  = regexp.MustCompile(`<mac address='[^']`)
	madeUUID = regexp.MustCompile(`<uuid>[0-9a-f-]{36}</uuid>`)
	madeMAC  = regexp.MustCompile(`<mac address='[0-9a-f:]{17}'/>`)
)

// settle writes words for what libvirtd makes up.
func settle(out, in string) string {
	if !strings.Contains(in, "<uuid>") {
		out = madeUUID.ReplaceAllString(out, "<uuid>UUID</uuid>")
	}
	if !saysMAC.MatchString(in) {
		out = madeMAC.ReplaceAllString(out, "<mac address='MAC'/>")
	}
	return out
}

// answer is what is written down of a call: the text, or the error.
func answer(text string, err error) (string, error) {
	if f := (*fault)(nil); errors.As(err, &f) {
		return f.Error() + "\n", nil
	}
	return text, err
}

func askDefine(c *client, xml string) (string, error) {
	n, err := c.define(xml)
	if err != nil {
		return answer("", err)
	}
	text, err := c.xml(n, inactive)
	return text, errors.Join(err, c.undefine(n))
}

// askStart also starts the network: both forms are written down.
func askStart(c *client, xml string) (string, error) {
	n, err := c.define(xml)
	if err != nil {
		return "", err
	}
	if _, err := c.call(procStart, args(n)); err != nil {
		return "", errors.Join(err, c.undefine(n))
	}
	def, err := c.xml(n, inactive)
	live, err2 := c.xml(n, 0)
	return def + "running:\n" + live, errors.Join(err, err2, c.undefine(n))
}

// askUpdate applies changes one after the other: each is a part of the archive,
// named COMMAND SECTION INDEX, behind the definition.
func askUpdate(c *client, archive string) (string, error) {
	a := txtar.Parse([]byte(archive))
	n, err := c.define(string(a.Comment))
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for _, f := range a.Files {
		var command, section uint32
		var index int32
		if _, err := fmt.Sscan(f.Name, &command, &section, &index); err != nil {
			return "", fmt.Errorf("%s: %w", f.Name, err)
		}
		_, err := c.call(procUpdate, args(n).num(command).num(section).num(uint32(index)).text(string(f.Data)).num(2))
		text, err := answer("ok\n", err)
		if err != nil {
			return "", err
		}
		out.WriteString(text)
	}
	text, err := c.xml(n, inactive)
	return out.String() + text, errors.Join(err, c.undefine(n))
}

// portNetworks are what ports are made on, by the type of their plug.
var portNetworks = map[string]string{
	"bridge":  `<network><name>ports</name><forward mode='bridge'/><bridge name='outside'/></network>`,
	"direct":  `<network><name>ports</name><forward mode='bridge'><interface dev='uplink0'/></forward></network>`,
	"network": `<network><name>ports</name><bridge name='virbr9' stp='off'/></network>`,
}

// askPort has libvirtd take a port back, as after its restart, and prints it.
func askPort(c *client, xml string) (string, error) {
	def := portNetworks["bridge"]
	for kind, d := range portNetworks {
		if strings.Contains(xml, "type='"+kind+"'") {
			def = d
		}
	}
	n, err := c.define(def)
	if err != nil {
		return "", err
	}
	if _, err := c.call(procStart, args(n)); err != nil {
		return "", errors.Join(err, c.undefine(n))
	}
	port, err := c.call(procPortCreate, args(n).text(xml).num(reclaim))
	if err != nil {
		text, err := answer("", err)
		return text, errors.Join(err, c.undefine(n))
	}
	b, err := c.call(procPortXML, args(port).num(0))
	text := ""
	if err == nil {
		text, _ = readText(b)
	}
	_, err2 := c.call(procPortDelete, args(port).num(0))
	return text, errors.Join(err, err2, c.undefine(n))
}

// askAllocate makes the ports of an archive, those named reclaim as after a
// restart, and writes down each and the network with all of them.
func askAllocate(c *client, archive string) (string, error) {
	a := txtar.Parse([]byte(archive))
	n, err := c.define(string(a.Comment))
	if err != nil {
		return "", err
	}
	if _, err := c.call(procStart, args(n)); err != nil {
		return "", errors.Join(err, c.undefine(n))
	}
	var out strings.Builder
	var ports [][]byte
	for _, f := range a.Files {
		flags := uint32(0)
		if f.Name == "reclaim" {
			flags = reclaim
		}
		text := ""
		port, err := c.call(procPortCreate, args(n).text(string(f.Data)).num(flags))
		if err == nil {
			ports = append(ports, port)
			var b []byte
			if b, err = c.call(procPortXML, args(port).num(0)); err == nil {
				text, _ = readText(b)
			}
		}
		if text, err = answer(text, err); err != nil {
			return "", err
		}
		out.WriteString(text)
	}
	live, err := c.xml(n, 0)
	for _, p := range ports {
		_, err2 := c.call(procPortDelete, args(p).num(0))
		err = errors.Join(err, err2)
	}
	return out.String() + live, errors.Join(err, c.undefine(n))
}
