package clients

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/sextant-net/sextant/internal/netnstest"
)

// program is a boot program for a BIOS that ends QEMU with the status: it jumps
// over size bytes to its last instructions, which write to the port of
// isa-debug-exit. So the whole of it must have arrived.
func program(size int, status byte) []byte {
	b := append([]byte{0xe9}, binary.LittleEndian.AppendUint16(nil, uint16(size))...) // jmp
	b = append(b, make([]byte, size)...)
	return append(b, 0xb0, status>>1, 0xe6, 0xf4, 0xeb, 0xfe) // mov al; out 0xf4; jmp to itself
}

// TestFirmware boots a machine without a disk: its network card's own iPXE is
// told by DHCP what to boot, fetches it by TFTP and runs it, in a network that
// has one family only.
func TestFirmware(t *testing.T) {
	t.Parallel()
	netnstest.NeedCommands(t, "qemu-system-x86_64")
	w := theWorld(t)
	for family, keys := range map[string]string{
		"IPv4": "ipv4=nat ipv4.address=10.77.%d.1/24 ipv6=none",
		"IPv6": "ipv6=routed ipv6.address=2001:db8:77:%x::1/64 ipv4=none",
	} {
		t.Run(family, func(t *testing.T) {
			t.Parallel()
			i := int(w.networks.Add(1))
			keys := fmt.Sprintf(keys, i)
			root := filepath.Join(w.files, fmt.Sprintf("firmware%d", i))
			if err := os.MkdirAll(filepath.Join(root, "boot"), 0o755); err != nil {
				t.Fatal(err)
			}
			const status = 43
			writeFile(t, filepath.Join(root, "boot", "program"), string(program(20_000, status)))
			name, tap := fmt.Sprintf("fw%d", i), fmt.Sprintf("fwtap%d", i)
			w.sh(t, fmt.Sprintf("sextant network create %s %s boot.root=%s boot.files=any=boot/program", name, keys, root))
			w.sh(t, fmt.Sprintf("sextant port plug vm network=%s tap=%s mac=52:54:00:fa:00:%02x", name, tap, i))
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			// Without KVM, which not every host can: the card's program runs in real mode.
			args := append(w.host.Enter(), "qemu-system-x86_64", "-machine", "pc", "-accel", "tcg", "-cpu", "max", "-m", "64",
				"-display", "none", "-nodefaults", "-no-user-config", "-no-reboot",
				"-device", "isa-debug-exit,iobase=0xf4,iosize=1",
				"-netdev", "tap,id=net,ifname="+tap+",script=no,downscript=no",
				"-device", fmt.Sprintf("virtio-net-pci,netdev=net,bootindex=0,mac=52:54:00:fa:00:%02x", i))
			out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != status {
				t.Errorf("the program did not run: %v\n%s\n%s", err, out, w.host.Logs(40))
			}
		})
	}
}
