package attach

import (
	"context"
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/sextant-net/sextant/internal/kernel/netns"
)

// How long a gateway may take to answer for the first time, and once it has.
// Neighbours are asked three times, a second apart (RFC 4861 section 10).
const (
	probeFirst = 1500 * time.Millisecond
	probeAgain = 4 * time.Second
	probeLook  = 20 * time.Millisecond
)

// gateways are those of the default routes over the link.
func (s *state) gateways() []netip.Addr {
	var out []netip.Addr
	seen := map[netip.Addr]bool{}
	for _, r := range s.routes() {
		if r.dst.Bits() == 0 && r.gateway.IsValid() && !seen[r.gateway] {
			seen[r.gateway] = true
			out = append(out, r.gateway)
		}
	}
	return out
}

// answering asks the neighbours on a link whether they are there, and returns
// those that said so in time.
func answering(ctx context.Context, c *netns.Conn, index int, who []netip.Addr, limit time.Duration) (map[netip.Addr]bool, error) {
	out := map[netip.Addr]bool{}
	if len(who) == 0 {
		return out, nil
	}
	for _, a := range who {
		poke(c, index, a)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(probeLook)
	defer tick.Stop()
	for {
		msgs, err := dumpNeighbours(c)
		if err != nil {
			return out, err
		}
		for _, m := range msgs {
			if at, a, state := readNeighbour(m); at == index && state&unix.NUD_REACHABLE != 0 {
				for _, w := range who {
					out[w] = out[w] || w == a
				}
			}
		}
		all := true
		for _, w := range who {
			all = all && out[w]
		}
		if all {
			return out, nil
		}
		select {
		case <-ctx.Done():
			return out, nil
		case <-tick.C:
		}
	}
}

// poke has the kernel ask a neighbour: one that it knows without doubting it
// meanwhile, others as if there were something to send.
func poke(c *netns.Conn, index int, a netip.Addr) {
	head := make([]byte, unix.SizeofNdMsg)
	head[0] = unix.AF_INET
	if a.Is6() {
		head[0] = unix.AF_INET6
	}
	binary.NativeEndian.PutUint32(head[neighIndex:], uint32(index))
	binary.NativeEndian.PutUint16(head[neighState:], unix.NUD_PROBE)
	dst := attribute{unix.NDA_DST, a.AsSlice()}
	if mac := macOf(c, index, a); mac != nil {
		_ = send(c, unix.RTM_NEWNEIGH, unix.NLM_F_REPLACE, paste(head, []attribute{dst, {unix.NDA_LLADDR, mac}}))
		return
	}
	binary.NativeEndian.PutUint16(head[neighState:], unix.NUD_NONE)
	head[neighFlags] = unix.NTF_USE
	_ = send(c, unix.RTM_NEWNEIGH, unix.NLM_F_CREATE, paste(head, []attribute{dst}))
}

func dumpNeighbours(c *netns.Conn) ([][]byte, error) {
	return c.Dump(func() *nl.NetlinkRequest {
		req := nl.NewNetlinkRequest(unix.RTM_GETNEIGH, 0)
		req.AddRawData(make([]byte, unix.SizeofNdMsg))
		return req
	}, unix.RTM_NEWNEIGH)
}

func macOf(c *netns.Conn, index int, who netip.Addr) []byte {
	msgs, err := dumpNeighbours(c)
	if err != nil {
		return nil
	}
	for _, m := range msgs {
		if at, a, state := readNeighbour(m); at == index && a == who && state&(unix.NUD_REACHABLE|unix.NUD_STALE|unix.NUD_DELAY|unix.NUD_PROBE) != 0 {
			_, attrs, _ := cut(m, unix.SizeofNdMsg)
			return find(attrs, unix.NDA_LLADDR)
		}
	}
	return nil
}

func readNeighbour(msg []byte) (index int, a netip.Addr, state uint16) {
	head, attrs, err := cut(msg, unix.SizeofNdMsg)
	if err != nil {
		return 0, a, 0
	}
	a, _ = netip.AddrFromSlice(find(attrs, unix.NDA_DST))
	return int(binary.NativeEndian.Uint32(head[neighIndex:])), a, binary.NativeEndian.Uint16(head[neighState:])
}
