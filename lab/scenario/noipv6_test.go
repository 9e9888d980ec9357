package scenario

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/lab/topo"
	"github.com/sextant-net/sextant/lab/vm"
)

// withoutIPv6 runs in a machine of its own and says what it found, one line
// per check.
const withoutIPv6 = `export PATH=$PWD:$PATH
test ! -e /proc/net/if_inet6 && echo "kernel: no IPv6"
hostname small; mkdir /run/state
ip link add up0 type dummy; ip link set up0 up; ip addr add 192.0.2.2/24 dev up0; ip route add default via 192.0.2.1
sextant serve --state-dir=/run/state >/run/log 2>&1 &
for i in $(seq 100); do sextant status >/dev/null 2>&1 && echo "daemon: ready" && break; sleep 0.5; done
ip netns add guest
sextant port plug alpha network=default netns=guest device=eth0 && echo "port: plugged"
ip -n guest link set lo up
printf '#!/bin/sh\n[ "$1" != bound ] || ip addr add $ip/$mask dev $interface; echo "lease: $1 $router"\n' >/run/lease; chmod +x /run/lease
ip netns exec guest busybox udhcpc -q -n -i eth0 -s /run/lease 2>/dev/null | grep bound
gw=$(ip -4 -o addr show dev sx-default | sed 's/.*inet \([^/]*\).*/\1/')
ip netns exec guest ping -c3 -W5 $gw >/dev/null && echo "gateway: answers"
ip netns exec guest dig +short @$gw alpha.default.internal | grep -q . && echo "dns: answers"
sextant network create six ipv4=none ipv6=routed ipv6.address=2001:db8:5::1/64 >/run/out 2>&1
echo "six: exit status $?: $(cat /run/out)"
sextant network list | grep -q '^six' && echo "six: half-made"
sextant network create four ipv6=none && echo "four: made"
sextant status | sed 's/^/status: /'
sed 's/^/log: /' /run/log
true
`

// TestKernelWithoutIPv6: on a machine booted with ipv6.disable=1 IPv4 works,
// and a wish for IPv6 is refused with the reason.
func TestKernelWithoutIPv6(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a virtual machine")
	}
	if netnstest.InVM() {
		t.Skip("no machine within a machine")
	}
	t.Parallel()
	netnstest.NeedRoot(t)
	netnstest.NeedCommands(t, "qemu-system-x86_64")
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	var b bytes.Buffer
	code, err := vm.Run(ctx, vm.Command{Script: withoutIPv6, Dir: bin, Kernel: "ipv6.disable=1", Output: &b})
	out := b.String()
	if err != nil || code != 0 {
		t.Fatalf("exit status %d, %v\n%s", code, err, out)
	}
	for _, want := range []string{"kernel: no IPv6", "daemon: ready", "port: plugged", "lease: bound", "gateway: answers", "dns: answers", "four: made"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q", want)
		}
	}
	for _, bad := range []string{"six: half-made", "level=ERROR", "panic"} {
		if strings.Contains(out, bad) {
			t.Errorf("found %q", bad)
		}
	}
	six := grep(strings.Split(out, "\n"), "six: exit status")
	if len(six) != 1 || !strings.Contains(six[0], "exit status 1") || !strings.Contains(six[0], "IPv6") {
		t.Errorf("a wish for IPv6 says %q", six)
	}
	if t.Failed() {
		t.Log(out)
	}
}

// TestHostWithoutIPv6 is the same in a namespace, as near as one comes to such
// a kernel there: IPv6 is off on all links and its settings cannot be seen.
func TestHostWithoutIPv6(t *testing.T) {
	t.Parallel()
	w := newWorld(t, time.Minute, topo.HostConfig{NoIPv6: true})
	w.sh("sysctl -qw net.ipv6.conf.default.disable_ipv6=1; mount -t tmpfs tmpfs /proc/sys/net/ipv6")
	w.serve()
	guest := w.plug("alpha", "network=default")
	w.address4(guest)
	w.eventually(10*time.Second, "the guest reaches the outside", func() error {
		_, err := guest.Sh(w.ctx, "nc -w 3 "+topo.Server4.String()+" 80 </dev/null")
		return err
	})
	if got := w.on(guest, "dig +short +time=2 alpha.default.internal"); got == "" {
		t.Error("no name service")
	}
	out, err := w.host.Sh(w.ctx, "sextant network create six ipv4=none ipv6=routed ipv6.address=2001:db8:5::1/64")
	if err == nil || strings.Contains(out, "\n") || !strings.Contains(out, "no IPv6") {
		t.Errorf("a wish for IPv6: %v, want one line with the reason\n%s", err, out)
	}
	if out := w.sh("sextant network list; ip -o link"); strings.Contains(out, "six") {
		t.Errorf("half-made:\n%s", out)
	}
	w.sh("sextant network create four ipv6=none")
	if out := w.sh("sextant status"); strings.Contains(out, "problem") || strings.Count(out, "running") != 2 {
		t.Errorf("status says\n%s", out)
	}
}
