package ndproxy

import (
	"bytes"
	"testing"
	"time"

	"github.com/mdlayher/ndp"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

func TestParse(t *testing.T) {
	good := dad(guestOne, one)
	m, err := parse(good)
	if err != nil || !m.dad() || m.target != one || m.mac != guestOne || m.to != ipam.SolicitedNode(one) || len(m.nonce) != 8 {
		t.Fatalf("%+v, %v", m, err)
	}
	if m, err := parse(ns(provider, one)); err != nil || m.dad() || m.replyTo() != provider || m.link != provider {
		t.Fatalf("%+v, %v", m, err)
	}
	if m, err := parse(naAll(neighbour, somebody)); err != nil || !m.advertise || m.flags != flagOverride {
		t.Fatalf("%+v, %v", m, err)
	}
	if _, err := parse(append(bytes.Clone(good), 0, 0, 0)); err != nil {
		t.Errorf("padding: %v", err)
	}
	edit := func(frame []byte, at int, v byte) []byte {
		b := bytes.Clone(frame)
		b[at] = v
		b[56], b[57] = 0, 0
		return sumUp(b, 0)
	}
	broken := bytes.Clone(good)
	broken[60]++
	for name, b := range map[string][]byte{
		"nothing":                        nil,
		"cut short":                      good[:len(good)-1],
		"wrong checksum":                 broken,
		"not IPv6":                       edit(good, 12, 8),
		"version 4":                      edit(good, 14, 0x40),
		"extension header":               edit(good, 20, 0),
		"hop limit 254":                  edit(good, 21, 254),
		"code 1":                         edit(good, 55, 1),
		"a router's advertisement":       edit(good, 54, 134),
		"multicast target":               edit(good, 62, 0xff),
		"multicast source":               edit(ns(provider, one), 22, 0xff),
		"MAC of a group":                 edit(good, 6, 1),
		"option without length":          edit(good, 79, 0),
		"option too long":                edit(good, 79, 2),
		"DAD to another group":           edit(good, 53, 0x77),
		"solicited, to all":              na(neighbour, multicastMAC(allNodes), allNodes, somebody, flagSolicited),
		"advertised by the unspecified":  advertisement(nil, hostMAC, neighbour, unspecified, own, somebody, 0),
		"longer than any":                append(bytes.Clone(good), make([]byte, maxFrame)...),
		"DAD with a source link address": dadWithLink(),
	} {
		if m, err := parse(b); err == nil {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

// dadWithLink has what RFC 4861 section 4.3 forbids.
func dadWithLink() []byte {
	b := ns(guestOne, one)
	for i := 22; i < 38; i++ {
		b[i] = 0
	}
	b[56], b[57] = 0, 0
	return sumUp(b, 0)
}

func FuzzParse(f *testing.F) {
	for _, b := range [][]byte{dad(guestOne, one), ns(provider, one), naAll(neighbour, somebody), probe(provider, hostMAC, one)} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > etherLen+ipLen+ndLen { // most of what is random ends at the checksum
			b = bytes.Clone(b)
			n := int(b[19])
			if n >= ndLen && len(b) >= etherLen+ipLen+n {
				b[56], b[57] = 0, 0
				sumUp(b[:etherLen+ipLen+n], 0)
			}
		}
		m, err := parse(b)
		if err != nil {
			return
		}
		other, err := ndp.ParseMessage(b[54 : 54+int(b[19])])
		if err != nil {
			return // it is stricter about options that we pass over
		}
		switch o := other.(type) {
		case *ndp.NeighborSolicitation:
			if m.advertise || o.TargetAddress != m.target {
				t.Errorf("%+v, %+v", m, o)
			}
		case *ndp.NeighborAdvertisement:
			if !m.advertise || o.TargetAddress != m.target || o.Override != (m.flags&flagOverride != 0) {
				t.Errorf("%+v, %+v", m, o)
			}
		default:
			t.Errorf("%T", o)
		}
	})
}

// FuzzEngine: whatever is heard, what is said is well-formed and bounded.
func FuzzEngine(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13})
	f.Fuzz(func(t *testing.T, script []byte) {
		r := newRig(t)
		macs := []vnet.MAC{provider, neighbour, guestOne, guestTwo, hostMAC, gatewayA}
		for i := 0; i+3 < len(script); i += 4 {
			on, mac, a := int(script[i]%5), macs[int(script[i+1])%len(macs)], nth(int(script[i+2]%8))
			switch script[i+3] % 9 {
			case 0:
				r.hear(on, ns(mac, a))
			case 1:
				r.hear(on, dad(mac, a))
			case 2:
				r.hear(on, naAll(mac, a))
			case 3:
				r.hear(on, naTo(mac, hostMAC, a))
			case 4:
				r.told(r.setGuest(a, []vnet.ID{"a", "b", "c"}[on%3], r.at))
			case 5:
				r.told(r.removeGuest(a, "a", r.at))
			case 6:
				r.pass(time.Duration(script[i+2]) * 100 * time.Millisecond)
			case 7:
				w := wish()
				w.Shared[0].Sides = w.Shared[0].Sides[:1+on%2]
				r.told(r.engine.set(w, r.at))
			case 8:
				r.told(r.linked(r.at))
			}
			if len(r.groups.all) > len(r.guests) || len(r.questions) > maxQuestions {
				t.Fatal("more is kept than is known")
			}
		}
		r.pass(10 * time.Minute)
		if len(r.questions) != 0 || len(r.trials.queue) != 0 {
			t.Fatal("something is never done")
		}
	})
}
