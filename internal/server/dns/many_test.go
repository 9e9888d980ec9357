package dns

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// rss returns the anonymous resident memory of the process, in bytes.
func rss(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	var kb int
	_, after, _ := strings.Cut(string(b), "RssAnon:")
	if _, err := fmt.Sscan(after, &kb); err != nil {
		t.Fatal(err)
	}
	return kb << 10
}

// TestThousandZones holds the cost of many networks: no goroutine, and little
// memory, for each.
func TestThousandZones(t *testing.T) {
	netnstest.NeedCommands(t, "dig")
	const zones = 1000
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < 5*zones {
		netnstest.Skip(t, "needs %d open files, may have %d", 5*zones, limit.Cur)
	}
	host := netnstest.New(t, "dnsm")
	s := New(Config{InNS: func(_ string, f func() error) error { return host.Do(f) }})
	defer s.Close()
	runtime.GC()
	before, goroutines, start := rss(t), runtime.NumGoroutine(), time.Now()
	for i := range zones {
		v4 := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1})
		v6 := netip.AddrFrom16([16]byte{0: 0xfd, 6: byte(i >> 8), 7: byte(i), 15: 1})
		p4, _ := v4.Prefix(24)
		p6, _ := v6.Prefix(64)
		z := Zone{
			Network: vnet.ID(fmt.Sprint("net", i)), Project: "p", Link: "gw", Domain: fmt.Sprintf("net%d.internal", i),
			Listen: []netip.Addr{v4, v6}, Prefixes: []netip.Prefix{p4, p6},
		}
		for vm := range 2 {
			z.Records = append(z.Records,
				Record{Name: fmt.Sprint("vm", vm), Address: netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), byte(10 + vm)}), Managed: true},
				Record{Name: fmt.Sprint("vm", vm), Address: netip.AddrFrom16([16]byte{0: 0xfd, 6: byte(i >> 8), 7: byte(i), 15: byte(10 + vm)}), Managed: true})
		}
		s.SetZone(z)
	}
	took := time.Since(start)
	runtime.GC()
	grown, more := rss(t)-before, runtime.NumGoroutine()-goroutines
	t.Logf("%d zones: %v, %.1f MB of memory, %d goroutines more", zones, took, float64(grown)/(1<<20), more)
	if p := s.Problems(); len(p) != 0 {
		t.Errorf("problems: %v", p)
	}
	if more > 10 {
		t.Errorf("%d goroutines more for %d zones", more, zones)
	}
	if !raceEnabled && grown > 24<<20 {
		t.Errorf("%d zones take %d MB", zones, grown>>20)
	}
	host.Run("ip", "link", "set", "lo", "up")
	host.Run("ip", "address", "add", "10.3.231.1/24", "dev", "lo") // after the socket was bound to it
	if got := host.Run("dig", "+short", "+tries=1", "@10.3.231.1", "vm1.net7.internal", "AAAA"); strings.TrimSpace(got) != "fd00:0:0:7::b" {
		t.Errorf("the last zone answers %q", got)
	}
}
