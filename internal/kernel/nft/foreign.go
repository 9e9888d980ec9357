package nft

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// Finding is one place where another program's rules would drop what guests
// send or need.
type Finding struct {
	Program string   // docker, ufw, firewalld, iptables, iptables-legacy, nftables
	Table   string   // family and name, for example "ip filter"
	Base    string   // the chain that the kernel enters
	Chain   string   // the chain in which it is decided, Base for a policy
	Hook    string   // forward or input
	Traffic []string // what is dropped: "guests to outside", "DHCP", …
	Why     string   // one clause: policy drop, or the rule
	Mend    string   // the command that lets it through
}

// String is one line for a log or a status.
func (f Finding) String() string {
	return fmt.Sprintf("%s drops %s: table %s, chain %s (%s)", f.Program, strings.Join(f.Traffic, ", "), f.Table, f.Chain, f.Why)
}

// Problem is the finding as an object's status carries it.
func (f Finding) Problem() vnet.Problem {
	return vnet.Problem{Kind: vnet.ErrConflict, Msg: f.String(), Hint: f.Mend}
}

// Foreign looks at the rules that are not ours in a namespace and finds those
// that would drop what goes through the given gateway links: forwarded
// traffic, and the services of the host that guests need. Rules that cannot be
// understood count as not matching.
func Foreign(ctx context.Context, spaces *netns.Set, ns string, links []string) ([]Finding, error) {
	if len(links) == 0 {
		return nil, nil
	}
	rs, err := foreignRules(ctx, spaces, ns)
	if err != nil {
		return nil, err
	}
	rs, err = legible(ctx, spaces, ns, rs)
	var bridged []bool
	_ = spaces.Do(ns, func() error {
		bridged = bridgedFamilies()
		return nil
	})
	return judge(rs, links, bridged), err
}

// foreignRules reads the tables that are not ours. Ours have twenty elements for
// each network, which take longer to read than all else.
func foreignRules(ctx context.Context, spaces *netns.Set, ns string) ([]*ruleTable, error) {
	all, err := tablesIn(ctx, spaces, ns)
	if err != nil {
		return nil, err
	}
	var rs []*ruleTable
	for _, o := range all {
		if (&ruleTable{family: o.Family, table: o.Name}).ours() {
			continue
		}
		out, err := run(ctx, spaces, ns, "", "-j", "list", "table", o.Family, o.Name)
		var r *refusal
		if errors.As(err, &r) && r.missing() {
			continue // it went meanwhile
		}
		if err != nil {
			return nil, hostError("list rules", err)
		}
		more, err := parseRules(out)
		if err != nil {
			return nil, err
		}
		rs = append(rs, more...)
	}
	return rs, nil
}

// bridgedFamilies says for which families (IPv6: true) br_netfilter shows
// frames between the ports of every bridge to the forward rules.
func bridgedFamilies() (v6 []bool) {
	for name, six := range map[string]bool{"iptables": false, "ip6tables": true} {
		b, err := os.ReadFile("/proc/sys/net/bridge/bridge-nf-call-" + name)
		if err == nil && strings.TrimSpace(string(b)) == "1" {
			v6 = append(v6, six)
		}
	}
	return v6
}

// packet is a packet as rules see it.
type packet struct {
	what         string // for Finding.Traffic
	hook         string
	v6           bool
	iif, oif     string
	state        string // new, established
	proto        string // tcp, udp, ipv6-icmp
	sport, dport int
	icmp         string
	daddr        string // "", or an address where it is always the same
}

// outside is the name of a link that no rule names.
const outside = "\x00outside"

// packetsOf are the packets that a network cannot do without; bridged are the
// families of which rules see what goes from guest to guest.
func packetsOf(link string, bridged []bool) []packet {
	var out []packet
	for _, v6 := range bridged {
		out = append(out, packet{what: "what guests of one network send each other (br_netfilter is on)", hook: "forward", v6: v6,
			iif: link, oif: link, state: "new", proto: "tcp", sport: 40000, dport: 443})
	}
	for _, v6 := range []bool{false, true} {
		out = append(out,
			packet{what: "what guests send out", hook: "forward", v6: v6, iif: link, oif: outside, state: "new", proto: "tcp", sport: 40000, dport: 443},
			packet{what: "the answers to guests", hook: "forward", v6: v6, iif: outside, oif: link, state: "established", proto: "tcp", sport: 443, dport: 40000},
			packet{what: "DNS", hook: "input", v6: v6, iif: link, state: "new", proto: "udp", sport: 40000, dport: 53})
	}
	return append(out,
		packet{what: "DHCP", hook: "input", iif: link, state: "new", proto: "udp", sport: 68, dport: 67, daddr: "255.255.255.255"},
		packet{what: "DHCPv6", hook: "input", v6: true, iif: link, state: "new", proto: "udp", sport: 546, dport: 547, daddr: "ff02::1:2"},
		packet{what: "router solicitations", hook: "input", v6: true, iif: link, state: "untracked", proto: "ipv6-icmp", icmp: "nd-router-solicit", daddr: "ff02::2"},
		packet{what: "neighbour discovery", hook: "input", v6: true, iif: link, state: "untracked", proto: "ipv6-icmp", icmp: "nd-neighbor-solicit"})
}

// judge follows the packets of each link through every base chain.
func judge(rs []*ruleTable, links []string, bridged []bool) []Finding {
	found := map[string]*Finding{}
	var order []string
	for _, t := range rs {
		if t.ours() {
			continue
		}
		for _, base := range t.bases() {
			for _, link := range links {
				for _, p := range packetsOf(link, bridged) {
					if base.hook != p.hook || !t.sees(p) {
						continue
					}
					v := t.walk(base, p)
					if !v.drops {
						continue
					}
					key := t.name() + " " + base.name + " " + v.chain + " " + v.why
					f := found[key]
					if f == nil {
						f = &Finding{Program: t.program(base.hook), Table: t.name(), Base: base.name, Chain: v.chain, Hook: base.hook, Why: v.why}
						f.Mend = t.mend(f.Program, base, links)
						found[key] = f
						order = append(order, key)
					}
					if !slices.Contains(f.Traffic, p.what) {
						f.Traffic = append(f.Traffic, p.what)
					}
				}
			}
		}
	}
	sort.Strings(order)
	var out []Finding
	for _, k := range order {
		out = append(out, *found[k])
	}
	return out
}

// ruleTable is one table of somebody's rules.
type ruleTable struct {
	family, table string
	legacy        bool // of the old iptables
	opaque        bool // has what only iptables understands
	chains        map[string]*ruleChain
	order         []string // of chains
	sets          map[string][]string
	maps          map[string][]mapping
}

// ruleChain is a chain; hook is "" for one that is only jumped to.
type ruleChain struct {
	name, kind, hook, policy string
	rules                    []rule
}

// rule is its conditions, and what is done where all hold.
type rule struct {
	text  string
	tests []test
	do    verdict
	pick  func(packet) (verdict, bool) // a verdict map; nil: do
}

// test answers whether a packet meets a condition.
type test func(packet) answer

type answer int

const (
	no answer = iota
	yes
	unknown
)

// verdict is what a rule does: "" nothing, else accept, drop, reject, return,
// jump or goto.
type verdict struct{ verb, to string }

// mapping is one element of a verdict map.
type mapping struct {
	key string
	do  verdict
}

func (t *ruleTable) name() string { return t.family + " " + t.table }

func (t *ruleTable) ours() bool {
	return t.table == plan.Table && (t.family == "inet" || t.family == "bridge")
}

// sees reports whether the table's hooks see the packet's family.
func (t *ruleTable) sees(p packet) bool {
	switch t.family {
	case "inet":
		return true
	case "ip":
		return !p.v6
	case "ip6":
		return p.v6
	}
	return false
}

func (t *ruleTable) bases() []*ruleChain {
	var out []*ruleChain
	for _, n := range t.order {
		if c := t.chains[n]; c.hook != "" && c.kind == "filter" {
			out = append(out, c)
		}
	}
	return out
}

func (t *ruleTable) has(prefix string) bool {
	return slices.ContainsFunc(t.order, func(n string) bool { return strings.HasPrefix(n, prefix) })
}

// program guesses whose table it is, by the names that each gives its chains.
func (t *ruleTable) program(hook string) string {
	switch {
	case t.table == "firewalld" || t.has("FORWARD_ZONES") || t.has("INPUT_ZONES"):
		return "firewalld"
	case t.has("ufw-") || t.has("ufw6-"):
		return "ufw"
	case hook == "forward" && t.has("DOCKER"):
		return "docker"
	case t.legacy:
		return "iptables-legacy"
	case (t.family == "ip" || t.family == "ip6") && (t.chains["FORWARD"] != nil || t.chains["INPUT"] != nil):
		return "iptables"
	}
	return "nftables"
}

// outcome is where a packet's way through a base chain ends.
type outcome struct {
	drops      bool
	chain, why string
}

// stepsMost bounds the rules looked at for one packet: jumps may fan out.
const stepsMost = 100000

// walk follows the packet through a base chain.
func (t *ruleTable) walk(base *ruleChain, p packet) outcome {
	steps := 0
	if o, done := t.through(base, p, 0, &steps); done {
		return o
	}
	if base.policy == "drop" {
		return outcome{true, base.name, "policy drop"}
	}
	return outcome{}
}

// through follows the packet through one chain; false if it comes out at the
// end.
func (t *ruleTable) through(c *ruleChain, p packet, depth int, steps *int) (outcome, bool) {
	for _, r := range c.rules {
		if *steps++; *steps > stepsMost || depth > 32 {
			return outcome{}, true
		}
		do, ok := r.apply(p)
		if !ok {
			continue
		}
		switch do.verb {
		case "accept":
			return outcome{}, true
		case "drop", "reject":
			return outcome{true, c.name, "rule `" + r.text + "`"}, true
		case "return":
			return outcome{}, false
		case "jump", "goto":
			to := t.chains[do.to]
			if to == nil {
				continue
			}
			if o, done := t.through(to, p, depth+1, steps); done || do.verb == "goto" {
				return o, done
			}
		}
	}
	return outcome{}, false
}

// apply returns what the rule does with the packet. A condition that cannot
// be decided counts as not met, but on a return: those are exceptions from a
// drop that follows, made for ordinary packets.
func (r rule) apply(p packet) (verdict, bool) {
	sure := yes
	for _, t := range r.tests {
		switch t(p) {
		case no:
			return verdict{}, false
		case unknown:
			sure = unknown
		}
	}
	do := r.do
	if r.pick != nil {
		var ok bool
		if do, ok = r.pick(p); !ok {
			return verdict{}, false
		}
	}
	return do, sure == yes || do.verb == "return"
}
