package nft

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/sextant-net/sextant/internal/kernel/netns"
	"github.com/sextant-net/sextant/internal/vnet"
)

// legible adds the filter tables of the old iptables, which nft does not see,
// and reads anew, with iptables' own words, those of the new one in which nft
// shows no more than the names of conditions. Where there is no such table,
// nothing is run (and no module gets loaded).
func legible(ctx context.Context, spaces *netns.Set, ns string, rs []*ruleTable) ([]*ruleTable, error) {
	err := spaces.Do(ns, func() error {
		for n, t := range rs {
			if !t.opaque || t.table != "filter" || t.family != "ip" && t.family != "ip6" {
				continue
			}
			text, err := save(ctx, tool(t.family)+"-nft-save")
			if err != nil {
				return err
			}
			if text != "" {
				rs[n] = parseSave(text, t.family)
			}
		}
		for _, family := range []string{"ip", "ip6"} {
			b, err := os.ReadFile("/proc/thread-self/net/" + family + "_tables_names")
			if err != nil || !strings.Contains("\n"+string(b), "\nfilter\n") {
				continue
			}
			text, err := save(ctx, tool(family)+"-legacy-save")
			if err != nil {
				return err
			}
			if text != "" {
				t := parseSave(text, family)
				t.legacy = true
				rs = append(rs, t)
			}
		}
		return nil
	})
	return rs, err
}

// tool is the iptables of a family.
func tool(family string) string {
	if family == "ip6" {
		return "ip6tables"
	}
	return "iptables"
}

// save prints the filter table, "" if the command is not installed.
func save(ctx context.Context, command string) (string, error) {
	out, err := exec.CommandContext(ctx, command, "-t", "filter").Output()
	if errors.Is(err, exec.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", vnet.Errorf(vnet.ErrHost, "read other programs' rules: %s: %w", command, err)
	}
	return string(out), nil
}

// parseSave reads what iptables-save printed of the table filter.
func parseSave(text, family string) *ruleTable {
	t := &ruleTable{family: family, table: "filter", chains: map[string]*ruleChain{}}
	for _, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(line, ":"):
			f := strings.Fields(line[1:])
			if len(f) < 2 {
				continue
			}
			c := &ruleChain{name: f[0], kind: "filter"}
			switch f[0] {
			case "INPUT", "FORWARD":
				c.hook, c.policy = strings.ToLower(f[0]), strings.ToLower(f[1])
			}
			t.chains[f[0]] = c
			t.order = append(t.order, f[0])
		case strings.HasPrefix(line, "-A "):
			f := strings.Fields(line)
			if len(f) > 2 && t.chains[f[1]] != nil {
				t.chains[f[1]].rules = append(t.chains[f[1]].rules, saveRule(f[2:]))
			}
		}
	}
	return t
}

// saveRule reads the words of one rule.
func saveRule(words []string) rule {
	r := rule{text: strings.Join(words, " ")}
	not := false
	for n := 0; n < len(words); n++ {
		arg := ""
		if n+1 < len(words) {
			arg = words[n+1]
		}
		var t test
		switch words[n] {
		case "!":
			not = true
			continue
		case "-i":
			t = saveName(func(p packet) string { return p.iif }, arg)
		case "-o":
			t = saveName(func(p packet) string { return p.oif }, arg)
		case "-p":
			proto := arg
			if proto == "icmpv6" {
				proto = "ipv6-icmp"
			}
			t = func(p packet) answer { return is(p.proto == proto || proto == "all") }
		case "--dport":
			t = func(p packet) answer { return is(savePort(arg, p.dport)) }
		case "--sport":
			t = func(p packet) answer { return is(savePort(arg, p.sport)) }
		case "--dports":
			t = func(p packet) answer { return is(savePort(arg, p.dport)) }
		case "--ctstate", "--state":
			t = func(p packet) answer {
				return is(strings.Contains(","+arg+",", ","+strings.ToUpper(p.state)+","))
			}
		case "--icmpv6-type":
			t = func(p packet) answer { return is(p.icmp != "" && icmpNumbers[arg] == p.icmp) }
		case "--hl-eq":
			t = func(p packet) answer { return is(p.icmp != "" && arg == "255") } // RFC 4861 section 6.1
		case "--dst-type":
			t = func(p packet) answer { return is(p.destination() == arg) }
		case "-d":
			t = func(p packet) answer { return p.to(arg) }
		case "-j", "-g":
			r.do = saveVerdict(words[n], arg)
		case "-m", "--comment", "--reject-with":
		default:
			if !strings.HasPrefix(words[n], "-") {
				continue
			}
			r.tests = append(r.tests, undecided)
			if strings.HasPrefix(arg, "-") || arg == "!" {
				continue // an option without a value
			}
		}
		n++
		if t != nil {
			r.tests = append(r.tests, turned(t, not))
		}
		not = false
	}
	return r
}

// icmpNumbers are the types that packets have here, as iptables-save prints
// them.
var icmpNumbers = map[string]string{"133": "nd-router-solicit", "135": "nd-neighbor-solicit"}

// destination is the packet's addrtype, where it comes in.
func (p packet) destination() string {
	switch {
	case p.daddr == "255.255.255.255":
		return "BROADCAST"
	case strings.HasPrefix(p.daddr, "ff"):
		return "MULTICAST"
	}
	return "LOCAL"
}

// to reports whether the packet goes to an address in the prefix.
func (p packet) to(prefix string) answer {
	have, err := netip.ParseAddr(p.daddr)
	if err != nil {
		return unknown
	}
	if want, err := netip.ParsePrefix(prefix); err == nil {
		return is(want.Contains(have))
	}
	return is(prefix == p.daddr)
}

func is(b bool) answer {
	if b {
		return yes
	}
	return no
}

// turned is the test, or its opposite.
func turned(t test, not bool) test {
	if !not {
		return t
	}
	return func(p packet) answer {
		switch t(p) {
		case yes:
			return no
		case no:
			return yes
		}
		return unknown
	}
}

func saveName(get func(packet) string, name string) test {
	return func(p packet) answer { return is(equal(strings.Replace(name, "+", "*", 1), get(p))) }
}

// savePort reads 53, 1000:2000 and lists of them.
func savePort(arg string, port int) bool {
	for _, w := range strings.Split(arg, ",") {
		if equal(strings.Replace(w, ":", "-", 1), strconv.Itoa(port)) {
			return true
		}
	}
	return false
}

func saveVerdict(how, to string) verdict {
	switch to {
	case "ACCEPT", "DROP", "REJECT", "RETURN":
		return verdict{verb: strings.ToLower(to)}
	case "LOG", "NFLOG", "MARK", "CONNMARK", "TCPMSS":
		return verdict{}
	}
	if how == "-g" {
		return verdict{"goto", to}
	}
	return verdict{"jump", to}
}
