package nft

import (
	"fmt"
	"strings"
)

// mend is the command that lets what goes through the links pass the base
// chain. It opens no more than our own rules then decide about.
func (t *ruleTable) mend(program string, base *ruleChain, links []string) string {
	var cmds []string
	for _, l := range patterns(links) {
		switch program {
		case "firewalld":
			cmds = append(cmds, "firewall-cmd --permanent --zone=trusted --add-interface="+plus(l))
		case "ufw":
			if base.hook == "input" {
				cmds = append(cmds, "ufw allow in on "+plus(l))
			} else {
				cmds = append(cmds, "ufw route allow in on "+plus(l), "ufw route allow out on "+plus(l))
			}
		case "docker", "iptables", "iptables-legacy":
			cmds = append(cmds, t.iptables(program, base, plus(l))...)
		default:
			in := fmt.Sprintf("nft insert rule %s %s iifname %s accept", t.name(), base.name, star(l))
			cmds = append(cmds, in)
			if base.hook == "forward" {
				cmds = append(cmds, strings.Replace(in, "iifname", "oifname", 1))
			}
		}
	}
	if program == "firewalld" {
		cmds = append(cmds, "firewall-cmd --reload")
	}
	return strings.Join(cmds, " && ")
}

// iptables is mend for rules made with iptables.
func (t *ruleTable) iptables(program string, base *ruleChain, link string) []string {
	tool := tool(t.family)
	if program == "iptables-legacy" {
		tool += "-legacy"
	}
	chain := base.name
	if base.hook == "input" {
		return []string{tool + " -I " + chain + " -i " + link + " -j ACCEPT"}
	}
	if t.chains["DOCKER-USER"] != nil {
		chain = "DOCKER-USER" // docker leaves it to the administrator
	}
	return []string{
		tool + " -I " + chain + " -i " + link + " -j ACCEPT",
		tool + " -I " + chain + " -o " + link + " -j ACCEPT",
	}
}

// ownPrefix begins the names of the links that plans make.
const ownPrefix = "sx"

// patterns names the links in as few words as can be: those that plans name
// by one pattern, which later networks fall under too, others one by one.
func patterns(links []string) []string {
	var out []string
	pattern := false
	for _, l := range links {
		if strings.HasPrefix(l, ownPrefix) {
			pattern = true
		} else {
			out = append(out, l)
		}
	}
	if pattern {
		out = append([]string{ownPrefix + "*"}, out...)
	}
	return out
}

// plus writes a pattern as iptables, ufw and firewalld do.
func plus(l string) string { return strings.Replace(l, "*", "+", 1) }

// star writes a pattern as nft does, quoted for a shell.
func star(l string) string { return `'"` + l + `"'` }
