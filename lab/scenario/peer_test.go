package scenario

import (
	"sync"
	"testing"
	"time"

	"github.com/sextant-net/sextant/lab/topo"
)

// TestNetworksOfAProject: networks of one project reach each other, also one
// that only has unique local addresses; a closed one is not reached, and
// another project's neither.
func TestNetworksOfAProject(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Minute, topo.HostConfig{})
	w.serve("--no-default-network")
	w.sh(`sextant network create one ipv4=nat ipv4.address=10.1.0.1/24 ipv6=nat66 ipv6.address=fd01:0:0:1::1/64
sextant network create two ipv4=nat ipv4.address=10.2.0.1/24 ipv6=ula ipv6.address=fd01:0:0:2::1/64
sextant network create shut ipv4=nat ipv4.address=10.3.0.1/24 ipv4.inbound=closed ipv6=nat66 ipv6.address=fd01:0:0:3::1/64 ipv6.inbound=closed
sextant project create other
sextant --project other network create far ipv4=nat ipv4.address=10.4.0.1/24 ipv6=nat66 ipv6.address=fd01:0:0:4::1/64`)
	guest := map[string]*topo.Node{}
	for i, network := range []string{"one", "two", "shut", "far"} {
		project, n := "default", itoa(i+1)
		if network == "far" {
			project = "other"
		}
		g := w.plug("in-"+network, "--project "+project+" network="+network+" addresses=10."+n+".0.10,fd01:0:0:"+n+"::10")
		w.on(g, "sysctl -qw net.ipv6.conf.eth0.accept_dad=0; ip link set eth0 up; ip addr add 10."+n+".0.10/24 dev eth0; ip addr add fd01:0:0:"+n+
			"::10/64 dev eth0; ip route add default via 10."+n+".0.1; ip -6 route add default via fd01:0:0:"+n+"::1")
		guest[network] = g
	}
	var all sync.WaitGroup
	for _, tc := range []struct {
		from, to string
		want     bool
	}{
		{"one", "2", true}, {"two", "1", true}, {"shut", "1", true}, {"one", "3", false},
		{"one", "4", false}, {"far", "1", false}, {"far", "3", false},
	} {
		all.Go(func() { w.reaches(guest[tc.from], "10."+tc.to+".0.10", tc.want) })
		all.Go(func() { w.reaches(guest[tc.from], "fd01:0:0:"+tc.to+"::10", tc.want) })
	}
	all.Wait()
	// Not by the other's gateway either: only its own services are a guest's.
	if out, err := guest["far"].Sh(w.ctx, "dig +time=1 +tries=1 @10.1.0.1 in-one.one.internal"); err == nil {
		t.Errorf("another project's name server answers:\n%s", out)
	}
}
