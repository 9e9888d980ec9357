package listen

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// world is the links of all namespaces, and what was done to them. The lock of
// the networks guards it.
type world struct {
	links map[string]int // "ns/link" to index
	taken bool           // whether somebody else has the port
	away  bool           // whether namespaces cannot be entered
	log   []string
	opens int
	looks int             // how often a link was looked for
	recv  func(...Packet) // of the namespace that was opened last
}

// wire is the sockets of one namespace.
type wire struct {
	w  *world
	ns string
}

func (t *wire) Index(link string) (int, error) {
	t.w.looks++
	if i := t.w.links[t.ns+"/"+link]; i != 0 {
		return i, nil
	}
	return 0, unix.ENODEV
}

func (t *wire) Join(link string, index int) error {
	t.w.log = append(t.w.log, fmt.Sprint("join ", link, " ", index))
	if t.w.taken {
		return fmt.Errorf("listen: %w", &PortError{547, "dnsmasq (pid 7)"})
	}
	return nil
}

func (t *wire) Leave(index int) { t.w.log = append(t.w.log, fmt.Sprint("leave ", index)) }
func (t *wire) Close() error    { t.w.log = append(t.w.log, "close "+t.ns); return nil }

// scene is networks in a world.
type scene struct {
	*Networks[*engine, *wire]
	*world
}

// told returns what was done since it was last called.
func (s scene) told() string {
	synctest.Wait()
	s.Lock()
	defer s.Unlock()
	defer func() { s.log = nil }()
	return strings.Join(s.log, ", ")
}

// after changes the world and lets some time pass.
func (s scene) after(d time.Duration, change func()) {
	s.Lock()
	change()
	s.Unlock()
	time.Sleep(d)
	synctest.Wait()
}

// engine listens if it is told to.
type engine struct{ active bool }

func newTest(w *world, neighbour func(string, netip.Addr) (Sender, bool)) *Networks[*engine, *wire] {
	begin, entered := time.Now(), ""
	return New(Config[*engine, *wire]{
		What: "DHCPv6", Family: vnet.IPv6, Log: slog.New(slog.DiscardHandler), Neighbour: neighbour,
		Boot: func() time.Duration { return time.Hour + time.Since(begin) },
		InNS: func(ns string, f func() error) error { entered = ns; return f() },
		Open: func(inNS func(func() error) error, recv func(...Packet)) (*wire, error) {
			w.opens++
			if w.away {
				return nil, errors.New("no such namespace")
			}
			w.recv = recv
			return &wire{w, entered}, inNS(func() error { return nil })
		},
		Active: func(e *engine) bool { return e.active },
		Linked: func(_ *Network[*engine], up bool) { w.log = append(w.log, fmt.Sprint("linked ", up)) },
		Work:   func(*Network[*engine]) time.Duration { return 0 },
		Heard: func(n *Network[*engine], p Packet) func() {
			w.log = append(w.log, fmt.Sprintf("%s heard %s", n.Service().Link, p.Data))
			return func() { w.log = append(w.log, fmt.Sprint("after ", p.MAC)) }
		},
	})
}

// set serves a link, and lets everybody finish.
func (s scene) set(ns, link string) {
	s.after(0, func() {
		s.Attach(s.Enter(plan.Service{Network: vnet.ID(link), NS: ns, Link: link}, func() *engine { return &engine{true} }))
	})
}

func (s scene) problem(id vnet.ID) (vnet.Problem, bool) {
	s.Lock()
	defer s.Unlock()
	return s.Problem(s.Get(id))
}

// run runs a test against networks that are kept, in its own time.
func run(t *testing.T, w *world, f func(s scene)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := scene{newTest(w, nil), w}
		go s.Run()
		f(s)
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Error(err)
		}
		s.told()
		time.Sleep(time.Hour)
		if got := s.told(); got != "" {
			t.Errorf("after Close: %s", got)
		}
	})
}

func TestLinksComeAndGo(t *testing.T) {
	w := &world{links: map[string]int{}}
	run(t, w, func(s scene) {
		for _, step := range []struct {
			index int // of br0 from now on
			wait  time.Duration
			want  string
		}{
			{0, time.Second, ""},
			{7, pollMissing, "join br0 7, linked true"},
			{7, time.Minute, ""},
			{8, PollLinks, "leave 7, linked false, join br0 8, linked true"},
			{0, PollLinks, "leave 8, linked false"},
			{9, pollMissing, "join br0 9, linked true"},
		} {
			if step.want == "" && step.index == 0 {
				s.set("", "br0")
			}
			s.after(step.wait, func() { w.links["/br0"] = step.index })
			if got := s.told(); got != step.want {
				t.Errorf("index %d: %q, want %q", step.index, got, step.want)
			}
			if p, bad := s.problem("br0"); bad {
				t.Errorf("a link that is not there is a problem: %v", p)
			}
		}
		if w.opens != 1 {
			t.Errorf("the host's sockets were opened %d times", w.opens)
		}
	})
}

func TestPortIsTaken(t *testing.T) {
	w := &world{links: map[string]int{"/br0": 7}, taken: true}
	run(t, w, func(s scene) {
		s.set("", "br0")
		p, _ := s.problem("br0")
		if p.Kind != vnet.ErrInUse || p.Hint == "" || !strings.HasSuffix(p.Msg, "no DHCPv6 on br0: listen: UDP port 547 is taken by dnsmasq (pid 7)") {
			t.Errorf("problem %+v", p)
		}
		s.told()
		time.Sleep(retryPort * 3)
		if n := strings.Count(s.told(), "join"); n < 2 || n > 3 {
			t.Errorf("%d attempts in three intervals", n)
		}
		s.after(retryPort+PollLinks, func() { w.taken = false })
		if p, bad := s.problem("br0"); bad || s.told() != "join br0 7, linked true" {
			t.Errorf("the port is free again: %v", p)
		}
	})
}

func TestNamespaces(t *testing.T) {
	w := &world{links: map[string]int{"red/br0": 7, "red/br1": 8}, away: true}
	run(t, w, func(s scene) {
		s.set("red", "br0")
		if p, bad := s.problem("br0"); !bad || p.Kind != vnet.ErrHost || !strings.Contains(p.Msg, "no such namespace") {
			t.Errorf("problem %v", p)
		}
		s.after(retryOpen+pollMissing, func() { w.away = false })
		s.set("red", "br1")
		if got := s.told(); got != "join br0 7, linked true, join br1 8, linked true" {
			t.Errorf("namespace that came: %s", got)
		}
		// It is made anew under its name: the old sockets see no link any more.
		opens := 0
		s.after(reopenAfter+2*PollLinks, func() { clear(w.links); opens = w.opens })
		if got := s.told(); w.opens == opens || !strings.Contains(got, "close red") {
			t.Error("the sockets of a namespace without links are kept")
		}
		// Nobody needs it.
		s.after(0, func() {
			s.Get("br0").Engine.active = false
			s.Attach(s.Get("br0"))
			s.Remove("br1")
			if n := s.Namespaces(); n != 0 {
				t.Errorf("%d namespaces are listened in", n)
			}
		})
	})
}

func TestHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{links: map[string]int{"/br0": 7}}
		mac := vnet.MAC{2, 0, 0, 0, 0, 1}
		s := scene{world: w}
		moves, early := false, false
		s.Networks = newTest(w, func(link string, ip netip.Addr) (Sender, bool) {
			s.Lock() // as an agent that asks for problems meanwhile
			defer s.Unlock()
			if moves {
				s.Remove(vnet.ID(link))
			}
			if early {
				return Sender{}, true
			}
			return Sender{MAC: mac}, true
		})
		go s.Run()
		s.set("", "br0")
		s.told()
		w.recv(Packet{Index: 7, Data: []byte("solicit")})
		w.recv(Packet{Index: 8, Data: []byte("another link's")})
		if got := s.told(); got != "br0 heard solicit, after "+mac.String() {
			t.Errorf("%s", got)
		}
		early = true // the packet is here before its guest was heard
		w.recv(Packet{Index: 7, Data: []byte("early")})
		if got := s.told(); got != "" {
			t.Errorf("handled at once: %s", got)
		}
		early = false
		s.after(2*hearIn, func() {})
		if got := s.told(); got != "br0 heard early, after "+mac.String() {
			t.Errorf("%s", got)
		}
		early = true // one waits in vain, the next ones not at all
		w.recv(Packet{Index: 7, Data: []byte("unheard")})
		s.after(2*hearIn, func() {})
		if got := s.told(); !strings.HasPrefix(got, "br0 heard unheard") {
			t.Errorf("%s", got)
		}
		w.recv(Packet{Index: 7, Data: []byte("at once")})
		if got := s.told(); !strings.HasPrefix(got, "br0 heard at once") {
			t.Errorf("it waits: %q", got)
		}
		s.after(vainFor, func() {})
		s.told()
		w.recv(Packet{Index: 7, Data: []byte("again")})
		if got := s.told(); strings.Contains(got, "again") {
			t.Errorf("it does not wait any more: %q", got)
		}
		s.after(2*hearIn, func() {})
		s.told()
		early, moves = false, true
		w.recv(Packet{Index: 7, Data: []byte("too late")})
		if got := s.told(); strings.Contains(got, "heard") {
			t.Errorf("a network that went while its guest was looked for: %s", got)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
