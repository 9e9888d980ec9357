package vm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

// accelerator is a way to run a machine.
type accelerator struct{ name, cpu string }

// accelerators, best first. Nested KVM may refuse to set the register of
// arch-capabilities.
var accelerators = []accelerator{
	{"kvm", "max"},
	{"kvm", "max,-arch-capabilities"},
	{"tcg,thread=multi", "max"},
}

// emulator returns the command that runs machines of this architecture and the
// best way that works here.
func emulator() (string, accelerator, error) {
	if runtime.GOARCH != "amd64" {
		return "", accelerator{}, fmt.Errorf("virtual machines are not supported on %s yet", runtime.GOARCH)
	}
	path, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		return "", accelerator{}, fmt.Errorf("%w: run `make deps`", err)
	}
	return path, bestAccelerator(path), nil
}

var accelerated struct {
	sync.Once
	accelerator
}

// Emulated reports whether machines run without KVM: twenty times slower.
func Emulated() bool {
	path, a, err := emulator()
	return err != nil || path == "" || strings.HasPrefix(a.name, "tcg")
}

// bestAccelerator tries once what works.
func bestAccelerator(qemu string) accelerator {
	accelerated.Do(func() {
		for _, a := range accelerators {
			accelerated.accelerator = a
			if strings.HasPrefix(a.name, "kvm") && kvmWorks(qemu, a) {
				return
			}
		}
	})
	return accelerated.accelerator
}

// kvmWorks boots a kernel into a first process that says so and ends. Less
// does not tell: a KVM inside another hypervisor may stop at an instruction
// deep in the kernel.
func kvmWorks(qemu string, a accelerator) bool {
	if os.Getenv("SEXTANT_NO_KVM") != "" {
		return false
	}
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	k, err := FindKernel()
	if err != nil {
		return false
	}
	i, err := newInitrd(k, nil)
	if err != nil {
		return false
	}
	i.script("init", "#!/bin/sh\necho "+kvmSign+"\nexec /bin/busybox reboot -f\n")
	dir, err := os.MkdirTemp("", "sextant-kvm")
	if err != nil {
		return false
	}
	defer os.RemoveAll(dir)
	initrd := filepath.Join(dir, "initrd")
	if err := os.WriteFile(initrd, i.bytes(), 0o600); err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), kvmPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, qemu, "-machine", "q35", "-accel", a.name, "-cpu", a.cpu, "-smp", "1", "-m", "256",
		"-kernel", k.Image, "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1",
		"-display", "none", "-nodefaults", "-no-user-config", "-no-reboot", "-serial", "stdio")
	var out bytes.Buffer
	cmd.Stdout = &out
	cmd.Stderr = failFast{cancel} // qemu itself would pause the machine and stay
	_ = cmd.Run()
	return strings.Contains(out.String(), kvmSign)
}

// kvmSign is what the trial machine says.
const kvmSign = "sextant: kvm works"

// failFast ends the trial when KVM complains.
type failFast struct{ cancel context.CancelFunc }

func (f failFast) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("KVM internal error")) {
		f.cancel()
	}
	return len(b), nil
}

// kvmPatience: with KVM the trial takes a second; a machine so busy that it
// takes longer is served by emulation.
const kvmPatience = 3 * time.Second
