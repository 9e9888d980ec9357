package listen

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sextant-net/sextant/internal/vnet"
)

// TestStation: where the transport tells the MAC of the frame, its port is
// looked up by that, and a packet waits for it unless it need not.
func TestStation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{links: map[string]int{"/br0": 7}}
		mac, other := vnet.MAC{2, 0, 0, 0, 0, 1}, vnet.MAC{2, 0, 0, 0, 0, 2}
		s := scene{world: w}
		seen := map[vnet.MAC]Sender{mac: {MAC: mac, Port: "port1"}}
		var got []Packet
		s.Networks = newTest(w, nil)
		s.cfg.Station = func(_ string, m vnet.MAC) (Sender, bool) { return seen[m], true }
		s.cfg.Known = func(_ *Network[*engine], p Packet) bool { return string(p.Data) == "known" }
		heard := s.cfg.Heard
		s.cfg.Heard = func(n *Network[*engine], p Packet) func() {
			got = append(got, p)
			return heard(n, p)
		}
		go s.Run()
		s.set("", "br0")
		send := func(m vnet.MAC, what string) {
			t.Helper()
			got = nil
			w.recv(Packet{Index: 7, Sender: Sender{MAC: m}, Data: []byte(what)})
			synctest.Wait()
		}
		if send(mac, "ask"); len(got) != 1 || got[0].Port != "port1" || !got[0].Seen {
			t.Errorf("a MAC that was heard: %+v", got)
		}
		if send(other, "known"); len(got) != 1 || got[0].Port != "" || got[0].MAC != other || got[0].Seen || !got[0].Heard {
			t.Errorf("one that need not wait: %+v", got)
		}
		if send(other, "ask"); len(got) != 0 {
			t.Errorf("handled before it was heard: %+v", got)
		}
		seen[other] = Sender{MAC: other, Port: "port1"}
		s.after(2*hearIn, func() {})
		if len(got) != 1 || got[0].Port != "port1" || !strings.HasPrefix(string(got[0].Data), "ask") {
			t.Errorf("one that was heard meanwhile: %+v", got)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}
