package dhcp4

import (
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/vnet"
)

// probeWait is how long an answer is waited for: it is asked twice, at the
// beginning and in the middle.
const probeWait = 300 * time.Millisecond

// finder looks for addresses on the links of one namespace.
type finder struct {
	file *os.File // an AF_PACKET socket that receives answers and sends probes
	mu   sync.Mutex
	// asked are the addresses that are looked for; nil after close.
	asked map[target]*search
}

// target is an address on a link.
type target struct {
	index int
	a     netip.Addr
}

// search is one address that is looked for, for all who asked.
type search struct {
	src   vnet.MAC
	timer *time.Timer
	done  []func(vnet.MAC)
}

// openFinder runs in the namespace.
func openFinder() (*finder, error) {
	fd, err := openPacket(etherARP, arpFilter)
	if err != nil {
		return nil, fmt.Errorf("listen for ARP: %w", err)
	}
	f := &finder{file: os.NewFile(uintptr(fd), "arp"), asked: make(map[target]*search)}
	go f.read()
	return f, nil
}

// read takes answers until the socket is closed.
func (f *finder) read() {
	conn, err := f.file.SyscallConn()
	if err != nil {
		return
	}
	var buf [arpSize]byte
	for {
		var n int
		var from unix.Sockaddr
		var inner error
		err := conn.Read(func(fd uintptr) bool {
			n, from, inner = unix.Recvfrom(int(fd), buf[:], 0)
			return inner != unix.EAGAIN
		})
		if err != nil {
			return // closed
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		if inner != nil || !ok {
			continue
		}
		if a, mac, ok := arpAnswer(buf[:n]); ok {
			f.answered(target{link.Ifindex, a}, mac)
		}
	}
}

// answered ends a search: somebody other than us has the address.
func (f *finder) answered(t target, mac vnet.MAC) {
	f.mu.Lock()
	s := f.asked[t]
	if s == nil || s.src == mac {
		f.mu.Unlock()
		return
	}
	f.mu.Unlock()
	f.end(t, s, mac)
}

// end ends a search, once.
func (f *finder) end(t target, s *search, by vnet.MAC) {
	f.mu.Lock()
	if f.asked[t] != s {
		f.mu.Unlock()
		return
	}
	delete(f.asked, t)
	s.timer.Stop()
	f.mu.Unlock()
	for _, done := range s.done {
		done(by)
	}
}

// find is of dhcp.Finder.
func (f *finder) find(index int, src vnet.MAC, a netip.Addr, done func(by vnet.MAC)) {
	t := target{index, a}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asked == nil { // closed
		return
	}
	if s := f.asked[t]; s != nil {
		s.done = append(s.done, done)
		return
	}
	s := &search{src: src, done: []func(vnet.MAC){done}}
	f.asked[t] = s
	f.ask(t, src)
	s.timer = time.AfterFunc(probeWait/2, func() { f.again(t, s) })
}

// again asks a second time, and waits for the rest of the time.
func (f *finder) again(t target, s *search) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.asked[t] != s {
		return
	}
	f.ask(t, s.src)
	s.timer = time.AfterFunc(probeWait/2, func() { f.end(t, s, vnet.MAC{}) })
}

// ask sends a probe. If it cannot be sent nobody answers.
func (f *finder) ask(t target, src vnet.MAC) {
	conn, err := f.file.SyscallConn()
	if err != nil {
		return
	}
	to := &unix.SockaddrLinklayer{Protocol: network16(etherARP), Ifindex: t.index, Halen: 6}
	copy(to.Addr[:], broadcastMAC[:])
	_ = conn.Control(func(fd uintptr) { _ = unix.Sendto(int(fd), arpProbe(src, t.a), 0, to) })
}

// close stops all searches without a word.
func (f *finder) close() error {
	f.mu.Lock()
	for _, s := range f.asked {
		s.timer.Stop()
	}
	f.asked = nil
	f.mu.Unlock()
	return f.file.Close()
}
