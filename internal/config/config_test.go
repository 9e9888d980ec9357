package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"pgregory.net/rapid"

	"github.com/sextant-net/sextant/internal/vnet"
)

// TestReference: the documented file names every key with its default.
func TestReference(t *testing.T) {
	file := filepath.Join("..", "..", "docs", "sextant.toml")
	c, err := Read(file, false)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Default(), c); diff != "" {
		t.Errorf("reference is not the defaults (-default +reference):\n%s", diff)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys() {
		last := key[strings.LastIndexByte(key, '.')+1:]
		if !strings.Contains(string(text), "\n"+last+" = ") && !strings.Contains(string(text), "\n["+key+"]\n") {
			t.Errorf("the reference does not have %s", key)
		}
	}
}

func TestParsePrint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.String()
		want := Config{
			StateDir: word.Draw(t, "state"), RunDir: word.Draw(t, "run"), Host: word.Draw(t, "host"),
			DefaultNetwork: rapid.Bool().Draw(t, "default"), LogLevel: word.Draw(t, "level"),
			Store: Store{
				Endpoints: append([]string{}, rapid.SliceOf(word).Draw(t, "endpoints")...),
				CA:        word.Draw(t, "ca"), Cert: word.Draw(t, "cert"), Key: word.Draw(t, "key"),
			},
		}
		text, err := want.Print()
		if err != nil {
			t.Fatal(err)
		}
		got, err := Parse(text)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s\n%s", diff, text)
		}
	})
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"state_dir = '/x'":             "state_dir: there is no such key; did you mean state-dir?",
		"[store]\nendpoint = []":       "store.endpoint: there is no such key; did you mean store.endpoints?",
		"endpoints = ['http://[::1]']": "endpoints: there is no such key; did you mean store.endpoints?",
		"zzz = 1":                      "zzz: there is no such key",
		"host = 7":                     `line 1 (last key "host")`,
		"host = 'a":                    "line 1",
		"host = 'a'\nhost = 'b'":       "line 2",
	} {
		_, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
		if !vnet.Is(err, vnet.ErrInvalid) {
			t.Errorf("%q: kind %v", text, vnet.KindOf(err))
		}
	}
}

func TestValidate(t *testing.T) {
	good := Default()
	good.Host = "node-1.example"
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*Config){
		"state-dir: ":                     func(c *Config) { c.StateDir = "var" },
		"run-dir: 92 bytes":               func(c *Config) { c.RunDir = "/" + strings.Repeat("x", 91) },
		`host: "a/b"`:                     func(c *Config) { c.Host = "a/b" },
		`host: ""`:                        func(c *Config) { c.Host = "" },
		"log-level: ":                     func(c *Config) { c.LogLevel = "loud" },
		"store.endpoints: \"[::1]:2379\"": func(c *Config) { c.Store.Endpoints = []string{"[::1]:2379"} },
		"store.endpoints: \"http://\"":    func(c *Config) { c.Store.Endpoints = []string{"http://"} },
		"is not encrypted":                func(c *Config) { c.Store = Store{Endpoints: []string{"http://a:1"}, CA: "x"} },
		"certificates are for":            func(c *Config) { c.Store.CA = "x" },
		"store.key: ":                     func(c *Config) { c.Store = Store{Endpoints: []string{"https://a:1"}, Cert: "x"} },
	} {
		c := good
		spoil(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func load(t *testing.T, args ...string) (Config, error) {
	t.Helper()
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	f := AddFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return f.Load()
}

func TestFlagsWin(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sextant.toml")
	if err := os.WriteFile(file, []byte("run-dir = '/run/file'\nstate-dir = '/file'\ndefault-network = false\nhost = 'h'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := load(t, "--config", file, "--state-dir=/flag", "--store=http://[::1]:2379,http://[::2]:2379")
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.StateDir, want.RunDir, want.Host, want.DefaultNetwork = "/flag", "/run/file", "h", false
	want.Store.Endpoints = []string{"http://[::1]:2379", "http://[::2]:2379"}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
	again, err := load(t, c.Args()...)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, again); diff != "" {
		t.Errorf("Args lose: %s", diff)
	}
}

func TestMissingFile(t *testing.T) {
	if _, err := load(t, "--config", filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that was asked for may be missing")
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none"), true); err != nil {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("host = 'a'")
	f.Add("[store]\nendpoints = ['x']")
	f.Add("a.b.c = {d = 1}")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse(text)
		if err != nil {
			return
		}
		_ = c.Validate()
		again, err := c.Print()
		if err != nil {
			t.Fatal(err)
		}
		back, err := Parse(again)
		if err != nil || !cmp.Equal(c, back) {
			t.Errorf("%v: %s", err, cmp.Diff(c, back))
		}
	})
}
