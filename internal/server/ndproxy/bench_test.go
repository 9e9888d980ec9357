package ndproxy

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/netnstest"
)

const benchGuests = 4096

// BenchmarkKernelAnswers is what a provider gets that asks for 4096 guests as
// fast as it is answered, 64 questions on their way at a time: asker and server
// share the cores. answers/cpu-s, by what the answers cost the server, depends
// less on what else the machine does. Beside it ndppd, with the rule that costs
// it least.
func BenchmarkKernelAnswers(b *testing.B) {
	b.Run("sextant", func(b *testing.B) {
		host, isp := benchLink(b)
		s, err := New(Config{InNS: func(_ string, f func() error) error { return host.Do(f) }})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		for n := range benchGuests {
			s.SetGuest("a", nth(n))
		}
		s.Set(wish())
		askAll(b, isp, func() time.Duration { return spent(b, unix.RUSAGE_SELF) - spent(b, unix.RUSAGE_THREAD) })
	})
	// static answers for every address of the prefix, whether anybody has it or
	// not; iface asks the guests, and knows them for half a minute.
	for _, rule := range []string{"static", "iface br-a"} {
		b.Run("ndppd "+rule, func(b *testing.B) {
			netnstest.NeedCommands(b, "ndppd")
			host, isp := benchLink(b)
			benchGuest(b, host)
			conf := filepath.Join(b.TempDir(), "ndppd.conf")
			if err := os.WriteFile(conf, []byte("proxy eth0 {\n  rule "+prefix.String()+" {\n    "+rule+"\n  }\n}\n"), 0o600); err != nil {
				b.Fatal(err)
			}
			pid := host.Start("ndppd", "-c", conf).Process.Pid
			askAll(b, isp, func() time.Duration { return spentBy(b, pid) })
		})
	}
}

// benchGuest is a guest that has all the addresses.
func benchGuest(b *testing.B, host *netnstest.NS) {
	guest := netnstest.New(b, "ndp-guest")
	netnstest.Veth(host, "br-a", guest, "eth0")
	var batch strings.Builder
	for n := range benchGuests {
		fmt.Fprintf(&batch, "addr add %s/128 dev eth0 nodad\n", nth(n))
	}
	file := filepath.Join(b.TempDir(), "batch")
	if err := os.WriteFile(file, []byte(batch.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	guest.Run("ip", "-6", "-batch", file)
}

// benchLink is a provider linked to a host.
func benchLink(b *testing.B) (host, isp *netnstest.NS) {
	host, isp = netnstest.New(b, "ndp-host"), netnstest.New(b, "ndp-isp")
	for _, ns := range []*netnstest.NS{host, isp} {
		ns.Run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
	}
	netnstest.Veth(host, "eth0", isp, "eth0")
	host.Run("ip", "link", "set", "eth0", "address", hostMAC.String())
	isp.Run("ip", "link", "set", "eth0", "address", provider.String())
	isp.Run("ip", "addr", "add", providerLinkLocal+"/64", "dev", "eth0", "nodad")
	return host, isp
}

// providerLinkLocal is the provider's address that its MAC makes.
const providerLinkLocal = "fe80::ff:fe00:f1"

// spent is the CPU time of this process or thread.
func spent(b *testing.B, who int) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(who, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// spentBy is the CPU time of another process, which counts in hundredths of a
// second.
func spentBy(b *testing.B, pid int) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	if err := errors.Join(err1, err2); err != nil {
		b.Fatal(err)
	}
	return time.Duration(user+system) * time.Second / 100
}

// askAll asks until the benchmark ends; server is the CPU time of who answers.
func askAll(b *testing.B, isp *netnstest.NS, server func() time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	frames := make([][]byte, benchGuests)
	for n := range frames {
		frames[n] = ns(provider, nth(n))
	}
	var asker *packetSocket
	if err := isp.Do(func() (err error) { asker, err = openPacket(); return err }); err != nil {
		b.Fatal(err)
	}
	defer asker.Close()
	index, err := asker.find("eth0")
	if err := errors.Join(err, asker.bind(index), unix.SetNonblock(asker.fd, false),
		unix.SetsockoptTimeval(asker.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200_000})); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, maxFrame)
	asked, answered := 0, 0
	ask := func() {
		for ; asked < answered+64; asked++ {
			if err := asker.send(frames[asked%len(frames)]); err != nil {
				b.Fatal(err)
			}
		}
	}
	await := func() {
		for {
			n, err := unix.Read(asker.fd, buf)
			if err != nil { // lost, or nobody is there yet: ask again
				asked = answered
				ask()
				continue
			}
			if m, err := parse(buf[:n]); err == nil && m.advertise && m.flags&flagSolicited != 0 {
				answered++
				return
			}
		}
	}
	ask()
	for range benchGuests { // what a proxy does at the first question is not measured
		await()
		ask()
	}
	b.ResetTimer()
	n, before := 0, server()
	for b.Loop() {
		await()
		ask()
		n++
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "answers/s")
	b.ReportMetric(float64(n)/max(server()-before, time.Millisecond).Seconds(), "answers/cpu-s")
}
