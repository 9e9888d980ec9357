package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"time"
	"unsafe"
)

// plugger puts each guest's device into its network's bridge as soon as there
// is one, as a virtual machine's start would. It asks the kernel by ioctl,
// which costs far less than a process and needs no thread in the namespace.
//
// It also tells the host's kernel the guest's addresses for ever: neighbours
// that the kernel finds itself are kept in one table for all namespaces of the
// machine, of 1024 places for each family.
type plugger struct {
	socket int
	ip     *exec.Cmd // ip -batch on the host
	orders io.WriteCloser
}

// The ioctls, from linux/sockios.h.
const (
	siocGIFINDEX = 0x8933
	siocBRADDIF  = 0x89a2
)

// ifreq is struct ifreq with the member ifr_ifindex.
type ifreq struct {
	name  [16]byte
	index int32
	_     [20]byte
}

func (h *host) newPlugger() (*plugger, error) {
	p := &plugger{ip: exec.Command("ip", "netns", "exec", h.netns, "ip", "-force", "-batch", "-")}
	err := within(h.netns, func() (err error) {
		p.socket, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
		return os.NewSyscallError("socket", err)
	})
	if err != nil {
		return nil, err
	}
	p.ip.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if p.orders, err = p.ip.StdinPipe(); err == nil {
		err = p.ip.Start()
	}
	if err != nil {
		return nil, errors.Join(err, syscall.Close(p.socket))
	}
	return p, nil
}

func (p *plugger) close() error {
	err := errors.Join(p.orders.Close(), syscall.Close(p.socket))
	// It fails if the host would not take an address, which is no harm.
	_ = p.ip.Wait()
	return err
}

// index is a device's; 0 is none of that name.
func (p *plugger) index(device string) (int32, error) {
	r := ifreq{}
	copy(r.name[:15], device)
	err := p.ioctl(siocGIFINDEX, &r)
	if errors.Is(err, syscall.ENODEV) {
		return 0, nil
	}
	return r.index, err
}

func (p *plugger) ioctl(number uintptr, r *ifreq) error {
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(p.socket), number, uintptr(unsafe.Pointer(r)))
	if errno != 0 {
		return errno
	}
	return nil
}

// plug waits for the bridges and calls plugged for each guest that is in. It
// returns when all are, or when ctx ends.
func (p *plugger) plug(ctx context.Context, nets []network, plugged func(i int)) error {
	waiting := make([]*network, len(nets))
	for i := range nets {
		waiting[i] = &nets[i]
	}
	// A round costs about a microsecond for each one that waits.
	ticker := time.NewTicker(max(2*time.Millisecond, time.Duration(len(nets))*10*time.Microsecond))
	defer ticker.Stop()
	for len(waiting) > 0 {
		rest := waiting[:0]
		for _, n := range waiting {
			bridge, err := p.index(n.bridge)
			if err != nil {
				return fmt.Errorf("%s: %w", n.bridge, err)
			}
			if bridge == 0 {
				rest = append(rest, n)
				continue
			}
			if err := p.join(n); err != nil {
				return err
			}
			plugged(n.index)
		}
		waiting = rest
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
}

// join puts a guest's device into its bridge.
func (p *plugger) join(n *network) error {
	device, err := p.index(n.plug)
	if err != nil || device == 0 {
		return fmt.Errorf("%s is not there: %w", n.plug, errors.Join(err, syscall.ENODEV))
	}
	r := ifreq{index: device}
	copy(r.name[:15], n.bridge)
	if err := p.ioctl(siocBRADDIF, &r); err != nil {
		return fmt.Errorf("put %s into %s: %w", n.plug, n.bridge, err)
	}
	for _, a := range []netip.Addr{n.guest4().Addr(), n.guest6().Addr(), n.guestLinkLocal()} {
		if _, err := fmt.Fprintf(p.orders, "neigh replace %v lladdr %s dev %s nud permanent\n", a, n.macText(0x52), n.bridge); err != nil {
			return err
		}
	}
	return nil
}
