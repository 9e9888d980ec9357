package xml

import "slices"

func (n *Network) updateDNSHost(u Update, root *node) error {
	if u.Command == CommandModify {
		return fail(CodeOperationUnsupported, "DNS HOST records cannot be modified, only added or deleted")
	}
	if err := n.checkElement(root, "host"); err != nil {
		return err
	}
	h, err := parseDNSHost(n.Name, root, !u.Command.adds())
	if err != nil {
		return err
	}
	var found []int
	for i, o := range n.DNS.Hosts {
		// One name may have several addresses.
		shares := !u.Command.adds() && slices.ContainsFunc(h.Names, func(s string) bool { return slices.Contains(o.Names, s) })
		if sameAddr(h.IP, o.IP) || shares {
			found = append(found, i)
		}
	}
	switch {
	case u.Command.adds() && len(found) > 0:
		return fail(CodeOperationInvalid, "there is already at least one DNS HOST record with a matching field in network %s", n.Name)
	case u.Command.adds():
		n.DNS.Hosts = insert(n.DNS.Hosts, u.Command, h)
	case u.Command != CommandDelete:
		return unknown(u.Command)
	case len(found) == 0:
		return fail(CodeOperationInvalid, "couldn't locate a matching DNS HOST record in network %s", n.Name)
	case len(found) > 1:
		return fail(CodeOperationInvalid, "multiple matching DNS HOST records were found in network %s", n.Name)
	default:
		n.DNS.Hosts = slices.Delete(n.DNS.Hosts, found[0], found[0]+1)
	}
	return nil
}

func (n *Network) updateDNSSRV(u Update, root *node) error {
	if u.Command == CommandModify {
		return fail(CodeOperationUnsupported, "DNS SRV records cannot be modified, only added or deleted")
	}
	if err := n.checkElement(root, "srv"); err != nil {
		return err
	}
	s, err := parseSRV(n.Name, root, !u.Command.adds())
	if err != nil {
		return err
	}
	fits := func(a, b *string) bool { return a == nil || b != nil && *a == *b }
	var found []int
	for i, o := range n.DNS.SRVs {
		if fits(s.Domain, o.Domain) && fits(s.Service, o.Service) && fits(s.Protocol, o.Protocol) && fits(s.Target, o.Target) {
			found = append(found, i)
		}
	}
	switch {
	case u.Command.adds() && len(found) > 0:
		return fail(CodeOperationInvalid, "there is already at least one DNS SRV record matching all specified fields in network %s", n.Name)
	case u.Command.adds():
		n.DNS.SRVs = insert(n.DNS.SRVs, u.Command, s)
	case u.Command != CommandDelete:
		return unknown(u.Command)
	case len(found) == 0:
		return fail(CodeOperationInvalid, "couldn't locate a matching DNS SRV record in network %s", n.Name)
	case len(found) > 1:
		return fail(CodeOperationInvalid, "multiple DNS SRV records matching all specified fields were found in network %s", n.Name)
	default:
		n.DNS.SRVs = slices.Delete(n.DNS.SRVs, found[0], found[0]+1)
	}
	return nil
}

func (n *Network) updateDNSTXT(u Update, root *node) error {
	if u.Command == CommandModify {
		return fail(CodeOperationUnsupported, "DNS TXT records cannot be modified, only added or deleted")
	}
	if err := n.checkElement(root, "txt"); err != nil {
		return err
	}
	t, err := parseTXT(n.Name, root, !u.Command.adds())
	if err != nil {
		return err
	}
	i := slices.IndexFunc(n.DNS.TXTs, func(o TXT) bool { return o.Name == t.Name })
	switch {
	case u.Command.adds() && i >= 0:
		return fail(CodeOperationInvalid, "there is already a DNS TXT record with name '%s' in network %s", t.Name, n.Name)
	case u.Command.adds():
		n.DNS.TXTs = insert(n.DNS.TXTs, u.Command, t)
	case u.Command != CommandDelete:
		return unknown(u.Command)
	case i < 0:
		return fail(CodeOperationInvalid, "couldn't locate a matching DNS TXT record in network %s", n.Name)
	default:
		n.DNS.TXTs = slices.Delete(n.DNS.TXTs, i, i+1)
	}
	return nil
}
