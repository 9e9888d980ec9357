package uplink

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/lab/topo"
)

// neighbourLimits are how many IPv6 neighbours the kernel keeps, and the values
// that the agent sets where it may, which is not so in a namespace.
var neighbourLimits = []struct{ name, raised string }{
	{"gc_thresh1", "8192"}, {"gc_thresh2", "32768"}, {"gc_thresh3", "65536"},
}

// neighbourLock is held by whoever has raised the limits. It has the values of
// before, also those that a test left there that was killed.
const neighbourLock = "/run/lock/sxt-neighbours"

// manyNeighbours gives the kernel as much room for neighbours as it has on a
// host of the product's, until the test ends: there is one table for all its
// namespaces, so a thousand routers that do not exist leave none to anybody in
// any lab. A node whose table is full cannot even ask whether its address is
// free (RFC 4862 section 5.4): the kernel drops the question and takes the
// silence for a yes. Where nobody may raise the limits they stay. It comes
// before the world is made, whose end takes the neighbours away.
func manyNeighbours(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("the lab is not for short runs")
	}
	netnstest.NeedRoot(t)
	before, release := holdLimits(t)
	t.Cleanup(func() {
		netnstest.Eventually(t, patience, "the neighbours are gone", func() error { return roomFor(before[len(before)-1]) })
		if err := writeLimits(before); err != nil && !readOnly(err) {
			t.Errorf("the limits of neighbours were %s: %v", before, err)
		} else if err := release(); err != nil {
			t.Error(err)
		}
	})
	var raised []string
	for _, l := range neighbourLimits {
		raised = append(raised, l.raised)
	}
	if err := writeLimits(raised); readOnly(err) {
		t.Logf("the limits of neighbours stay: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
}

// holdLimits returns the limits as they are while no test runs, and what says
// that they are so again. Until the test ends no other one gets them.
func holdLimits(t *testing.T) (before []string, release func() error) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(neighbourLock), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(neighbourLock, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	if before = strings.Fields(string(text)); len(before) != len(neighbourLimits) {
		if before, err = readLimits(); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte(strings.Join(before, " ")+"\n"), 0); err != nil {
			t.Fatal(err)
		}
	}
	return before, func() error { return f.Truncate(0) }
}

// hasRoom waits until the kernel takes new neighbours without a word. It makes
// room only when it is asked for some, and only of those that it has not heard
// of for five seconds.
func (w *world) hasRoom(n *topo.Node, dev string) {
	w.t.Helper()
	tries := 0
	w.eventually(patience, "the kernel has room for neighbours", func() error {
		tries++
		_, err := n.Sh(w.ctx, fmt.Sprintf("ip -6 neigh replace fe80::7777:%x lladdr 02:00:00:00:00:77 dev %s nud stale", tries, dev))
		if err != nil {
			return err
		}
		now, err := readLimits()
		if err != nil {
			return err
		}
		return roomFor(now[len(now)-1])
	})
}

// roomFor is an error while the kernel has more than half as many neighbours as
// a limit says.
func roomFor(limit string) error {
	most, err := strconv.Atoi(limit)
	if err != nil {
		return err
	}
	// The number is the same in the line of each processor.
	text, err := os.ReadFile("/proc/net/stat/ndisc_cache")
	if err != nil {
		return err
	}
	_, numbers, _ := strings.Cut(string(text), "\n")
	var have int
	if _, err := fmt.Sscanf(numbers, "%x", &have); err != nil {
		return fmt.Errorf("%w in %s", err, text)
	}
	if have > most/2 {
		return fmt.Errorf("%d neighbours, limit %d", have, most)
	}
	return nil
}

// readOnly reports whether settings cannot be written here, as in a container.
func readOnly(err error) bool {
	return errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)
}

func limitPath(name string) string { return "/proc/sys/net/ipv6/neigh/default/" + name }

func readLimits() (values []string, err error) {
	for _, l := range neighbourLimits {
		b, err := os.ReadFile(limitPath(l.name))
		if err != nil {
			return nil, err
		}
		values = append(values, strings.TrimSpace(string(b)))
	}
	return values, nil
}

func writeLimits(values []string) error {
	var errs []error
	for i, l := range neighbourLimits {
		if err := os.WriteFile(limitPath(l.name), []byte(values[i]), 0); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", l.name, err))
		}
	}
	return errors.Join(errs...)
}
