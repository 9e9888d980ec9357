package translate

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// place is a namespace with a link for the translator, as plan has it made.
func place(t *testing.T) (*netnstest.NS, Config, Wish) {
	t.Helper()
	netnstest.NeedCommands(t, "ip", program)
	ns := netnstest.New(t, "nat64")
	ns.Run("sh", "-c", `set -e
ip link set lo up; ip tuntap add sextant64 mode tun; ip link set sextant64 up
ip addr add 198.18.0.1/18 dev sextant64; ip addr add 192.0.2.1/32 dev lo; ip -6 addr add fd00:1::1/128 dev lo
ip -6 route add fd00:64::/96 dev sextant64; sysctl -qw net.ipv4.ip_forward=1`)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return ns, Config{Dir: filepath.Join(dir, "nat64"), InNS: ns.Do}, Wish{Link: "sextant64", Prefix: netip.MustParsePrefix("fd00:64::/96"),
		Itself: netip.MustParseAddr("198.18.0.2"), Guests: netip.MustParsePrefix("198.18.32.0/19")}
}

// translates waits until the translator answers.
func translates(t *testing.T, ns *netnstest.NS, prefix string) {
	t.Helper()
	netnstest.NeedCommands(t, "ping")
	netnstest.Eventually(t, 10*time.Second, "translation below "+prefix, func() error {
		_, err := ns.Try("ping", "-6", "-c1", "-W1", "-I", "fd00:1::1", prefix+"192.0.2.1")
		return err
	})
}

// running is the process of the directory.
func running(t *testing.T, c Config) (pid int) {
	t.Helper()
	netnstest.Eventually(t, 10*time.Second, "a translator", func() error {
		p, _ := find(c.Dir)
		if p == nil {
			return errors.New("none")
		}
		pid = p.pid
		return nil
	})
	return pid
}

// TestTakeOver: the translator outlives who began it; the next one takes it
// over if it is as wished, has another one otherwise, and leaves nothing when
// none is wished.
func TestTakeOver(t *testing.T) {
	ns, c, w := place(t)
	t.Cleanup(func() { _ = End(c.Dir) })
	r := New(c)
	r.Set(&w)
	translates(t, ns, "fd00:64::")
	pid := running(t, c)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	translates(t, ns, "fd00:64::")

	r = New(c)
	r.Set(&w)
	r.Set(&w)
	if now := running(t, c); now != pid {
		t.Errorf("process %d, was %d", now, pid)
	}
	other := w
	other.Prefix = netip.MustParsePrefix("fd00:65::/96")
	ns.Run("ip", "-6", "route", "add", "fd00:65::/96", "dev", w.Link)
	r.Set(&other)
	translates(t, ns, "fd00:65::")
	if now := running(t, c); now == pid {
		t.Error("still the process with the old prefix")
	}
	if ps := r.Problems(); len(ps) > 0 {
		t.Errorf("problems %+v", ps)
	}
	pid = running(t, c)
	r.Set(nil)
	netnstest.Eventually(t, 10*time.Second, "nothing is left", func() error {
		if _, err := os.Stat(c.Dir); err == nil {
			return errors.New("the directory is there")
		}
		if _, err := os.Stat(procPath(pid, "stat")); err == nil {
			return fmt.Errorf("process %d is there", pid)
		}
		return nil
	})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestStrangersLive: a record that names somebody else's process ends nobody.
func TestStrangersLive(t *testing.T) {
	ns := netnstest.New(t, "nat64")
	cmd := ns.Start("tail", "-f", "/dev/null")
	dir := t.TempDir()
	stat, err := os.ReadFile(procPath(cmd.Process.Pid, "stat"))
	if err != nil {
		t.Fatal(err)
	}
	begun, _ := begunAt(string(stat))
	for _, r := range []record{{cmd.Process.Pid, begun}, {cmd.Process.Pid, begun + 1}, {1 << 21, 5}} {
		if err := os.WriteFile(filepath.Join(dir, recordFile), []byte(r.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		if p, _ := find(dir); p != nil {
			t.Errorf("%v is taken for a translator", r)
		}
	}
	if err := End(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(procPath(cmd.Process.Pid, "stat")); err != nil {
		t.Errorf("it was ended: %v", err)
	}
}

// TestEndsAtOnce: a translator that cannot work is a problem that names the
// reason, for as long as it does not.
func TestEndsAtOnce(t *testing.T) {
	ns, c, w := place(t)
	t.Cleanup(func() { _ = End(c.Dir) })
	bad := w
	bad.Prefix = netip.MustParsePrefix("fd00:64::/97") // no length of RFC 6052
	r := New(c)
	r.Set(&bad)
	netnstest.Eventually(t, 10*time.Second, "a problem", func() error {
		if ps := r.Problems(); len(ps) != 1 || !strings.Contains(ps[0].Msg, "exit status 1") {
			return fmt.Errorf("%+v", ps)
		}
		return nil
	})
	r.Set(&w)
	translates(t, ns, "fd00:64::")
	netnstest.Eventually(t, 20*time.Second, "no problem", func() error {
		if ps := r.Problems(); len(ps) > 0 {
			return fmt.Errorf("%+v", ps)
		}
		return nil
	})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}
