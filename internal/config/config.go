// Package config reads sextant.toml, the settings of the daemon on one host.
// Everything has a default that works; command-line flags win over the file.
// What networks there are is not configuration: that is in the store.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/sextant-net/sextant/internal/vnet"
)

// DefaultFile is read if it is there.
const DefaultFile = "/etc/sextant/sextant.toml"

// Config is the settings of one host's daemon.
type Config struct {
	// StateDir holds what outlives a boot: the embedded store, the agent's
	// snapshot. An absolute path.
	StateDir string `toml:"state-dir"`
	// RunDir holds sockets and locks. An absolute path, at most 90 bytes.
	RunDir string `toml:"run-dir"`
	// Host is this host's name within the installation.
	Host string `toml:"host"`
	// DefaultNetwork: make the network "default" on a new installation.
	DefaultNetwork bool `toml:"default-network"`
	// LogLevel is debug, info, warn or error.
	LogLevel string `toml:"log-level"`
	Store    Store  `toml:"store"`
}

// Store says where the truth is kept.
type Store struct {
	// Endpoints are the URLs of an etcd cluster; empty: embedded.
	Endpoints []string `toml:"endpoints"`
	// CA, Cert and Key are files in PEM form for https endpoints.
	CA   string `toml:"ca"`
	Cert string `toml:"cert"`
	Key  string `toml:"key"`
}

// Embedded reports whether the store runs inside the control process.
func (s Store) Embedded() bool { return len(s.Endpoints) == 0 }

// Default returns the settings that hold where none are given. Host is empty:
// Load fills in the machine's own name.
func Default() Config {
	return Config{
		StateDir:       "/var/lib/sextant",
		RunDir:         "/run/sextant",
		DefaultNetwork: true,
		LogLevel:       "info",
		Store:          Store{Endpoints: []string{}},
	}
}

// Parse reads the text of a file over the defaults. A key that does not exist
// is an error that names the nearest one that does. The result is not yet
// validated.
func Parse(text string) (Config, error) {
	c := Default()
	meta, err := toml.Decode(text, &c)
	if err != nil {
		var p toml.ParseError
		if errors.As(err, &p) {
			return Config{}, vnet.Invalid(p.LastKey, "line %d: %s", p.Position.Line, p.Message)
		}
		return Config{}, vnet.Invalid("", "%s", strings.TrimPrefix(err.Error(), "toml: "))
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		key := unknown[0].String()
		e := vnet.Invalid(key, "there is no such key")
		if near := nearest(key, keys()); near != "" {
			e = e.WithHint("did you mean %s?", near)
		}
		return Config{}, e
	}
	if c.Store.Endpoints == nil {
		c.Store.Endpoints = []string{}
	}
	return c, nil
}

// Print returns the text of a file that says the same.
func (c Config) Print() (string, error) {
	var b bytes.Buffer
	e := toml.NewEncoder(&b)
	e.Indent = ""
	if err := e.Encode(c); err != nil {
		return "", fmt.Errorf("print configuration: %w", err)
	}
	return b.String(), nil
}

// Read reads the file over the defaults. A missing file is an error unless
// optional.
func Read(file string, optional bool) (Config, error) {
	text, err := os.ReadFile(file)
	if optional && errors.Is(err, fs.ErrNotExist) {
		return Default(), nil
	}
	if err != nil {
		return Config{}, vnet.Invalid("config", "%v", err)
	}
	c, err := Parse(string(text))
	var e *vnet.Error
	if errors.As(err, &e) {
		e.Op = file
	}
	return c, err
}

// hostName: what is safe in keys, in DNS and on a command line.
var hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9])?$`)

// maxRunDir leaves room for the names of sockets within the 108 bytes of
// unix(7).
const maxRunDir = 90

// Validate returns the first thing that is wrong.
func (c Config) Validate() error {
	for _, d := range []struct{ key, path string }{{"state-dir", c.StateDir}, {"run-dir", c.RunDir}} {
		if !filepath.IsAbs(d.path) {
			return vnet.Invalid(d.key, "%q is not an absolute path", d.path)
		}
	}
	if len(c.RunDir) > maxRunDir {
		return vnet.Invalid("run-dir", "%d bytes are too long for sockets in it", len(c.RunDir)).
			WithHint("at most %d", maxRunDir)
	}
	if !hostName.MatchString(c.Host) {
		return vnet.Invalid("host", "%q is no host name", c.Host).WithHint("letters, digits, dots and hyphens, at most 253")
	}
	if !slices.Contains(logLevels, c.LogLevel) {
		return vnet.Invalid("log-level", "%q is no level", c.LogLevel).WithHint("say %s", strings.Join(logLevels, ", "))
	}
	return c.Store.validate()
}

var logLevels = []string{"debug", "info", "warn", "error"}

func (s Store) validate() error {
	tls := s.CA != "" || s.Cert != "" || s.Key != ""
	for _, e := range s.Endpoints {
		u, err := url.Parse(e)
		if err != nil {
			return vnet.Invalid("store.endpoints", "%q: %v", e, err)
		}
		switch u.Scheme {
		case "https":
		case "http", "unix":
			if tls {
				return vnet.Invalid("store.endpoints", "%q is not encrypted, and certificates are given", e).WithHint("say https://…")
			}
		default:
			return vnet.Invalid("store.endpoints", "%q has no scheme that etcd speaks", e).
				WithHint("for example https://[2001:db8::1]:2379")
		}
		if u.Host == "" && u.Path == "" {
			return vnet.Invalid("store.endpoints", "%q names no host", e)
		}
	}
	if tls && s.Embedded() {
		return vnet.Invalid("store.ca", "certificates are for an external store, and there are no endpoints")
	}
	if (s.Cert == "") != (s.Key == "") {
		return vnet.Invalid("store.key", "cert and key go together")
	}
	return nil
}
