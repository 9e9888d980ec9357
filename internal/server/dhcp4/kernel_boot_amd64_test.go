package dhcp4

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/vnet"
)

// A machine without a disk: its firmware, iPXE, gets an address, finds the
// server in siaddr and asks it for the file that is for iPXE.
func TestKernelNetworkBoot(t *testing.T) {
	if testing.Short() {
		t.Skip("an emulated machine is not for short runs")
	}
	t.Parallel()
	netnstest.NeedCommands(t, "qemu-system-x86_64")
	l := newLab(t)
	l.router.Run("ip", "tuntap", "add", "tap0", "mode", "tap")
	l.router.Run("ip", "link", "set", "tap0", "master", "br0", "up")
	svc := service(subnet("192.0.2.0/24", "192.0.2.100-192.0.2.109"))
	svc.MTU, svc.MAC = 1500, l.mac("br0")
	svc.Boot = vnet.BootPolicy{Root: "/srv/tftp", Files: []vnet.BootFile{
		{Client: "any", File: "any.0"}, {Client: "bios", File: "bios.0"}, {Client: "ipxe", File: "menu.ipxe"},
	}}
	s := l.server()
	s.SetNetwork(svc)
	var tftp net.PacketConn
	if err := l.router.Do(func() (err error) {
		tftp, err = net.ListenPacket("udp4", "192.0.2.1:69")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer tftp.Close()
	l.router.Start("qemu-system-x86_64", "-M", "pc", "-accel", "tcg", "-m", "64", "-display", "none", "-nodefaults", "-boot", "n",
		"-netdev", "tap,id=net,ifname=tap0,script=no,downscript=no", "-device", "virtio-net-pci,netdev=net,mac="+guestMAC.String())
	if err := tftp.SetReadDeadline(time.Now().Add(50 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1500)
	n, from, err := tftp.ReadFrom(buf)
	if err != nil {
		t.Fatalf("nobody asked for a boot file: %v", err)
	}
	// RFC 1350: a read request and the name of the file.
	if got := string(buf[:n]); !strings.HasPrefix(got, "\x00\x01") || !strings.Contains(got, "menu.ipxe\x00") {
		t.Errorf("%v asked for %q", from, got)
	}
	if !strings.HasPrefix(from.String(), "192.0.2.10") {
		t.Errorf("it asked from %v", from)
	}
	if c, _ := l.store.Count(); c != 1 {
		t.Errorf("%d leases for one machine", c)
	}
}
