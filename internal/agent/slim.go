package agent

import (
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// slim has a lease share what it has in common with others: of a hundred
// thousand, each came with its own copy of the IDs of its network, subnet and
// project, which were a third of what they take.
func slim(s *plan.Snapshot, l *vnet.Lease) {
	if n := s.Networks[l.Network]; n != nil {
		l.Network = n.ID
		if n.Project == l.Project {
			l.Project = n.Project
		}
	}
	if sub := s.Subnets[l.Subnet]; sub != nil {
		l.Subnet = sub.ID
	}
	if p := s.Ports[l.Port]; p != nil {
		l.Port = p.ID
		if l.Hostname == p.Name {
			l.Hostname = p.Name
		}
	}
	if l.Host == s.Host {
		l.Host = s.Host
	}
	for _, how := range [...]vnet.How{vnet.HowDHCPv4, vnet.HowDHCPv6, vnet.HowSLAAC, vnet.HowFixed} {
		if l.How == how {
			l.How = how
		}
	}
}
