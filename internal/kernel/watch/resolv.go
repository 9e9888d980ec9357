package watch

import (
	"bufio"
	"bytes"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/sextant-net/sextant/internal/plan"
)

// resolvers returns the host's own name servers. A local stub is replaced by
// the servers behind it where those are known; our own listeners are left out,
// lest questions go round in circles.
func (w *Watcher) resolvers(f *plan.Facts) []netip.AddrPort {
	servers := readResolv(w.opt.Resolv)
	if slices.ContainsFunc(servers, func(a netip.Addr) bool { return a.IsLoopback() }) {
		if real := readResolv(w.opt.Real); len(real) > 0 {
			servers = slices.DeleteFunc(servers, netip.Addr.IsLoopback)
			servers = append(servers, real...)
		}
	}
	ours := map[netip.Addr]bool{}
	for _, l := range f.Links {
		if isOurs(l) {
			for _, p := range l.Addresses {
				ours[p.Addr()] = true
			}
		}
	}
	var out []netip.AddrPort
	for _, a := range servers {
		ap := netip.AddrPortFrom(a, 53)
		if !ours[a.WithZone("")] && !slices.Contains(out, ap) {
			out = append(out, ap)
		}
	}
	return out
}

func readResolv(path string) []netip.Addr {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return parseResolv(b)
}

// parseResolv returns the name servers of a resolv.conf(5), in order. What is
// no address is passed over, as the resolver does.
func parseResolv(b []byte) []netip.Addr {
	var out []netip.Addr
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(f[1]); err == nil && !a.IsUnspecified() {
			out = append(out, a.Unmap())
		}
	}
	return out
}
