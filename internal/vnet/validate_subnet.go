package vnet

import "net/netip"

// Validate checks a subnet after SetDefaults. Whether the prefix overlaps
// another one is control's to say.
func (s *Subnet) Validate() error {
	if err := s.validate(false); err != nil {
		return err
	}
	if s.Network == "" {
		return Invalid("network", "the network is missing").WithHint("say network=NAME")
	}
	if s.Family != IPv4 && s.Family != IPv6 {
		return Invalid("family", "the family is missing").WithHint("say prefix=PREFIX, or family=ipv4 or family=ipv6")
	}
	if err := s.checkSource(); err != nil {
		return err
	}
	bits := 0
	if s.Prefix.IsValid() {
		bits = s.Prefix.Bits()
		if err := checkPrefix("prefix", s.Family, s.Prefix); err != nil {
			return err
		}
		if err := InField(checkMasked(s.Prefix), "prefix"); err != nil {
			return err
		}
		if err := checkRoom("prefix", s.Prefix); err != nil {
			return err
		}
		if s.Source == SourceULA && !within(ULARange, s.Prefix) {
			return Invalid("prefix", "%s is no unique local prefix (%s)", s.Prefix, ULARange).WithHint("leave it out")
		}
	}
	if err := s.checkGateway(); err != nil {
		return err
	}
	if err := checkGuests("guests", s.Family, bits, s.Guests); err != nil {
		return err
	}
	if err := s.Advertise.validate("advertise", s.Family); err != nil {
		return err
	}
	if err := s.checkDelegate(); err != nil {
		return err
	}
	if len(s.Ranges) == 0 {
		return nil
	}
	if !s.Prefix.IsValid() {
		return Invalid("ranges", "ranges of a prefix that is chosen for you are not known beforehand").WithHint("leave them out, or say prefix=PREFIX")
	}
	if err := checkRangesServe("ranges", s.Guests); err != nil {
		return err
	}
	return checkRanges("ranges", s.Prefix, s.GatewayAddr(s.Prefix), s.Ranges)
}

// checkDelegate checks what guests get prefixes from.
func (s *Subnet) checkDelegate() error {
	switch {
	case s.Guests != GuestsDelegation && s.Delegate != 0:
		return Invalid("delegate", "guests=%s delegates no prefixes", s.Guests).WithHint("leave it out, or say guests=delegation")
	case s.Guests != GuestsDelegation:
		return nil
	case s.Family != IPv6:
		return Invalid("guests", "only IPv6 prefixes are delegated")
	case !s.Prefix.IsValid():
		return Invalid("prefix", "the prefix to delegate from is missing").WithHint("say prefix=PREFIX or pool=NAME")
	case s.Delegate <= s.Prefix.Bits() || s.Delegate > 64:
		return Invalid("delegate", "prefixes of /%d cannot be cut from %s for guests", s.Delegate, s.Prefix).
			WithHint("say delegate=%d to delegate=64", min(s.Prefix.Bits()+1, 64))
	case s.Gateway != "" && s.Gateway != GatewayNone:
		return Invalid("gateway", "nothing of a prefix to delegate is on the link").WithHint("leave it out")
	case len(s.Ranges) > 0:
		return Invalid("ranges", "prefixes are delegated, not addresses").WithHint("leave them out")
	case !s.Advertise.IsZero():
		return Invalid("advertise", "a prefix to delegate is not advertised").WithHint("leave it out")
	}
	return nil
}

// checkSource checks that the prefix is there when it must be, and only then.
func (s *Subnet) checkSource() error {
	if s.Prefix != (netip.Prefix{}) && !s.Prefix.IsValid() {
		return Invalid("prefix", "the prefix length is not one of %s", s.Family).WithHint("write it as 192.168.150.0/24 or 2001:db8:5::/64")
	}
	if s.Pool != "" && s.Source != SourcePool {
		return Invalid("pool", "source %s does not cut from a pool", s.Source).WithHint("leave pool out, or say source=pool")
	}
	switch s.Source {
	case SourceFixed:
		if !s.Prefix.IsValid() {
			return Invalid("prefix", "the prefix is missing").WithHint("say prefix=PREFIX, or source=%s to have one chosen", s.chosen())
		}
	case SourceAuto:
		if s.Family == IPv6 {
			return Invalid("source", "auto is a source of IPv4 prefixes").WithHint("say source=ula")
		}
	case SourceULA:
		if s.Family == IPv4 {
			return Invalid("source", "ula is a source of IPv6 prefixes").WithHint("say source=auto")
		}
	case SourcePool:
		if s.Pool == "" {
			return Invalid("pool", "the pool is missing").WithHint("say pool=NAME")
		}
	case SourceDelegated, SourceProxied:
		if s.Family == IPv4 {
			return Invalid("source", "%s is a source of IPv6 prefixes", s.Source).WithHint("say source=auto, or prefix=PREFIX")
		}
		if s.Guests == GuestsDelegation {
			return Invalid("guests", "a prefix of the uplink is for this network's link: none of it can be delegated").WithHint("say prefix=PREFIX or pool=NAME")
		}
	default:
		return Invalid("source", "%s is no source of prefixes", quote(string(s.Source))).WithHint("say fixed, pool, or %s", s.chosen())
	}
	if s.Source == SourceProxied && s.Prefix.IsValid() {
		return checkPart("prefix", s.Prefix)
	}
	if s.Source.Moves() && s.Prefix.IsValid() {
		return Invalid("prefix", "with source %s the prefix is chosen for you", s.Source).WithHint("leave it out, or say source=fixed")
	}
	return nil
}

// chosen is the source whose prefix is ours to choose.
func (s *Subnet) chosen() Source {
	if s.Family == IPv4 {
		return SourceAuto
	}
	return SourceULA
}

// checkGateway checks the gateway, a word or an address in the prefix.
func (s *Subnet) checkGateway() error {
	if s.Source == SourceProxied && s.Gateway != GatewayNone {
		return Invalid("gateway", "a prefix that is shared with the uplink has no address of ours").WithHint("leave it out")
	}
	switch s.Gateway {
	case "", GatewayExternal, GatewayNone:
		return nil
	}
	gw, err := ParseAddr(s.Gateway)
	if err != nil {
		return Invalid("gateway", "%s is no address", quote(s.Gateway)).WithHint("write an address in the prefix, external or none")
	}
	if !s.Prefix.IsValid() {
		return Invalid("gateway", "the address of the gateway is chosen with the prefix").WithHint("leave it out, or say external or none")
	}
	return checkGateway("gateway", s.Prefix, gw)
}

// GatewayAddr returns our own address in the subnet, given its prefix or that
// of its assignment: the one that was written down, or the first. It is the
// zero Addr if the gateway is somebody else's or there is none.
func (s *Subnet) GatewayAddr(p netip.Prefix) netip.Addr {
	if s.Guests == GuestsDelegation {
		return netip.Addr{} // nothing of it is on the link
	}
	switch s.Gateway {
	case GatewayExternal, GatewayNone:
		return netip.Addr{}
	case "":
	default:
		if a, err := netip.ParseAddr(s.Gateway); err == nil && p.Contains(a) {
			return a
		}
	}
	if !p.IsValid() {
		return netip.Addr{}
	}
	return FirstAddr(p)
}

// Validate checks a pool after SetDefaults.
func (p *Pool) Validate() error {
	if err := p.validate(true); err != nil {
		return err
	}
	if err := checkPrefix("prefix", 0, p.Prefix); err != nil {
		return err
	}
	if err := InField(checkMasked(p.Prefix), "prefix"); err != nil {
		return err
	}
	most := p.Prefix.Addr().BitLen() - 1
	if p.SubnetLen < p.Prefix.Bits() || p.SubnetLen > most {
		return Invalid("subnetLen", "pieces of /%d cannot be cut from %s", p.SubnetLen, p.Prefix).
			WithHint("say subnetLen=%d to subnetLen=%d", p.Prefix.Bits(), most)
	}
	return nil
}
