package watch

import (
	"bufio"
	"bytes"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/sextant-net/sextant/internal/plan"
)

// stubs are the addresses of systemd-resolved's own listeners, behind which
// the file Options.Real names the servers. Another program on a loopback
// address is asked itself.
var stubs = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 53}), netip.AddrFrom4([4]byte{127, 0, 0, 54})}

func isStub(a netip.Addr) bool { return slices.Contains(stubs, a) }

// resolvers returns the host's own name servers. A local stub is replaced by
// the servers behind it where those are known; our own listeners are left out,
// lest questions go round in circles.
func (w *Watcher) resolvers(f *plan.Facts) []netip.AddrPort {
	servers := readResolv(w.opt.Resolv)
	if slices.ContainsFunc(servers, isStub) {
		if real := slices.DeleteFunc(readResolv(w.opt.Real), isStub); len(real) > 0 {
			servers = slices.DeleteFunc(servers, isStub)
			servers = append(servers, real...)
		}
	}
	ours := map[netip.Addr]bool{}
	for _, l := range f.Links {
		if isOurs(l) {
			for _, p := range l.Addresses {
				a := p.Addr()
				if a.IsLinkLocalUnicast() && a.Is6() { // of this link: the provider's router may have it on another
					ours[a.WithZone(strconv.Itoa(l.Index))] = true
					a = a.WithZone(l.Name)
				}
				ours[a] = true
			}
		}
	}
	var out []netip.AddrPort
	for _, a := range servers {
		ap := netip.AddrPortFrom(a, 53)
		if !ours[a] && !slices.Contains(out, ap) {
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
