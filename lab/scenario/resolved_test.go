package scenario

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/lab/topo"
)

// busConf lets everybody on the host's own bus do everything.
const busConf = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen>
<policy context="default"><allow user="*"/><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>
`

// bus runs a system bus on the host.
func (w *world) bus() {
	w.t.Helper()
	if err := w.host.WriteFile(w.ctx, "/etc/sextant-test-bus.conf", busConf); err != nil {
		w.t.Fatal(err)
	}
	w.sh("mkdir -p /run/dbus")
	if _, err := w.host.Start("dbus", "dbus-daemon", "--config-file=/etc/sextant-test-bus.conf", "--nofork", "--nopidfile"); err != nil {
		w.t.Fatal(err)
	}
	w.eventually(10*time.Second, "the bus is there", func() error {
		_, err := w.host.Sh(w.ctx, "test -S /run/dbus/system_bus_socket")
		return err
	})
}

// resolvedFiles finds systemd-resolved and resolvectl: installed, or unpacked
// by make deps.
func resolvedFiles(t *testing.T) (daemon, ctl string) {
	root, err := filepath.Abs("../../bin/resolved")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"", root} {
		for _, lib := range []string{"/lib/systemd", "/usr/lib/systemd"} {
			d, c := dir+lib+"/systemd-resolved", dir+"/usr/bin/resolvectl"
			_, err1 := os.Stat(d)
			_, err2 := os.Stat(c)
			if err1 == nil && err2 == nil {
				return d, c
			}
		}
	}
	netnstest.Skip(t, "needs systemd-resolved: run `make deps`")
	return "", ""
}

// TestResolved: where systemd-resolved runs, the host itself resolves its
// guests' names, forward and reverse, and forgets them with the network.
func TestResolved(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "dbus-daemon")
	daemon, ctl := resolvedFiles(t)
	w := newWorld(t, time.Minute, topo.HostConfig{})
	w.sh(`grep -q ^systemd-resolve: /etc/passwd || echo "systemd-resolve:x:993:993::/:/usr/sbin/nologin" >>/etc/passwd
grep -q ^systemd-resolve: /etc/group || echo "systemd-resolve:x:993:" >>/etc/group
mkdir -p /run/systemd`)
	path := os.Getenv("PATH")
	for _, kv := range w.host.Env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	w.host.Env = append(w.host.Env, "PATH="+filepath.Dir(ctl)+":"+path)
	w.bus()
	if _, err := w.host.Start("resolved", daemon); err != nil {
		t.Fatal(err)
	}
	w.serve()
	w.guest("alpha", "default")
	resolves := func(what, want string) {
		t.Helper()
		w.eventually(20*time.Second, "the host resolves "+what, func() error {
			out, err := w.host.Run(w.ctx, ctl, "query", "--cache=no", what)
			if err == nil && !strings.Contains(out, want) {
				err = errors.New(out)
			}
			if err != nil {
				status, _ := w.host.Run(w.ctx, ctl, "status")
				err = errors.Join(err, errors.New(status))
			}
			return err
		})
	}
	resolves("alpha.default.internal", "default.internal")
	addr := strings.Fields(w.sh("sextant lease list network=default -o csv | grep dhcpv4 | tr ',' '\\n' | grep -E '^[0-9]+(\\.[0-9]+){3}$'"))[0]
	resolves(addr, "alpha.default.internal")
	w.sh("sextant port delete alpha; sextant network delete default")
	w.eventually(20*time.Second, "the host forgets the network", func() error {
		if out, err := w.host.Run(w.ctx, ctl, "domain"); err != nil || strings.Contains(out, "default.internal") {
			return errors.Join(errors.New(out), err)
		}
		return nil
	})
}
