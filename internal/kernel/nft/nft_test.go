package nft_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/kernel/nft"
	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

const text = `table inet sextant {
	set links { type ifname; }
	set source6 { type ifname . ipv6_addr; flags interval; }
	set masquerade4 { type ipv4_addr; flags interval; }
	set services { type inet_proto . inet_service; flags interval; elements = { tcp . 53, udp . 1000-2000 } }
	set seen { type ipv6_addr; flags dynamic,timeout; timeout 1h; }
	map out6 { type ifname : verdict; }
	map bits { type ifname : mark; }
	chain forward {
		type filter hook forward priority filter; policy accept;
		ct state established,related accept
		meta nfproto ipv6 iifname vmap @out6
		meta l4proto . th dport @services counter accept
	}
	chain any {
		meta nfproto ipv6 iifname . ip6 saddr != @source6 drop
		meta nfproto ipv6 update @seen { ip6 saddr }
	}
	chain none {
		drop
	}
}
table bridge sextant {
	set ports { type ifname; }
	set pairs { type ifname . ether_addr . ipv6_addr; flags interval; }
	chain prerouting {
		type filter hook prerouting priority -250; policy accept;
		iifname @ports ether type ip6 accept
	}
}
`

type host struct {
	t      *testing.T
	ns     *netnstest.NS
	tables *nft.Tables
}

func newHost(t *testing.T) *host {
	t.Helper()
	netnstest.NeedCommands(t, "nft")
	h := &host{t: t, ns: netnstest.New(t, "nft")}
	h.restart()
	return h
}

func (h *host) restart() {
	h.t.Helper()
	set, err := netns.At(h.ns.Path())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { set.Close() })
	h.tables = nft.New(set)
}

func (h *host) apply(put, del []plan.Item) {
	h.t.Helper()
	for k, err := range h.tables.Apply(context.Background(), put, del) {
		h.t.Errorf("%v: %v", k, err)
	}
}

func keyed(items []plan.Item) map[plan.Key]plan.Item {
	out := map[plan.Key]plan.Item{}
	for _, i := range items {
		out[i.Key()] = i
	}
	return out
}

func (h *host) actual(want []plan.Item) map[plan.Key]plan.Item {
	h.t.Helper()
	got, err := h.tables.Actual(context.Background(), keyed(want))
	if err != nil {
		h.t.Fatal(err)
	}
	return got
}

// settled expects exactly the items in the kernel, and that applying them
// again, with and without memory, sends nothing.
func (h *host) settled(items []plan.Item) {
	h.t.Helper()
	if d := cmp.Diff(keyed(items), h.actual(items)); d != "" {
		h.t.Errorf("actual differs (-want +got):\n%s", d)
	}
	if said := h.monitor(func() { h.apply(items, nil) }); said != "" {
		h.t.Errorf("applying again changed:\n%s", said)
	}
	h.restart()
	if said := h.monitor(func() { h.apply(items, nil) }); said != "" {
		h.t.Errorf("applying after a restart changed:\n%s", said)
	}
}

// monitor returns what `nft monitor` said while f ran.
func (h *host) monitor(f func()) string {
	h.t.Helper()
	var out lockedBuffer
	cmd := h.ns.Command("nft", "monitor")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	probe := func(name string) {
		h.t.Helper()
		netnstest.Eventually(h.t, 5*time.Second, "nft monitor", func() error {
			h.ns.Run("nft", "add table ip "+name+"; delete table ip "+name)
			if !strings.Contains(out.String(), name) {
				return fmt.Errorf("%s not seen", name)
			}
			return nil
		})
	}
	probe("mon0")
	f()
	probe("mon1")
	var lines []string
	for _, line := range strings.Split(out.String(), "\n") {
		if line != "" && !strings.Contains(line, "mon0") && !strings.Contains(line, "mon1") && !strings.HasPrefix(line, "# new generation") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func elem(family, set, key, value string) plan.Element {
	return plan.Element{Family: family, Set: set, Elem: key, Value: value}
}

func items() []plan.Item {
	return []plan.Item{
		plan.Chains{Text: text},
		elem("inet", "links", `"sx-web"`, ""),
		elem("inet", "links", `"10"`, ""),
		elem("inet", "source6", `"sx-web" . 2001:db8::/64`, ""),
		elem("inet", "source6", `"sx-web" . 2001:DB9:0:0:1::/128`, ""),
		elem("inet", "source6", `"b.100" . fd00::5-fd00::9`, ""),
		elem("inet", "masquerade4", "10.0.0.0/8", ""),
		elem("inet", "masquerade4", "192.168.1.0-192.168.1.255", ""),
		elem("inet", "masquerade4", "192.168.7.7", ""),
		elem("inet", "out6", `"sx-web"`, "jump any"),
		elem("inet", "out6", `"10"`, "drop"),
		elem("inet", "bits", `"sx-web"`, "0x10"),
		elem("bridge", "ports", `"tap0"`, ""),
		elem("bridge", "pairs", `"tap0" . 52:54:00:AA:00:01 . fe80::/64`, ""),
	}
}

func TestApply(t *testing.T) {
	h := newHost(t)
	all := items()
	h.apply(all, nil)
	h.settled(all)
	out := h.ns.Run("nft", "list", "ruleset")
	for _, want := range []string{`"sx-web" : jump any`, `"sx-web" . 2001:db8::/64`, "192.168.1.0/24", `"tap0" . 52:54:00:aa:00:01 . fe80::/64`} {
		if !strings.Contains(out, want) {
			t.Errorf("nft lists no %q:\n%s", want, out)
		}
	}
	// Elements come, go and change their value.
	all = h.actualSlice(all)
	del := []plan.Item{elem("inet", "masquerade4", "10.0.0.0/8", ""), elem("bridge", "ports", `"tap0"`, "")}
	put := []plan.Item{elem("inet", "out6", `"sx-web"`, "goto none"), elem("inet", "bits", `"sx-web"`, "32"), elem("inet", "masquerade4", "10.1.0.0/16", "")}
	said := h.monitor(func() { h.apply(put, del) })
	if strings.Contains(said, "chain") || strings.Contains(said, "table inet sextant {") {
		t.Errorf("elements changed more than themselves:\n%s", said)
	}
	m := keyed(all)
	for _, i := range del {
		delete(m, i.Key())
	}
	for _, i := range put {
		m[i.Key()] = i
	}
	all = all[:0]
	for _, i := range m {
		all = append(all, i)
	}
	h.settled(all)

	// Other chains keep the elements.
	longer := plan.Chains{Text: strings.Replace(text, "\tchain none {", "\tset new { type ifname; }\n\tchain none {", 1)}
	h.restart()
	h.apply([]plan.Item{longer}, nil)
	m[longer.Key()] = longer
	all = all[:0]
	for _, i := range m {
		all = append(all, i)
	}
	h.settled(all)

	// All of it goes.
	h.restart()
	var gone []plan.Item
	for _, i := range h.actual(nil) {
		gone = append(gone, i)
	}
	if len(gone) != 1 {
		t.Errorf("reported: %v", gone) // the chains, all else goes with them
	}
	h.apply(nil, gone)
	if out := strings.TrimSpace(h.ns.Run("nft", "list", "ruleset")); out != "" {
		t.Errorf("left behind:\n%s", out)
	}
	if got := h.actual(nil); len(got) != 0 {
		t.Errorf("reported: %v", got)
	}
	h.apply(nil, gone)
}

func (h *host) actualSlice(want []plan.Item) []plan.Item {
	var out []plan.Item
	for _, i := range h.actual(want) {
		out = append(out, i)
	}
	return out
}

// TestDrift: whatever somebody does to our tables is seen and mended.
func TestDrift(t *testing.T) {
	h := newHost(t)
	all := items()
	h.apply(all, nil)
	h.ns.Run("nft", "add table ip other")
	for _, cmd := range []string{
		"flush ruleset",
		"delete table inet sextant",
		"delete table bridge sextant",
		"flush table inet sextant",
		"flush chain inet sextant any",
		"add rule inet sextant any accept",
		"insert rule bridge sextant prerouting drop",
		"add chain inet sextant more",
		"flush set inet sextant links",
		`delete element inet sextant out6 { "sx-web" }; add element inet sextant out6 { "sx-web" : accept }`,
		`add element inet sextant links { "intruder" }`,
		"delete table inet sextant; add table inet sextant",
	} {
		for _, restart := range []bool{false, true} {
			h.ns.Run("nft", cmd)
			if restart {
				h.restart()
			}
			want, got := keyed(all), h.actual(all)
			var put, del []plan.Item
			for _, i := range all {
				if got[i.Key()] != i {
					put = append(put, i)
				}
			}
			for k, i := range got {
				if want[k] == nil {
					del = append(del, i)
				}
			}
			if len(put)+len(del) == 0 {
				t.Errorf("%s: not seen", cmd)
			}
			h.apply(put, del)
			if d := cmp.Diff(want, h.actual(all)); d != "" {
				t.Fatalf("%s: not mended:\n%s", cmd, d)
			}
		}
	}
	h.settled(all)
}

// TestFlushedUnseen: a change of elements finds that the tables are gone.
func TestFlushedUnseen(t *testing.T) {
	h := newHost(t)
	all := items()
	h.apply(all, nil)
	h.ns.Run("nft", "flush ruleset")
	more := elem("inet", "links", `"sx-new"`, "")
	h.apply([]plan.Item{more}, nil)
	h.settled(append(all, more))
}

// TestRefused: what nft refuses is named; the rest is done.
func TestRefused(t *testing.T) {
	h := newHost(t)
	all := items()
	h.apply(all, nil)
	good := elem("inet", "links", `"sx-good"`, "")
	for _, bad := range []plan.Element{
		elem("inet", "out6", `"sx-bad"`, "jump nowhere"),
		elem("inet", "nosuchset", `"sx-bad"`, ""),
		elem("inet", "masquerade4", "10.0.0.0/33", ""),
		elem("inet", "masquerade4", "10.0.0.0/16", ""), // overlaps
		elem("inet", "links", `"much-too-long-a-name"`, ""),
		elem("inet", "links", `"x" } ; flush ruleset`, ""),
	} {
		failed := h.tables.Apply(context.Background(), []plan.Item{bad, good}, nil)
		if err := failed[bad.Key()]; err == nil || !strings.Contains(err.Error(), bad.Set) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v: %v", bad, err)
		}
		if failed[good.Key()] != nil {
			t.Errorf("the good one beside %v: %v", bad, failed[good.Key()])
		}
		h.settled(append(items(), good))
		h.apply(nil, []plan.Item{good})
	}
	// In a replacement, too.
	h.ns.Run("nft", "flush ruleset")
	h.restart()
	bad := elem("inet", "out6", `"sx-bad"`, "jump nowhere")
	failed := h.tables.Apply(context.Background(), append(items(), bad), nil)
	if len(failed) != 1 || failed[bad.Key()] == nil {
		t.Errorf("failed: %v", failed)
	}
	h.settled(items())
	// Broken chains change nothing.
	broken := plan.Chains{Text: "table inet sextant {\n\tchain x {\n\t\tnonsense here\n\t}\n}\n"}
	err := h.tables.Apply(context.Background(), []plan.Item{broken}, nil)[broken.Key()]
	if err == nil || !strings.Contains(err.Error(), "nonsense here") {
		t.Errorf("broken chains: %v", err)
	}
	h.restart()
	h.settled(items())
}

// TestDeleteGone: removing an element that somebody else removed is done.
func TestDeleteGone(t *testing.T) {
	h := newHost(t)
	all := items()
	h.apply(all, nil)
	h.ns.Run("nft", `delete element inet sextant links { "10" }`)
	h.apply(nil, []plan.Item{elem("inet", "links", `"10"`, ""), elem("inet", "out6", `"10"`, "drop")})
	got := h.actual(all)
	if len(got) != len(all)-2 {
		t.Errorf("%d items, want %d", len(got), len(all)-2)
	}
}

func TestNoProgram(t *testing.T) {
	h := newHost(t)
	t.Setenv("PATH", t.TempDir())
	c := plan.Chains{Text: text}
	err := h.tables.Apply(context.Background(), []plan.Item{c}, nil)[c.Key()]
	if !vnet.Is(err, vnet.ErrUnsupported) || !strings.Contains(err.Error(), "install nftables") {
		t.Errorf("without nft: %v", err)
	}
}
