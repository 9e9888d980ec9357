package agent

import (
	"testing"
	"unsafe"

	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// own is a string that shares its bytes with no other.
func own[T ~string](s T) T { return T(append([]byte{}, s...)) }

// TestSlim: a lease says the same as before, in the words of others.
func TestSlim(t *testing.T) {
	s := plan.NewSnapshot("h1")
	n := &vnet.Network{Meta: vnet.Meta{ID: "n1", Project: "p1"}}
	sub := &vnet.Subnet{Meta: vnet.Meta{ID: "s1"}, Network: "n1"}
	p := &vnet.Port{Meta: vnet.Meta{ID: "vm"}, Network: "n1"}
	for _, o := range []vnet.Object{n, sub, p} {
		s.Put(o)
	}
	l := &vnet.Lease{Network: own(n.ID), Subnet: own(sub.ID), Port: own(p.ID), Host: own("h1"), How: own(vnet.HowSLAAC)}
	l.Project = own(n.Project)
	was := *l
	slim(s, l)
	if l.Network != was.Network || l.Subnet != was.Subnet || l.Port != was.Port || l.Host != was.Host || l.How != was.How || l.Project != was.Project {
		t.Errorf("%+v, was %+v", l, was)
	}
	for what, pair := range map[string][2]string{
		"network": {string(l.Network), string(n.ID)}, "subnet": {string(l.Subnet), string(sub.ID)}, "port": {string(l.Port), string(p.ID)},
		"project": {string(l.Project), string(n.Project)}, "host": {l.Host, s.Host}, "how": {string(l.How), string(vnet.HowSLAAC)},
	} {
		if unsafe.StringData(pair[0]) != unsafe.StringData(pair[1]) {
			t.Errorf("%s has bytes of its own", what)
		}
	}
	other := &vnet.Lease{Network: "n2", Subnet: "s2", Port: "q", Host: "h2", How: "odd"}
	if was := *other; true {
		if slim(s, other); other.Network != was.Network || other.Host != was.Host || other.How != was.How {
			t.Errorf("%+v, was %+v", other, was)
		}
	}
}
