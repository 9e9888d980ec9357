package vm

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// hostfs serves the host's root directory to one machine.
type hostfs struct {
	cmd    *exec.Cmd
	socket string
	out    bytes.Buffer
	done   chan struct{}
}

// serveHost starts virtiofsd, the C program of QEMU up to 7 or the Rust one
// that followed it. Both must run as root to read everything; "chroot" is the
// sandbox that works inside containers too.
func serveHost(dir string) (*hostfs, error) {
	h := &hostfs{socket: filepath.Join(dir, "fs.sock"), done: make(chan struct{})}
	for _, path := range []string{"/usr/libexec/virtiofsd", "/usr/bin/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd"} {
		if _, err := os.Stat(path); err == nil {
			h.cmd = exec.Command(path, hostfsArgs(path, h.socket)...)
			break
		}
	}
	if h.cmd == nil {
		return nil, fmt.Errorf("no virtiofsd: run `make deps`")
	}
	h.cmd.Stdout, h.cmd.Stderr = &h.out, &h.out
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = h.cmd.Wait(); close(h.done) }()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for {
		if _, err := os.Stat(h.socket); err == nil {
			return h, nil
		}
		select {
		case <-h.done:
			return nil, fmt.Errorf("virtiofsd ended: %s", h.out.String())
		case <-ctx.Done():
			h.stop()
			return nil, fmt.Errorf("virtiofsd makes no socket: %s", h.out.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// hostfsArgs are the arguments of the program at path.
func hostfsArgs(path, socket string) []string {
	if strings.HasPrefix(path, "/usr/lib/qemu/") {
		return []string{"--socket-path=" + socket, "-f", "-o", "source=/", "-o", "sandbox=chroot", "-o", "cache=always"}
	}
	args := []string{"--socket-path=" + socket, "--shared-dir=/", "--sandbox=chroot", "--cache=always"}
	// Newer ones tell the guest where file systems begin, and an overlay does
	// not look beyond such a border.
	const whole = "--no-announce-submounts"
	if help, err := exec.Command(path, "--help").CombinedOutput(); err == nil && bytes.Contains(help, []byte(whole)) {
		args = append(args, whole)
	}
	return args
}

// stop ends the program. The C one never removes the file by which it locks its
// socket.
func (h *hostfs) stop() {
	_ = h.cmd.Process.Kill()
	<-h.done
	_ = os.Remove("/var/run/virtiofsd/" + strings.ReplaceAll(h.socket, "/", ".") + ".pid")
}
