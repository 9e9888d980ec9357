package dns

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// resolvedSocket is there while systemd-resolved runs, and made anew when
	// it restarts.
	resolvedSocket = "/run/systemd/resolve/io.systemd.Resolve"
	// resolvedEvery is how often that is looked at.
	resolvedEvery = 5 * time.Second
	// resolvedTimeout bounds one command.
	resolvedTimeout = 5 * time.Second
)

// Resolved tells systemd-resolved, where it runs, which domains our name
// servers know, so that the host itself resolves guests' names. It tells again
// when resolved has restarted, for resolved forgets.
type Resolved struct {
	log    *slog.Logger
	socket string
	// run runs a resolvectl command.
	run func(ctx context.Context, args ...string) error
	// may says whether resolved knows our links, asked each time: it may start
	// after us.
	may func() bool

	mu     sync.Mutex
	wanted map[string]resolvedLink // by link
	told   map[string]resolvedLink
	gen    uint64 // inode of the socket that was told

	kick chan struct{}
	end  context.CancelFunc
	work sync.WaitGroup
}

// resolvedLink is what resolved is told of a link, in its own words.
type resolvedLink struct{ servers, domains string }

// NewResolved starts a registrar. It does nothing as long as resolved does not
// run, resolvectl is not installed, or this process lives in another network
// namespace than resolved, whose links are none of ours then. log may be nil.
func NewResolved(log *slog.Logger) *Resolved {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return newResolved(log, resolvedSocket, resolvectl, sameNamespace)
}

func newResolved(log *slog.Logger, socket string, run func(context.Context, ...string) error, may func() bool) *Resolved {
	ctx, cancel := context.WithCancel(context.Background())
	r := &Resolved{
		log: log, socket: socket, run: run, may: may, end: cancel, kick: make(chan struct{}, 1),
		wanted: map[string]resolvedLink{}, told: map[string]resolvedLink{},
	}
	r.work.Go(func() { r.loop(ctx) })
	return r
}

// Set says which name servers on the link know the domains, reverse zones
// among them. Only for networks whose gateway is in the host's namespace.
func (r *Resolved) Set(link string, servers []netip.Addr, domains []string) {
	var l resolvedLink
	for _, a := range servers {
		if a = a.Unmap(); a.IsValid() && !a.IsLinkLocalUnicast() {
			l.servers += " " + a.String()
		}
	}
	for _, d := range domains {
		if d = strings.TrimSuffix(d, "."); d != "" {
			l.domains += " ~" + d // routing only: not for completing names
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.servers == "" || l.domains == "" {
		delete(r.wanted, link)
	} else {
		r.wanted[link] = l
	}
	r.wake()
}

// Remove takes the link's registration back.
func (r *Resolved) Remove(link string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.wanted, link)
	r.wake()
}

// Close takes all registrations back: nobody will answer any more.
func (r *Resolved) Close() error {
	r.end()
	r.work.Wait()
	r.mu.Lock()
	clear(r.wanted)
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), resolvedTimeout)
	defer cancel()
	return r.sync(ctx)
}

func (r *Resolved) wake() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

func (r *Resolved) loop(ctx context.Context) {
	tick := time.NewTicker(resolvedEvery)
	defer tick.Stop()
	failing := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-r.kick:
		}
		err := r.sync(ctx)
		if err != nil && ctx.Err() == nil && failing != err.Error() {
			failing = err.Error()
			r.log.Warn("dns: systemd-resolved does not take our domains; the host will not resolve guests' names", "err", err)
		}
		if err == nil {
			failing = ""
		}
	}
}

// sync tells resolved what it was not told yet.
func (r *Resolved) sync(ctx context.Context) error {
	gen := inode(r.socket)
	r.mu.Lock()
	if gen != r.gen { // started, restarted or gone: it knows nothing
		clear(r.told)
		r.gen = gen
	}
	wanted, told := maps.Clone(r.wanted), maps.Clone(r.told)
	r.mu.Unlock()
	if gen == 0 || !r.may() {
		return nil
	}
	var first error
	note := func(link string, err error, l resolvedLink, here bool) {
		if err != nil {
			if first == nil {
				first = fmt.Errorf("link %s: %w", link, err)
			}
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.told, link)
		if here {
			r.told[link] = l
		}
	}
	for _, link := range slices.Sorted(maps.Keys(told)) {
		if _, still := wanted[link]; !still {
			err := r.command(ctx, "revert", link)
			if _, statErr := os.Stat("/sys/class/net/" + link); statErr != nil {
				err = nil // gone, and with it what resolved knew
			}
			note(link, err, resolvedLink{}, false)
		}
	}
	for _, link := range slices.Sorted(maps.Keys(wanted)) {
		if l := wanted[link]; told[link] != l {
			note(link, r.tell(ctx, link, l), l, true)
		}
	}
	return first
}

// tell registers one link. DNSSEC is off for it, for nobody signs our zones;
// and it is never the way for other names.
func (r *Resolved) tell(ctx context.Context, link string, l resolvedLink) error {
	for _, args := range [][]string{
		append([]string{"dns", link}, strings.Fields(l.servers)...),
		append([]string{"domain", link}, strings.Fields(l.domains)...),
		{"default-route", link, "no"},
		{"dnssec", link, "no"},
		{"dnsovertls", link, "no"},
	} {
		if err := r.command(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

func (r *Resolved) command(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, resolvedTimeout)
	defer cancel()
	return r.run(ctx, args...)
}

func resolvectl(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "resolvectl", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("resolvectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// inode identifies a file, 0 if it is not there.
func inode(path string) uint64 {
	fi, err := os.Stat(path)
	if err != nil {
		return 0
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}

// sameNamespace reports whether resolved is in the network namespace of this
// process, so that it knows our links, and resolvectl is installed.
func sameNamespace() bool {
	if _, err := exec.LookPath("resolvectl"); err != nil {
		return false
	}
	pid := servedBy(resolvedSocket)
	ours, theirs := inode("/proc/self/ns/net"), inode(fmt.Sprintf("/proc/%d/ns/net", pid))
	return pid > 0 && ours != 0 && ours == theirs
}

// servedBy returns the process that listens on a unix socket, 0 if none does.
func servedBy(socket string) int {
	c, err := net.DialTimeout("unix", socket, resolvedTimeout)
	if err != nil {
		return 0
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	return pid
}
