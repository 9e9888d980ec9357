package ndproxy

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// BenchmarkKernelAnswers is what a provider gets that asks for 4096 guests as
// fast as it is answered, 64 questions on their way at a time: asker and server
// share the cores.
func BenchmarkKernelAnswers(b *testing.B) {
	host, isp := netnstest.New(b, "ndp-host"), netnstest.New(b, "ndp-isp")
	netnstest.Veth(host, "eth0", isp, "eth0")
	host.Run("ip", "link", "set", "eth0", "address", hostMAC.String())
	isp.Run("ip", "link", "set", "eth0", "address", provider.String())
	s, err := New(Config{InNS: func(_ string, f func() error) error { return host.Do(f) }})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	frames := make([][]byte, 4096)
	for n := range frames {
		frames[n] = ns(provider, nth(n))
		s.SetGuest("a", nth(n))
	}
	s.Set(wish())
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
	for b.Loop() {
		for ; asked < answered+64; asked++ {
			if err := asker.send(frames[asked%len(frames)]); err != nil {
				b.Fatal(err)
			}
		}
		for {
			n, err := asker.receive(buf)
			if err != nil {
				asked = answered // lost: ask again
				break
			}
			if m, err := parse(buf[:n]); err == nil && m.advertise && m.flags&flagSolicited != 0 {
				answered++
				break
			}
		}
	}
	b.ReportMetric(float64(answered)/b.Elapsed().Seconds(), "answers/s")
}
