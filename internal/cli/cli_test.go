package cli_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sextant-net/sextant/internal/cli"
	"github.com/sextant-net/sextant/internal/dialect/native"
	"github.com/sextant-net/sextant/internal/vnet"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestMain(m *testing.M) {
	run := func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		if err := cli.Command(cli.Config{Version: "1.2.3"}).ExecuteContext(ctx); err != nil {
			os.Exit(cli.Fail(os.Stderr, err))
		}
	}
	if filepath.Base(os.Args[0]) == "sextant-as-is" {
		run()
		os.Exit(0)
	}
	testscript.Main(m, map[string]func(){"sextant": run})
}

type fakeKey struct{}

// TestScripts runs the commands of testdata as a user types them, against the
// real API over a Unix socket, with a fake behind it.
func TestScripts(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("the API lets only root in")
	}
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			f := native.NewFake()
			f.Slow["slow"] = true
			f.Broken["broken"] = vnet.Errorf(vnet.ErrHost, "nft is missing").WithHint("apt install nftables")
			env.Values[fakeKey{}] = f
			dir, err := os.MkdirTemp("", "sxt-cli-")
			if err != nil {
				return err
			}
			sock := filepath.Join(dir, "api.sock")
			l, err := net.Listen("unix", sock)
			if err != nil {
				return err
			}
			srv := &http.Server{Handler: native.New(native.Config{Verbs: f}), ConnContext: native.ConnContext}
			go func() { _ = srv.Serve(l) }()
			env.Defer(func() {
				_ = srv.Close()
				_ = os.RemoveAll(dir)
			})
			env.Setenv("SEXTANT_SERVER", "unix://"+sock)
			// Anybody may knock: who is let in is the API's to say.
			if err := errors.Join(os.Chmod(dir, 0o755), os.Chmod(sock, 0o777), forAnybody(dir)); err != nil {
				return err
			}
			env.Setenv("PATH", dir+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("SOCKET", sock)
			env.Setenv("TZ", "UTC")
			env.Setenv("TMPDIR", env.WorkDir)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":  exits,
			"leases": leases,
			"follow": follow,
		},
	})
}

// forAnybody puts a copy of the command where every user can run it.
func forAnybody(dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	name := filepath.Join(dir, "sextant-as-is")
	if err := os.Link(self, name); err != nil {
		data, err := os.ReadFile(self)
		if err != nil {
			return err
		}
		return os.WriteFile(name, data, 0o755)
	}
	return os.Chmod(name, 0o755)
}

// exits runs a command that must fail with the code: exits 64 sextant foo.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	var code interface{ ExitCode() int }
	if c, ok := err.(interface{ ExitCode() int }); ok {
		code = c
		got = string(rune('0' + code.ExitCode()%10))
		if n := code.ExitCode(); n > 9 {
			got = string(rune('0'+n/10)) + got
		}
	}
	if got != args[0] {
		ts.Fatalf("exit code is %s, not %s", got, args[0])
	}
}

// leases puts leases of port vm1 on the network of the name.
func leases(ts *testscript.TestScript, _ bool, args []string) {
	f := ts.Value(fakeKey{}).(*native.Fake)
	o, err := f.Get(context.Background(), native.Identity{}, native.Selector{Kind: vnet.KindNetwork, Name: args[0]})
	ts.Check(err)
	mac, err := vnet.ParseMAC("52:54:00:aa:00:01")
	ts.Check(err)
	for _, l := range []*vnet.Lease{
		{Address: netip.MustParseAddr("2001:DB8::0:A"), Family: vnet.IPv6, How: vnet.HowSLAAC},
		{Address: netip.MustParseAddr("192.0.2.10"), Family: vnet.IPv4, How: vnet.HowDHCPv4, Hostname: "vm1",
			Expires: time.Date(2026, 1, 2, 15, 0, 0, 0, time.UTC)},
		{Address: netip.MustParseAddr("192.0.2.9"), Family: vnet.IPv4, How: vnet.HowFixed, Hostname: "evil\x1b[2J"},
	} {
		l.Network, l.MAC, l.Host = o.GetMeta().ID, mac, "host1"
		f.Put(l)
	}
}

// follow runs a command that does not end by itself until it has written a line
// with the word, and then interrupts it, which must end it well: follow WORD
// FILE COMMAND…. What it wrote is in the file.
func follow(ts *testscript.TestScript, _ bool, args []string) {
	path, err := exec.LookPath(args[2])
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if p := filepath.Join(dir, args[2]); err != nil {
			if _, e := os.Stat(p); e == nil {
				path, err = p, nil
			}
		}
	}
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args[3:]...)
	for _, key := range []string{"PATH", "SEXTANT_SERVER", "TZ"} {
		cmd.Env = append(cmd.Env, key+"="+ts.Getenv(key))
	}
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	cmd.Stderr = ts.Stderr()
	ts.Check(cmd.Start())
	var text strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		text.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), args[0]) {
			ts.Check(cmd.Process.Signal(os.Interrupt))
		}
	}
	if err := cmd.Wait(); err != nil {
		ts.Fatalf("%v after\n%s", err, text.String())
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text.String()), 0o600))
}
