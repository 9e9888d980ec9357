package scenario

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/lab/topo"
	"github.com/sextant-net/sextant/lab/vm"
)

// port is what `sextant port list -o json` says, as far as it matters here.
type port struct {
	Name, MAC string
	Binding   *struct{ Plug, Device string }
}

func (w *world) ports(network string) []port {
	w.t.Helper()
	var out []port
	w.json(&out, "sextant port list network="+network)
	return out
}

// TestAdoption: a virtual machine whose tap somebody else made and put into
// our bridge is a guest like any other; its port goes with it.
func TestAdoption(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "qemu-system-x86_64")
	w := newWorld(t, 2*time.Minute, topo.HostConfig{})
	w.serve()
	const mac = "52:54:00:0a:0b:0c"
	w.sh("ip tuntap add dev vnet0 mode tap; ip link set vnet0 address fe:54:00:0a:0b:0c master " + w.bridge("default") + " up")
	g, err := vm.StartGuest(w.ctx, vm.GuestConfig{Name: "gamma", Tap: "vnet0", MAC: mac, Dir: w.host.Dir(), Enter: w.host.Enter()})
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	t.Cleanup(func() {
		if !stopped {
			_ = g.Stop()
		}
	})
	w.eventually(30*time.Second, "the port and its leases", func() error {
		ports := w.ports("default")
		if len(ports) != 1 || ports[0].MAC != mac || ports[0].Binding == nil || ports[0].Binding.Device != "vnet0" || ports[0].Binding.Plug != "adopted" {
			return fmt.Errorf("ports: %+v", ports)
		}
		all := w.leases("default")
		for _, how := range []string{"dhcpv4", "slaac"} {
			if !slices.ContainsFunc(all, func(l lease) bool { return l.MAC == mac && l.How == how && l.Port != "" }) {
				return fmt.Errorf("no %s lease of the port: %+v", how, all)
			}
		}
		return nil
	})
	// An address is known to us before its guest's own second of duplicate
	// address detection is over, and until then a guest sends from another.
	w.eventually(5*time.Second, "the guest has its addresses", func() error {
		out, code, err := g.Run(w.ctx, "ip -6 addr show dev eth0 scope global")
		if err != nil || code != 0 || !strings.Contains(out, "inet6") || strings.Contains(out, "tentative") {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	for _, l := range w.leases("default") {
		out, code, err := g.Run(w.ctx, "ip addr show dev eth0")
		if err != nil || code != 0 || !strings.Contains(out, l.Address.String()) {
			t.Errorf("the guest does not have %v: %v\n%s", l.Address, err, out)
		}
	}
	for _, to := range []string{topo.Server4.String(), "[" + topo.Server6.String() + "]"} {
		if out, code, err := g.Run(w.ctx, "wget -T 10 -q -O /dev/null http://"+to+"/ ; ping -c1 -W5 "+strings.Trim(to, "[]")); err != nil || code != 0 {
			t.Errorf("the guest does not reach %s: %v %s", to, err, out)
		}
	}
	if err := g.Stop(); err != nil {
		t.Fatal(err)
	}
	stopped = true
	w.sh("ip link delete vnet0")
	w.eventually(10*time.Second, "port and leases of the wire gone", func() error {
		left := slices.DeleteFunc(w.leases("default"), func(l lease) bool { return l.How == "dhcpv4" || l.How == "dhcpv6" })
		if ports := w.ports("default"); len(ports)+len(left) > 0 {
			return fmt.Errorf("ports %+v, leases %+v", ports, left)
		}
		return nil
	})
}

// TestTapOfUser: a QEMU that runs as the tap's owner, without any privilege,
// opens it; the port is live while it runs and stays afterwards.
func TestTapOfUser(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "qemu-system-x86_64", "setpriv")
	w := newWorld(t, time.Minute, topo.HostConfig{})
	w.serve()
	w.sh("sextant port plug vm network=default tap=tap7 owner=nobody")
	live := func(want bool) func() error {
		return func() error {
			out := w.sh("ip -o link show dev tap7")
			if strings.Contains(out, "LOWER_UP") != want || !strings.Contains(out, "master "+w.bridge("default")) {
				return fmt.Errorf("live %v is wanted: %s", want, out)
			}
			return nil
		}
	}
	w.eventually(5*time.Second, "nobody has opened the tap", live(false))
	qemu := func(user string) *topo.Proc {
		p, err := w.host.Start("qemu-"+user, "setpriv", "--reuid="+user, "--clear-groups", "--inh-caps=-all", "--",
			"qemu-system-x86_64", "-machine", "none", "-display", "none", "-nodefaults", "-no-user-config", "-monitor", "none",
			"-netdev", "tap,id=net,ifname=tap7,script=no,downscript=no")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if err := qemu("daemon").Wait(w.ctx); err == nil {
		t.Error("another user opened the tap")
	}
	log, err := os.ReadFile(filepath.Join(w.host.Dir(), "qemu-daemon.log"))
	if err != nil || !strings.Contains(string(log), "not permitted") {
		t.Errorf("another user was refused for another reason: %v\n%s", err, log)
	}
	p := qemu("nobody")
	w.eventually(10*time.Second, "the port is live", live(true))
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	w.eventually(5*time.Second, "the port is not live", live(false))
	w.sh("sextant port unplug vm")
	if out := w.sh("ip -o link | grep tap7 || true"); out != "" {
		t.Errorf("left: %s", out)
	}
}

// TestAdoptionByMAC: libvirt gives a tap its guest's MAC with the first octet
// fe; such a tap belongs to the port of that MAC before its guest has spoken.
// The port stays when the tap goes.
func TestAdoptionByMAC(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Minute, topo.HostConfig{})
	w.serve()
	w.sh("sextant port create vm1 network=default mac=52:54:00:0a:0b:0d; sextant port create vm2 network=default")
	w.sh("ip tuntap add dev vnet1 mode tap; ip link set vnet1 address fe:54:00:0a:0b:0d master " + w.bridge("default") + " up")
	bound := func(device string) func() error {
		return func() error {
			var p port
			w.json(&p, "sextant port show vm1")
			switch {
			case device == "" && p.Binding == nil:
			case p.Binding != nil && p.Binding.Device == device:
			default:
				return fmt.Errorf("want %q: %+v", device, p.Binding)
			}
			return nil
		}
	}
	w.eventually(5*time.Second, "vm1 is bound to the tap", bound("vnet1"))
	if n := len(w.ports("default")); n != 2 {
		t.Errorf("%d ports", n)
	}
	w.sh("ip link delete vnet1")
	w.eventually(5*time.Second, "vm1 is not bound", bound(""))
	if n := len(w.ports("default")); n != 2 {
		t.Errorf("%d ports", n)
	}
}
