package pd

import (
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
)

var (
	clientDUID = []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 1}
	serverDUID = []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 2}
	otherDUID  = []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 3}
)

// rig is a client and its clocks.
type rig struct {
	t *testing.T
	*Client
	now   Instant
	trace []string
	notes []string
	sent  []*dhcpv6.Message
}

func newRig(t *testing.T, held *Held, hint string) *rig {
	r := &rig{t: t, now: Instant{Wall: time.Unix(1700000000, 0), Boot: time.Hour}}
	cfg := Config{DUID: clientDUID, IAID: 7, Rand: rand.New(rand.NewPCG(1, 2)), Trace: func(from, to State, why string) {
		r.trace = append(r.trace, to.String())
	}}
	if hint != "" {
		cfg.Hint = netip.MustParsePrefix(hint)
	}
	r.Client = New(cfg, held)
	return r
}

// did takes what a step wants done.
func (r *rig) did(s Step) Step {
	r.t.Helper()
	r.notes = append(r.notes, s.Notes...)
	for _, b := range s.Send {
		m, err := dhcpv6.MessageFromBytes(b)
		if err != nil {
			r.t.Fatalf("sent %x: %v", b, err)
		}
		r.sent = append(r.sent, m)
	}
	return s
}

// pass lets time pass in the client's own steps, and returns what it sent.
func (r *rig) pass(d time.Duration) []*dhcpv6.Message {
	r.t.Helper()
	r.sent = nil
	end := r.now.Boot + d
	for range 10000 {
		at, ok := r.Deadline(r.now)
		if !ok || at > end {
			break
		}
		r.wait(max(at-r.now.Boot, 0))
		r.did(r.Tick(r.now))
	}
	r.wait(end - r.now.Boot)
	return r.sent
}

func (r *rig) wait(d time.Duration) { r.now = Instant{r.now.Wall.Add(d), r.now.Boot + d} }

// last is the message that was sent last.
func (r *rig) last() *dhcpv6.Message {
	r.t.Helper()
	if len(r.sent) == 0 {
		r.t.Fatal("nothing was sent")
	}
	return r.sent[len(r.sent)-1]
}

// pref is a prefix as a server sends it.
type pref struct {
	prefix           string
	preferred, valid uint32
	exclude          []byte
}

// answers makes a server's message.
func answers(to *dhcpv6.Message, kind dhcpv6.MessageType, server []byte, status iana.StatusCode, prefixes ...pref) *dhcpv6.Message {
	m := &dhcpv6.Message{MessageType: kind, TransactionID: to.TransactionID}
	m.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionClientID, OptionData: clientDUID})
	m.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionServerID, OptionData: server})
	ia := &dhcpv6.OptIAPD{}
	binary.BigEndian.PutUint32(ia.IaId[:], 7)
	for _, p := range prefixes {
		n := netip.MustParsePrefix(p.prefix)
		o := &dhcpv6.OptIAPrefix{
			Prefix:            &net.IPNet{IP: n.Addr().AsSlice(), Mask: net.CIDRMask(n.Bits(), 128)},
			PreferredLifetime: time.Duration(p.preferred) * time.Second, ValidLifetime: time.Duration(p.valid) * time.Second,
		}
		if p.exclude != nil {
			o.Options.Add(&dhcpv6.OptionGeneric{OptionCode: optionPDExclude, OptionData: p.exclude})
		}
		ia.Options.Add(o)
	}
	if status != iana.StatusSuccess {
		ia.Options.Add(&dhcpv6.OptStatusCode{StatusCode: status})
	}
	m.AddOption(ia)
	return m
}

// hear gives the client a message.
func (r *rig) hear(m *dhcpv6.Message) Step {
	r.t.Helper()
	s, err := r.Receive(m.ToBytes(), r.now)
	if err != nil {
		r.t.Errorf("%s: %v", m.MessageType, err)
	}
	return r.did(s)
}

// bound brings the client to where it holds the prefix.
func (r *rig) bound(p pref) {
	r.t.Helper()
	r.did(r.Start(r.now))
	r.pass(1100 * time.Millisecond)
	r.hear(answers(r.last(), dhcpv6.MessageTypeAdvertise, serverDUID, iana.StatusSuccess, p))
	r.pass(2 * time.Second)
	if r.State() != Requesting {
		r.t.Fatalf("%v: %v", r.State(), r.trace)
	}
	r.hear(answers(r.last(), dhcpv6.MessageTypeReply, serverDUID, iana.StatusSuccess, p))
	if r.State() != Bound {
		r.t.Fatalf("%v: %v, %v", r.State(), r.trace, r.notes)
	}
}

func (r *rig) holds(want string) {
	r.t.Helper()
	var got []string
	if h := r.Held(); h != nil {
		for _, p := range h.Prefixes {
			got = append(got, p.Prefix.String())
		}
	}
	if s := strings.Join(got, " "); s != want {
		r.t.Errorf("holds %q, want %q (%v, %v)", s, want, r.trace, r.notes)
	}
}

// A prefix is asked for, renewed, rebound, and asked for anew when all is over.
func TestLife(t *testing.T) {
	r := newRig(t, nil, "::/56")
	p := pref{prefix: "2001:db8:5600::/56", preferred: 3000, valid: 4000}
	r.bound(p)
	r.holds("2001:db8:5600::/56")

	if sent := r.pass(1499 * time.Second); len(sent) != 0 {
		t.Errorf("before T1: %v", sent)
	}
	r.pass(2 * time.Second)
	if r.State() != Renewing || r.last().MessageType != dhcpv6.MessageTypeRenew {
		t.Fatalf("at T1: %v", r.State())
	}
	r.hear(answers(r.last(), dhcpv6.MessageTypeReply, serverDUID, iana.StatusSuccess, p))
	if r.State() != Bound {
		t.Errorf("after a Reply: %v", r.State())
	}
	// Nobody answers any more.
	r.pass(2401 * time.Second)
	if r.State() != Rebinding || r.last().Options.ServerID() != nil {
		t.Fatalf("at T2: %v", r.State())
	}
	r.holds("2001:db8:5600::/56")
	r.pass(1600 * time.Second)
	r.holds("")
	if r.State() != Soliciting {
		t.Errorf("after the valid lifetime: %v", r.State())
	}
	if got := strings.Join(r.trace, " "); got != "soliciting requesting bound renewing bound renewing rebinding soliciting" {
		t.Errorf("states %s", got)
	}
}

// A Solicit wishes for a length, asks for what providers know to say, and is
// repeated ever more seldom, but for ever.
func TestSolicit(t *testing.T) {
	r := newRig(t, nil, "::/56")
	r.did(r.Start(r.now))
	first := r.pass(time.Second + time.Millisecond)
	if len(first) != 1 {
		t.Fatalf("%d messages in the first second", len(first))
	}
	m := first[0]
	ia := m.Options.OneIAPD()
	if m.MessageType != dhcpv6.MessageTypeSolicit || ia == nil || len(ia.Options.Prefixes()) != 1 {
		t.Fatalf("sent %s", m.Summary())
	}
	if hint := ia.Options.Prefixes()[0]; hint.Prefix.String() != "::/56" || hint.ValidLifetime != 0 {
		t.Errorf("hint %s", hint)
	}
	if asked := m.Options.RequestedOptions(); !asked.Contains(optionPDExclude) || !asked.Contains(dhcpv6.OptionSolMaxRT) {
		t.Errorf("asks for %v", asked)
	}
	if n := len(r.pass(24 * time.Hour)); n < 24 || n > 60 {
		t.Errorf("%d Solicits in a day", n)
	}
	// SOL_MAX_RT of a server that has nothing: section 18.2.9 has it obeyed.
	a := answers(r.last(), dhcpv6.MessageTypeAdvertise, serverDUID, iana.StatusNoPrefixAvail)
	a.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionSolMaxRT, OptionData: []byte{0, 0, 0, 60}})
	r.hear(a)
	if len(r.notes) != 1 || !strings.Contains(r.notes[0], "NoPrefixAvail") {
		t.Errorf("notes %v", r.notes)
	}
}

// Of several servers the one with the highest preference is asked, then the
// one that offers what was wished, then the one with more room.
func TestChoice(t *testing.T) {
	for name, c := range map[string]struct {
		hint       string
		a, b       pref
		prefA      byte
		wantServer []byte
	}{
		"preference": {"", pref{"2001:db8:a::/60", 600, 600, nil}, pref{"2001:db8:b::/48", 600, 600, nil}, 9, serverDUID},
		"room":       {"", pref{"2001:db8:a::/60", 600, 600, nil}, pref{"2001:db8:b::/48", 600, 600, nil}, 0, otherDUID},
		"hint":       {"::/60", pref{"2001:db8:a::/60", 600, 600, nil}, pref{"2001:db8:b::/48", 600, 600, nil}, 0, serverDUID},
		"nothing":    {"", pref{"2001:db8:a::/65", 600, 600, nil}, pref{"2001:db8:b::/64", 600, 600, nil}, 9, otherDUID},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil, c.hint)
			r.did(r.Start(r.now))
			r.pass(1100 * time.Millisecond)
			solicit := r.last()
			a := answers(solicit, dhcpv6.MessageTypeAdvertise, serverDUID, iana.StatusSuccess, c.a)
			a.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionPreference, OptionData: []byte{c.prefA}})
			r.hear(a)
			r.hear(answers(solicit, dhcpv6.MessageTypeAdvertise, otherDUID, iana.StatusSuccess, c.b))
			r.pass(2 * time.Second)
			if m := r.last(); m.MessageType != dhcpv6.MessageTypeRequest || string(m.Options.ServerID().ToBytes()) != string(c.wantServer) {
				t.Errorf("sent %s", m.Summary())
			}
		})
	}
}

// A server that does not answer a Request is left for another one.
func TestSilentServer(t *testing.T) {
	r := newRig(t, nil, "")
	r.did(r.Start(r.now))
	r.pass(1100 * time.Millisecond)
	r.hear(answers(r.last(), dhcpv6.MessageTypeAdvertise, serverDUID, iana.StatusSuccess, pref{"2001:db8:a::/48", 600, 600, nil}))
	r.pass(5 * time.Minute)
	if r.State() != Soliciting {
		t.Fatalf("%v", r.State())
	}
	solicit := r.last()
	r.hear(answers(solicit, dhcpv6.MessageTypeAdvertise, serverDUID, iana.StatusSuccess, pref{"2001:db8:a::/48", 600, 600, nil}))
	if r.State() != Requesting {
		t.Errorf("the only server gets no second chance: %v", r.State())
	}
	// Beside another one it is the second choice.
	r = newRig(t, nil, "")
	r.did(r.Start(r.now))
	r.pass(1100 * time.Millisecond)
	r.refused = serverDUID
	r.hear(answers(r.last(), dhcpv6.MessageTypeAdvertise, serverDUID, iana.StatusSuccess, pref{"2001:db8:a::/48", 600, 600, nil}))
	r.hear(answers(r.last(), dhcpv6.MessageTypeAdvertise, otherDUID, iana.StatusSuccess, pref{"2001:db8:b::/64", 600, 600, nil}))
	r.pass(2 * time.Second)
	if got := r.last().Options.ServerID(); string(got.ToBytes()) != string(otherDUID) {
		t.Errorf("asked %x", got.ToBytes())
	}
}

// After a crash what was held is confirmed, not replaced; where nobody knows
// it, another is asked for while it goes on.
func TestRestart(t *testing.T) {
	at := time.Unix(1700000000, 0)
	held := &Held{Server: serverDUID, Prefixes: []Prefix{{Prefix: netip.MustParsePrefix("2001:db8:5600::/56"), Valid: at.Add(time.Hour), Preferred: at.Add(time.Hour)}}}
	r := newRig(t, held, "")
	r.did(r.Start(r.now))
	if r.State() != Rebinding || r.last().MessageType != dhcpv6.MessageTypeRebind {
		t.Fatalf("%v", r.State())
	}
	r.hear(answers(r.last(), dhcpv6.MessageTypeReply, otherDUID, iana.StatusSuccess, pref{"2001:db8:5600::/56", 600, 900, nil}))
	if r.State() != Bound || string(r.Held().Server) != string(otherDUID) {
		t.Errorf("%v by %x", r.State(), r.Held().Server)
	}

	r = newRig(t, held, "")
	r.did(r.Start(r.now))
	r.pass(15 * time.Second)
	if r.State() != Soliciting {
		t.Errorf("nobody answers: %v", r.State())
	}
	r.holds("2001:db8:5600::/56")
	if ia := r.last().Options.OneIAPD(); ia == nil || len(ia.Options.Prefixes()) != 1 {
		t.Errorf("the Solicit does not name what is held: %s", r.last().Summary())
	}
	// Taken back: lifetimes of 0 (section 18.3.5).
	r = newRig(t, held, "")
	r.did(r.Start(r.now))
	r.hear(answers(r.last(), dhcpv6.MessageTypeReply, serverDUID, iana.StatusSuccess, pref{"2001:db8:5600::/56", 0, 0, nil}))
	r.holds("")
	// Over while the host was off.
	held.Prefixes[0].Valid = at.Add(-time.Second)
	r = newRig(t, held, "")
	if s := r.did(r.Start(r.now)); !s.Changed || r.State() != Soliciting {
		t.Errorf("over: %v, %+v", r.State(), s)
	}
}

// What a provider sends is not believed unseen: each oddity is said once.
func TestOddDelegations(t *testing.T) {
	for name, c := range map[string]struct {
		p    pref
		held string
		note string
	}{
		"host bits":            {pref{"2001:db8:5600::1/56", 600, 600, nil}, "2001:db8:5600::/56", "bits below"},
		"longer than /64":      {pref{"2001:db8:5600::/72", 600, 600, nil}, "", "longer than a /64"},
		"preferred over valid": {pref{"2001:db8:5600::/56", 601, 600, nil}, "", "preferred for longer"},
		"link-local":           {pref{"fe80::/56", 600, 600, nil}, "", "cannot be used"},
		"multicast":            {pref{"ff02::/56", 600, 600, nil}, "", "cannot be used"},
		"everything":           {pref{"2000::/3", 600, 600, nil}, "", "cannot be used"},
		"infinite":             {pref{"2001:db8:5600::/56", 0xffffffff, 0xffffffff, nil}, "2001:db8:5600::/56", ""},
		"none left":            {pref{"2001:db8:5600::/56", 0, 0, nil}, "", "no time left"},
		"exclude":              {pref{"2001:db8:5600::/56", 600, 600, []byte{64, 0x07}}, "2001:db8:5600::/56", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil, "")
			r.did(r.Start(r.now))
			r.pass(1100 * time.Millisecond)
			reply := answers(r.last(), dhcpv6.MessageTypeReply, serverDUID, iana.StatusSuccess, c.p)
			reply.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit})
			for range 3 {
				if s, err := r.Receive(reply.ToBytes(), r.now); err == nil {
					r.did(s)
				}
			}
			r.holds(c.held)
			if c.note == "" && len(r.notes) > 0 || c.note != "" && (len(r.notes) != 1 || !strings.Contains(r.notes[0], c.note)) {
				t.Errorf("notes %v", r.notes)
			}
			if name == "exclude" && r.Held().Prefixes[0].Exclude.String() != "2001:db8:5600:7::/64" {
				t.Errorf("excluded %v", r.Held().Prefixes[0].Exclude)
			}
			if name == "infinite" && (!r.Held().Prefixes[0].Valid.IsZero() || !r.Held().Renew.IsZero()) {
				t.Errorf("held %+v", r.Held())
			}
		})
	}
}

// Others' messages change nothing.
func TestForeign(t *testing.T) {
	r := newRig(t, nil, "")
	r.did(r.Start(r.now))
	r.pass(1100 * time.Millisecond)
	good := answers(r.last(), dhcpv6.MessageTypeAdvertise, serverDUID, iana.StatusSuccess, pref{"2001:db8::/48", 600, 600, nil})
	for name, change := range map[string]func(m *dhcpv6.Message){
		"another transaction": func(m *dhcpv6.Message) { m.TransactionID[0]++ },
		"another client": func(m *dhcpv6.Message) {
			m.UpdateOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionClientID, OptionData: otherDUID})
		},
		"no server": func(m *dhcpv6.Message) { m.Options.Del(dhcpv6.OptionServerID) },
		"a request": func(m *dhcpv6.Message) { m.MessageType = dhcpv6.MessageTypeRequest },
	} {
		m, _ := dhcpv6.MessageFromBytes(good.ToBytes())
		change(m)
		if _, err := r.Receive(m.ToBytes(), r.now); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if r.State() != Soliciting || r.best != nil {
		t.Errorf("%v", r.State())
	}
}

// FuzzReceive: whatever comes, the client neither panics nor holds what cannot
// be a network's, and always has something to wait for.
func FuzzReceive(f *testing.F) {
	seed := &dhcpv6.Message{}
	for _, k := range []dhcpv6.MessageType{dhcpv6.MessageTypeAdvertise, dhcpv6.MessageTypeReply} {
		m := answers(seed, k, serverDUID, iana.StatusSuccess, pref{"2001:db8::/48", 600, 600, []byte{64, 0, 1}})
		m.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit})
		f.Add(m.ToBytes())
	}
	f.Add([]byte{7, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		c := New(Config{DUID: clientDUID, IAID: 7, Rand: rand.New(rand.NewPCG(1, 2))}, nil)
		now := Instant{time.Unix(1700000000, 0), time.Hour}
		c.Start(now)
		for range 4 {
			c.xid = dhcpv6.TransactionID{}
			_, _ = c.Receive(b, now)
			if h := c.Held(); h != nil {
				for _, p := range h.Prefixes {
					if p.Prefix != p.Prefix.Masked() || p.Prefix.Bits() > 64 || !p.Prefix.Addr().Is6() {
						t.Errorf("holds %v", p)
					}
				}
			}
			at, ok := c.Deadline(now)
			if !ok && c.State() != Bound {
				t.Fatalf("%v waits for nothing", c.State())
			}
			if ok {
				d := max(at-now.Boot, 0)
				now = Instant{now.Wall.Add(d), now.Boot + d}
			}
			c.Tick(now)
		}
	})
}
