package ndproxy

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/vnet"
)

func TestProblems(t *testing.T) {
	t.Parallel()
	s, err := New(Config{InNS: func(ns string, f func() error) error {
		if ns == "" {
			return errors.New("not today")
		}
		return errors.New("no such namespace")
	}})
	if err != nil {
		t.Fatal(err)
	}
	w := wish()
	w.Shared[0].Sides[0].NS = "sextant-r1"
	w.Shared[1].Sides[0].MAC = vnet.MAC{}
	for range 2 {
		s.Set(w)
		for network, want := range map[vnet.ID][]string{
			"a": {"on eth0: not today", "on br-a: no such namespace"}, "b": {"on eth0: not today", "on br-b: not today"}, "c": {"on eth0: not today", "on br-c: it has no MAC"},
		} {
			got := s.Problems()[network]
			if len(got) != len(want) {
				t.Fatalf("network %s: %v", network, got)
			}
			for i, w := range want {
				if !strings.Contains(got[i].Msg, w) {
					t.Errorf("network %s: %q, want %q", network, got[i].Msg, w)
				}
			}
		}
	}
	s.Remove("eth0")
	s.Remove("eth0")
	line := wish()
	line.MAC = vnet.MAC{} // a point-to-point link: it has no neighbours that would ask
	s.Set(line)
	for network, got := range s.Problems() {
		if len(got) != 1 || strings.Contains(got[0].Msg, "eth0") {
			t.Errorf("network %s: %v", network, got)
		}
	}
	s.Remove("eth0")
	if p := s.Problems(); len(p) != 0 {
		t.Errorf("problems of nothing: %v", p)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	s.Set(w)
	s.SetGuest("a", one)
	if p := s.Problems(); len(p) != 0 {
		t.Errorf("problems after the end: %v", p)
	}
}

// TestKernelEventCallsBack does in the event what an agent may do.
func TestKernelEventCallsBack(t *testing.T) {
	t.Parallel()
	host, lan := netnstest.New(t, "ndp-host"), netnstest.New(t, "ndp-lan")
	var s *Server
	ready, told := make(chan bool), make(chan Event, 100)
	s, err := New(Config{
		InNS: func(_ string, f func() error) error { return host.Do(f) },
		Event: func(ev Event) {
			<-ready
			s.RemoveGuest("a", ev.Address)
			s.SetGuest("b", ev.Address)
			s.Forget("eth0", ev.Address)
			told <- ev
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	close(ready)
	lan.Run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
	s.Set(wish())
	netnstest.Veth(host, "eth0", lan, "eth0") // the link comes later
	lan.Run("ip", "addr", "add", somebody.String()+"/64", "dev", "eth0", "nodad")
	netnstest.Eventually(t, 10*time.Second, "contested", func() error {
		s.RemoveGuest("b", somebody)
		s.SetGuest("a", somebody)
		select {
		case ev := <-told:
			if ev.Kind == Contested && ev.Network == "a" {
				return nil
			}
			return errors.New(string(ev.Kind))
		case <-time.After(100 * time.Millisecond):
			return errors.New("no event")
		}
	})
}
