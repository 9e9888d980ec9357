package agent_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sextant-net/sextant/internal/agent"
	"github.com/sextant-net/sextant/internal/kernel/hear"
	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/kernel/watch"
	"github.com/sextant-net/sextant/internal/netnstest"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/translate"
	"github.com/sextant-net/sextant/internal/vnet"
)

// host is a host with an agent that follows a store in memory.
type host struct {
	t     *testing.T
	ns    *netnstest.NS
	store *agent.FakeStore
	state string
	agent *agent.Agent
	clock *clocks // nil: the machine's
	stop  func()
}

func newHost(t *testing.T) *host {
	netnstest.NeedCommands(t, "ip", "nft")
	h := &host{t: t, ns: netnstest.New(t, "agent"), store: agent.NewFakeStore(), state: t.TempDir()}
	up := netnstest.New(t, "up")
	netnstest.Veth(h.ns, "eth0", up, "eth0")
	h.ns.Run("ip", "addr", "add", "203.0.113.2/24", "dev", "eth0")
	h.ns.Run("ip", "route", "add", "default", "via", "203.0.113.1")
	h.store.Put(&vnet.Installation{ULA: netip.MustParsePrefix("fd12:3456:789a::/48")},
		&vnet.Project{Meta: vnet.Meta{ID: "p1", Name: "default"}})
	return h
}

// silentStore is a store that is away.
type silentStore struct{ *agent.FakeStore }

func (silentStore) Follow(context.Context, string) (<-chan vnet.Update, error) {
	return make(chan vnet.Update), nil
}

// start runs the agent until the test ends or stop is called.
func (h *host) start() { h.t.Helper(); h.startWith(h.store) }

func (h *host) startWith(store agent.Store) {
	h.t.Helper()
	spaces, err := netns.At(h.ns.Path())
	if err != nil {
		h.t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	kernel, err := agent.NewKernel(spaces, h.state)
	if err != nil {
		h.t.Fatal(err)
	}
	features, _, err := watch.Probe(context.Background())
	if err != nil {
		h.t.Fatal(err)
	}
	var a *agent.Agent
	finder, err := watch.New(spaces, watch.Options{Features: features, Log: log, Named: func(ns string) bool { return a.Names(ns) }})
	if err != nil {
		h.t.Fatal(err)
	}
	l, err := hear.Listen(spaces.Do, "", plan.HearGroup, log)
	if err != nil {
		h.t.Fatal(err)
	}
	p, err := hear.NewProber(spaces.Do, "")
	if err != nil {
		h.t.Fatal(err)
	}
	translator := translate.New(translate.Config{Dir: h.state + "/nat64", Log: log, InNS: func(f func() error) error { return spaces.Do("", f) }})
	a, err = agent.New(agent.Config{
		Translator: translator,
		Host:       "h1", Kernel: kernel, Finder: finder, Store: store, StateDir: h.state, InNS: spaces.Do,
		DUID: []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 1}, Log: log, Ears: &agent.Ears{C: l.C, Send: p.Send,
			In: func(ns string) (*hear.Listener, error) { return hear.Listen(spaces.Do, ns, plan.HearGroup, log) }},
		Now: h.clock.nowOf(), UplinkClock: h.clock.instantOf(),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.agent = a
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() {
		err := finder.Run(ctx)
		if errors.Is(err, context.Canceled) {
			err = nil
		}
		done <- err
	}()
	go func() { done <- a.Run(ctx) }()
	stopped := false
	h.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := errors.Join(<-done, <-done, l.Close(), p.Close(), translator.Close(), spaces.Close()); err != nil {
			h.t.Error(err)
		}
	}
	h.t.Cleanup(h.stop)
}

// network puts a started dual-stack network into the store.
func (h *host) network(id string) (*vnet.Network, vnet.Ref) {
	n := &vnet.Network{
		Meta: vnet.Meta{ID: vnet.ID(id), Name: id, Project: "p1"}, Bridge: "sx-" + id, Number: 1, MAC: vnet.MAC{0x52, 0x54, 0, 0, 0, 1},
		Domain: id + ".internal", IPv4: vnet.FamilyPolicy{Mode: vnet.EgressAuto}, IPv6: vnet.FamilyPolicy{Mode: vnet.EgressAuto},
		Admit: vnet.AdmitAny, LeaseTime: vnet.Duration(vnet.DefaultLease),
	}
	h.store.Put(n, &vnet.Activation{Meta: vnet.Meta{ID: vnet.ID(id + "-a")}, Network: n.ID, Host: "h1", Started: true},
		&vnet.Subnet{Meta: vnet.Meta{ID: vnet.ID(id + "-4")}, Network: n.ID, Family: vnet.IPv4, Source: vnet.SourceAuto, Guests: vnet.GuestsDHCP, Primary: true},
		&vnet.Subnet{Meta: vnet.Meta{ID: vnet.ID(id + "-6")}, Network: n.ID, Family: vnet.IPv6, Source: vnet.SourceULA,
			Prefix: netip.MustParsePrefix("fd12:3456:789a:1::/64"), Guests: vnet.GuestsSLAACStateful, Primary: true})
	return n, vnet.RefOf(n)
}

func (h *host) await(ref vnet.Ref, state vnet.State) *vnet.Status {
	h.t.Helper()
	var s *vnet.Status
	netnstest.Eventually(h.t, 20*time.Second, fmt.Sprintf("%v %s", ref, state), func() error {
		if s = h.store.Status(ref, "h1"); s == nil || s.State != state {
			return fmt.Errorf("status %+v", s)
		}
		return nil
	})
	return s
}

// show prints what the host has of ours.
func (h *host) show() string {
	out, _ := h.ns.Try("sh", "-c", "ip -o -br address show; nft list ruleset; sysctl -a 2>/dev/null | grep -E 'conf.(sx|eth0).*forwarding'")
	return out
}

// monitor begins to record every change of links, addresses, routes and rules;
// the function that it returns ends that and returns the record.
func (h *host) monitor() func() string {
	var cmds []*exec.Cmd
	var out []*strings.Builder
	// Neighbours aside: the kernel forgets those of its own by itself.
	for _, watch := range []string{"ip monitor link address route rule", "nft monitor"} {
		cmd := exec.Command("nsenter", append([]string{"--net=" + h.ns.Path()}, strings.Fields(watch)...)...)
		b := &strings.Builder{}
		cmd.Stdout = b
		if err := cmd.Start(); err != nil {
			h.t.Fatal(err)
		}
		cmds, out = append(cmds, cmd), append(out, b)
	}
	return func() string {
		text := ""
		for i, cmd := range cmds {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			text += out[i].String()
		}
		return text
	}
}

// TestLifeOfANetwork: it comes, is put back when others break it, survives the
// agent's restart without a change, and leaves nothing.
func TestLifeOfANetwork(t *testing.T) {
	h := newHost(t)
	clean := h.show()
	h.start()
	n, ref := h.network("web")
	st := h.await(ref, vnet.StateRunning)
	if st.Rung4 != vnet.EgressNAT || st.Rung6 != vnet.EgressULA || len(st.Prefixes) != 2 || st.Bridge != n.Bridge {
		t.Errorf("status %+v, want nat and ula on two prefixes", st)
	}
	if got := h.store.All(vnet.KindAssignment); len(got) != 1 {
		t.Fatalf("%d prefix assignments claimed, want 1", len(got))
	}
	good := h.show()

	for _, harm := range [][]string{
		{"nft", "flush", "ruleset"},
		{"nft", "delete", "table", "inet", "sextant"},
		{"ip", "addr", "flush", "dev", n.Bridge},
		{"ip", "link", "set", n.Bridge, "down"},
		{"ip", "link", "delete", n.Bridge},
		{"sysctl", "-qw", "net.ipv4.conf." + n.Bridge + ".forwarding=0"},
	} {
		h.ns.Run(harm[0], harm[1:]...)
		if harm[0] == "sysctl" {
			continue // nothing announces it; the next comparison mends it
		}
		netnstest.Eventually(t, 5*time.Second, "repaired after "+strings.Join(harm, " "), func() error {
			if now := h.show(); now != good {
				return fmt.Errorf("have\n%s\nwant\n%s", now, good)
			}
			return nil
		})
	}
	h.ns.Run("sysctl", "-qw", "net.ipv4.conf."+n.Bridge+".forwarding=1")

	h.stop()
	if now := h.show(); now != good {
		t.Errorf("the agent's end changed the host:\n%s\nwant\n%s", now, good)
	}
	changes := h.monitor()
	h.start()
	port := &vnet.Port{Meta: vnet.Meta{ID: "unbound", Name: "unbound", Project: "p1"}, Network: n.ID, MAC: vnet.MAC{2, 0, 0, 0, 0, 9}}
	h.store.Put(port)
	h.await(vnet.RefOf(port), vnet.StateStopped)
	if seen := changes(); seen != "" {
		t.Errorf("the agent's start changed the host:\n%s", seen)
	}

	h.store.Put(&vnet.Activation{Meta: vnet.Meta{ID: "web-a"}, Network: n.ID, Host: "h1"})
	h.await(ref, vnet.StateStopped)
	if now := h.show(); now != clean {
		t.Errorf("left behind:\n%s\nwant\n%s", now, clean)
	}
}

// TestPrefixMoves: when the host joins a network that clashes, an automatic
// prefix goes elsewhere, and the outside is reached again.
func TestPrefixMoves(t *testing.T) {
	h := newHost(t)
	h.start()
	_, ref := h.network("web")
	st := h.await(ref, vnet.StateRunning)
	old := st.Prefixes[0]
	h.ns.Run("ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth2")
	h.ns.Run("ip", "link", "set", "eth1", "up")
	h.ns.Run("ip", "addr", "add", netip.PrefixFrom(old.Addr().Next(), 25).String(), "dev", "eth1")
	netnstest.Eventually(t, 10*time.Second, "the prefix moves", func() error {
		s := h.store.Status(ref, "h1")
		if len(s.Prefixes) != 2 || s.Prefixes[0] == old || s.Prefixes[0].Overlaps(old) {
			return fmt.Errorf("still %v", s.Prefixes)
		}
		if out := h.ns.Run("ip", "-4", "-o", "addr", "show", "dev", "sx-web"); strings.Contains(out, old.String()) {
			return fmt.Errorf("%v is still there: %s", old, out)
		}
		return nil
	})
}

// TestRefusedPrefix: a prefix that the store does not give is not used, and
// another one is taken.
func TestRefusedPrefix(t *testing.T) {
	h := newHost(t)
	var refused netip.Prefix
	h.store.Refuse = func(o vnet.Object) error {
		as, ok := o.(*vnet.PrefixAssignment)
		if ok && (!refused.IsValid() || as.Prefix == refused) {
			refused = as.Prefix
			return vnet.Errorf(vnet.ErrExists, "%v is another host's", as.Prefix)
		}
		return nil
	}
	h.start()
	_, ref := h.network("web")
	if st := h.await(ref, vnet.StateRunning); len(st.Prefixes) != 2 || st.Prefixes[0].Masked() == refused {
		t.Errorf("prefixes %v, want one that is not %v", st.Prefixes, refused)
	}
}

// TestStartsWithoutStore: an agent that finds no store goes on from what it
// kept.
func TestStartsWithoutStore(t *testing.T) {
	h := newHost(t)
	h.start()
	n, ref := h.network("web")
	h.await(ref, vnet.StateRunning)
	netnstest.Eventually(t, 10*time.Second, "the snapshot is kept", func() error {
		b, err := os.ReadFile(h.state + "/agent-snapshot.json")
		if err == nil && !strings.Contains(string(b), "assignment") {
			err = errors.New("no assignment in it yet")
		}
		return err
	})
	h.stop()
	h.ns.Run("ip", "link", "delete", n.Bridge)
	h.startWith(silentStore{h.store})
	netnstest.Eventually(t, 10*time.Second, "the bridge is back", func() error {
		_, err := h.ns.Try("ip", "link", "show", n.Bridge)
		return err
	})
}

// TestGuestComesLater: a port whose guest's namespace is not there yet is
// plugged when it comes, without waiting for the next try.
func TestGuestComesLater(t *testing.T) {
	h := newHost(t)
	h.start()
	n, ref := h.network("web")
	h.await(ref, vnet.StateRunning)
	late := fmt.Sprintf("sxt-late-%d", os.Getpid())
	port := &vnet.Port{Meta: vnet.Meta{ID: "late", Name: "late", Project: "p1"}, Network: n.ID, MAC: vnet.MAC{2, 0, 0, 0, 0, 9},
		Binding: &vnet.Binding{Host: "h1", Plug: vnet.PlugVeth, Netns: late, Device: "eth0"}}
	h.store.Put(port)
	if st := h.await(vnet.RefOf(port), vnet.StateFailed); len(st.Problems) == 0 || !strings.Contains(st.Problems[0].Msg, late) {
		t.Errorf("problems %v, want one that names %s", st.Problems, late)
	}
	if out, err := exec.Command("ip", "netns", "add", late).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", late).Run() })
	h.await(vnet.RefOf(port), vnet.StateRunning)
}
