package config

import (
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/sextant-net/sextant/internal/vnet"
)

// Flags are the settings on a command line.
type Flags struct {
	set              *pflag.FlagSet
	file             string
	stateDir, runDir string
	host, logLevel   string
	endpoints        []string
	ca, cert, key    string
	noDefaultNetwork bool
}

// AddFlags declares the daemon's flags in fs, which is parsed by the caller
// before Load.
func AddFlags(fs *pflag.FlagSet) *Flags {
	d := Default()
	f := &Flags{set: fs}
	fs.StringVar(&f.file, "config", DefaultFile, "settings file")
	fs.StringVar(&f.stateDir, "state-dir", d.StateDir, "directory of what outlives a boot")
	fs.StringVar(&f.runDir, "run-dir", d.RunDir, "directory of sockets and locks")
	fs.StringVar(&f.host, "host", "", "this host's name in the installation (default: the machine's)")
	fs.StringVar(&f.logLevel, "log-level", d.LogLevel, "debug, info, warn or error")
	fs.StringSliceVar(&f.endpoints, "store", nil, "URLs of an external etcd, with commas (default: embedded)")
	fs.StringVar(&f.ca, "store-ca", "", "certificate authority of the external etcd, a PEM file")
	fs.StringVar(&f.cert, "store-cert", "", "client certificate for the external etcd, a PEM file")
	fs.StringVar(&f.key, "store-key", "", "key of the client certificate, a PEM file")
	fs.BoolVar(&f.noDefaultNetwork, "no-default-network", false, "do not make the network \"default\" on a new installation")
	return f
}

// Load reads the file and lets the flags that were given win. The result is
// valid.
func (f *Flags) Load() (Config, error) {
	c, err := Read(f.file, !f.set.Changed("config"))
	if err != nil {
		return Config{}, err
	}
	for _, s := range []struct {
		flag     string
		from, to *string
	}{
		{"state-dir", &f.stateDir, &c.StateDir}, {"run-dir", &f.runDir, &c.RunDir},
		{"host", &f.host, &c.Host}, {"log-level", &f.logLevel, &c.LogLevel},
		{"store-ca", &f.ca, &c.Store.CA}, {"store-cert", &f.cert, &c.Store.Cert}, {"store-key", &f.key, &c.Store.Key},
	} {
		if f.set.Changed(s.flag) {
			*s.to = *s.from
		}
	}
	if f.set.Changed("store") {
		c.Store.Endpoints = append([]string{}, f.endpoints...)
	}
	if f.set.Changed("no-default-network") {
		c.DefaultNetwork = !f.noDefaultNetwork
	}
	if c.Host == "" {
		if c.Host, err = os.Hostname(); err != nil {
			return Config{}, vnet.Invalid("host", "this machine does not know its name: %v", err)
		}
	}
	return c, c.Validate()
}

// Args returns the flags that make another process of the program load the
// very same settings, whatever its file says.
func (c Config) Args() []string {
	args := []string{
		"--config=" + os.DevNull,
		"--state-dir=" + c.StateDir,
		"--run-dir=" + c.RunDir,
		"--host=" + c.Host,
		"--log-level=" + c.LogLevel,
	}
	if !c.DefaultNetwork {
		args = append(args, "--no-default-network")
	}
	if !c.Store.Embedded() {
		args = append(args, "--store="+strings.Join(c.Store.Endpoints, ","))
	}
	for _, s := range []struct{ flag, file string }{{"ca", c.Store.CA}, {"cert", c.Store.Cert}, {"key", c.Store.Key}} {
		if s.file != "" {
			args = append(args, "--store-"+s.flag+"="+s.file)
		}
	}
	return args
}
