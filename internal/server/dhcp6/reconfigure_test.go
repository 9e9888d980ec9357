package dhcp6

import (
	"crypto/hmac"
	"crypto/md5" // the protocol has no other
	"encoding/binary"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/vnet"
)

var accept = &dhcpv6.OptionGeneric{OptionCode: optAccept}

// keyIn is the key that a client is given, after the fixed part of the option.
func keyIn(t *testing.T, m *dhcpv6.Message) []byte {
	t.Helper()
	o := m.GetOneOption(optAuth)
	if o == nil || m.GetOneOption(optAccept) == nil {
		t.Fatalf("no key for who accepts reconfigure messages: %v", m)
	}
	b := o.ToBytes()
	if len(b) != 28 || b[0] != 3 || b[1] != 1 || b[2] != 0 || b[11] != 1 {
		t.Fatalf("authentication %x", b)
	}
	return b[12:]
}

// checkReconfigure does what a client does with a Reconfigure message (RFC 9915
// section 20.4.3).
func checkReconfigure(t *testing.T, b, key, duid []byte, kind byte) {
	t.Helper()
	m, err := dhcpv6.MessageFromBytes(b)
	if err != nil || m.MessageType != dhcpv6.MessageTypeReconfigure || m.TransactionID != (dhcpv6.TransactionID{}) {
		t.Fatalf("%v %v", m, err)
	}
	auth := m.GetOneOption(optAuth).ToBytes()
	if len(auth) != 28 || auth[11] != 2 {
		t.Fatalf("authentication %x", auth)
	}
	plain := slices.Clone(b)
	clear(plain[len(plain)-16:])
	h := hmac.New(md5.New, key)
	h.Write(plain)
	if !hmac.Equal(h.Sum(nil), auth[12:]) || !slices.Equal(b[len(b)-16:], auth[12:]) {
		t.Error("the digest is wrong")
	}
	if !slices.Equal(m.Options.ClientID().ToBytes(), duid) || !slices.Equal(m.Options.ServerID().ToBytes(), serverDUID) || m.GetOneOption(optReconfigure).ToBytes()[0] != kind {
		t.Errorf("%v", m)
	}
}

func TestReconfigure(t *testing.T) {
	f := newFake(t, service())
	ask := msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), ias: []string{"1"}, rapid: true, extra: []dhcpv6.Option{accept}}
	key := keyIn(t, f.send(ask.packet()))
	f.ask(msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(2), ias: []string{"1"}, rapid: true}) // does not accept it
	info := keyIn(t, f.send(msg{kind: dhcpv6.MessageTypeInformationRequest, duid: duidUUID(3), extra: []dhcpv6.Option{accept}, peer: ip("fe80::3")}.packet()))
	if slices.Equal(key, info) {
		t.Error("two clients have one key")
	}
	if send, next := f.Work(f.now); len(send) != 0 || next != 0 {
		t.Errorf("nothing changed: %d messages, %v", len(send), next)
	}
	moved := subnet("2001:db8:1::/64")
	moved.PreferredUntil = start.Add(time.Hour)
	f.Set(service(moved))
	if send, _ := f.Work(f.now.Add(time.Second)); len(send) != 0 {
		t.Error("a lifetime that moves is no news")
	}
	f.Set(service(subnet("2001:db8:2::/64")))
	send, next := f.Work(f.now)
	if len(send) != 0 || next <= 0 || next > recDelay {
		t.Fatalf("%d messages, then %v", len(send), next)
	}
	f.now = f.now.Add(next)
	send, _ = f.Work(f.now)
	if len(send) != 2 {
		t.Fatalf("%d messages", len(send))
	}
	for _, r := range send {
		if r.To == ip("fe80::3") {
			checkReconfigure(t, r.Data, info, duidUUID(3), kindInform)
		} else {
			checkReconfigure(t, r.Data, key, duidUUID(1), kindRenew)
		}
	}
	// Who comes is told no more; who does not is told again, and then given up.
	f.ask(msg{kind: dhcpv6.MessageTypeRenew, duid: duidUUID(1), ias: []string{"1"}, server: true, extra: []dhcpv6.Option{accept}})
	told := 1
	for range 100 {
		_, next := f.Work(f.now)
		if next == 0 {
			break
		}
		f.now = f.now.Add(next)
		send, _ := f.Work(f.now)
		for _, r := range send {
			if told++; r.To != ip("fe80::3") {
				t.Errorf("told again: %v", r.To)
			}
		}
	}
	if told != recMax || len(f.accepts.clients) != 1 {
		t.Errorf("told %d times, %d clients are left", told, len(f.accepts.clients))
	}
}

// A change of what guests are told is news as well.
func TestNewsFor(t *testing.T) {
	a, b := service(), service()
	if newsFor(&a, &b) {
		t.Error("the same")
	}
	b.DHCP.Options = []vnet.DHCPOption{{Family: vnet.IPv6, Code: 17, Type: "hex", Value: "0000000900010000"}}
	if !newsFor(&a, &b) {
		t.Error("an option more")
	}
	b = service()
	b.Subnets[0].Deprecated = true
	if !newsFor(&a, &b) {
		t.Error("a prefix that goes")
	}
}

func TestReconfigureIsPacedAndBounded(t *testing.T) {
	f := newFake(t, service())
	for i := range 3 * recBurst {
		f.ask(msg{kind: dhcpv6.MessageTypeInformationRequest, duid: duidUUID(i), extra: []dhcpv6.Option{accept}})
	}
	f.Set(service(subnet("2001:db8:2::/64")))
	f.Work(f.now)
	f.now = f.now.Add(recDelay)
	for i := range 3 {
		send, next := f.Work(f.now)
		if len(send) != recBurst || i < 2 && next != recPace {
			t.Errorf("%d at once, then %v", len(send), next)
		}
	}
	f.engine = newEngine("host", serverDUID, nil, &message{})
	f.Set(service())
	if m := f.send(msg{kind: dhcpv6.MessageTypeInformationRequest, duid: duidUUID(1), extra: []dhcpv6.Option{accept}}.packet()); m.GetOneOption(optAccept) != nil || len(f.accepts.clients) != 0 {
		t.Error("promised without a secret")
	}
	if m := f.send(msg{kind: dhcpv6.MessageTypeInformationRequest, duid: duidUUID(1), extra: []dhcpv6.Option{accept}, via: []relay{{from: "fe80::1"}}}.packet()); m.GetOneOption(optAccept) != nil {
		t.Error("promised through a relay")
	}
}

// memory is a Memory in memory, which outlasts engines.
type memory struct {
	all    map[ipam.DUID]Acceptor
	number uint64
}

func (m *memory) Acceptors(vnet.ID) []Acceptor { return slices.Collect(maps.Values(m.all)) }

func (m *memory) Keep(network vnet.ID, a Acceptor) {
	if network == "net" {
		m.all[a.DUID] = a
	}
}

func (m *memory) Drop(_ vnet.ID, duid ipam.DUID) { delete(m.all, duid) }

func (m *memory) Number(atLeast uint64) uint64 {
	m.number = max(m.number+1, atLeast)
	return m.number
}

// TestReconfigureOutlivesTheServer: a client that has a key of an earlier server
// is told what changed meanwhile, or before and it had not come, with that key
// and a greater number, whatever the clock says by then; who came is not told,
// and who never does is forgotten.
func TestReconfigureOutlivesTheServer(t *testing.T) {
	kept := &memory{all: map[ipam.DUID]Acceptor{}}
	killed := func(now time.Time, svc plan.Service) *fake {
		f := &fake{engine: newEngine("host", serverDUID, []byte("secret"), &message{}), t: t, now: now}
		f.accepts.memory = kept
		f.Set(svc)
		return f
	}
	number := func(b []byte) uint64 {
		m, err := dhcpv6.MessageFromBytes(b)
		if err != nil {
			t.Fatal(err)
		}
		return binary.BigEndian.Uint64(m.GetOneOption(optAuth).ToBytes()[3:])
	}
	told := func(f *fake) []dhcp.Reply {
		f.Work(f.now)
		f.now = f.now.Add(recDelay)
		send, _ := f.Work(f.now)
		return send
	}
	f := killed(start, service())
	key := keyIn(t, f.send(msg{kind: dhcpv6.MessageTypeSolicit, duid: duidUUID(1), ias: []string{"1"}, rapid: true, extra: []dhcpv6.Option{accept}}.packet()))
	first := kept.number

	f = killed(start, service())
	if send := told(f); len(send) != 0 {
		t.Errorf("nothing changed: %d messages", len(send))
	}
	moved := service(subnet("2001:db8:2::/64"))
	f = killed(start.Add(-24*time.Hour), moved) // the clock was set back as well
	send := told(f)
	if len(send) != 1 {
		t.Fatalf("%d messages", len(send))
	}
	checkReconfigure(t, send[0].Data, key, duidUUID(1), kindRenew)
	if n := number(send[0].Data); n <= first {
		t.Errorf("number %d after %d", n, first)
	}
	f = killed(start, moved) // before the client came
	if send := told(f); len(send) != 1 {
		t.Fatalf("%d messages after a kill in between", len(send))
	}
	f.ask(msg{kind: dhcpv6.MessageTypeRenew, duid: duidUUID(1), ias: []string{"1"}, server: true})
	f = killed(start, moved)
	if send := told(f); len(send) != 0 {
		t.Errorf("%d messages to who came", len(send))
	}
	f.Set(service())
	for range recMax + 2 {
		told(f)
		f.now = f.now.Add(time.Hour)
	}
	if len(kept.all) != 0 {
		t.Errorf("who never comes is kept: %+v", kept.all)
	}
}
