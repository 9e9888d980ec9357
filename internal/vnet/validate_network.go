package vnet

import (
	"net/netip"
	"slices"
	"strings"
)

// modes lists the egress modes of each family in the order of the manual.
var modes = map[Family][]Egress{
	IPv4: {EgressAuto, EgressNAT, EgressRouted, EgressIsolated, EgressOpen, EgressBridged, EgressNone},
	IPv6: {EgressAuto, EgressNAT66, EgressNPTv6, EgressDelegated, EgressProxied, EgressRouted, EgressIsolated,
		EgressULA, EgressOpen, EgressBridged, EgressLinkLocal, EgressNone},
}

// elsewhere says what to say instead of a mode of the other family.
var elsewhere = map[Family]map[Egress]Egress{
	IPv4: {EgressNAT66: EgressNAT, EgressNPTv6: EgressNAT, EgressDelegated: EgressRouted, EgressProxied: EgressRouted,
		EgressULA: EgressIsolated, EgressLinkLocal: EgressNone},
	IPv6: {EgressNAT: EgressNAT66},
}

// Modes lists the egress modes that exist in the family, in the order of the
// manual.
func Modes(f Family) []Egress { return slices.Clone(modes[f]) }

// LeadsOut reports whether guests of a network in mode e reach the outside over
// a gateway of ours, as far as the uplink carries the family. Of auto it is not
// known beforehand; it is meant to.
func (e Egress) LeadsOut() bool {
	switch e {
	case EgressNone, EgressLinkLocal, EgressIsolated, EgressULA, EgressBridged, "":
		return false
	}
	return true
}

// Addressed reports whether we have addresses of our own on a network in mode
// e: whether there is a subnet for guests.
func (e Egress) Addressed() bool {
	return e != EgressNone && e != EgressLinkLocal && e != EgressBridged
}

// Validate checks a network in its short form, as clients write it and as
// control shows it: with the addresses, ways and ranges of its primary subnets
// filled in. SetDefaults comes first: an empty mode is refused. The error is
// an *Error, and its Field the key of the command line.
func (n *Network) Validate() error {
	if err := n.validate(true); err != nil {
		return err
	}
	if err := n.checkLinks(); err != nil {
		return err
	}
	for _, f := range Families {
		if err := n.Policy(f).validate(f); err != nil {
			return err
		}
	}
	if err := n.checkTogether(); err != nil {
		return err
	}
	if err := n.checkMTU(); err != nil {
		return err
	}
	switch n.Admit {
	case "", AdmitAny, AdmitPorts:
	default:
		return Invalid("admit", "%s is nobody to be admitted", quote(string(n.Admit))).WithHint("say any or ports")
	}
	if n.Domain != "" {
		if err := CheckDomain("domain", n.Domain); err != nil {
			return err
		}
	}
	if n.LeaseTime != 0 && (n.LeaseTime.Std() < minLease || n.LeaseTime.Std() > maxLease) {
		return Invalid("leaseTime", "%s is no time to lease an address for", n.LeaseTime).
			WithHint("say %s to %s", Duration(minLease), Duration(maxLease))
	}
	return n.checkServing()
}

// checkServing checks what guests are told.
func (n *Network) checkServing() error {
	for _, check := range []func() error{
		n.DNS.validate, n.DNS.validateNames, n.RA.validate, n.DHCP.validate, n.Boot.validate,
		func() error { return n.checkAdvertise() },
		func() error { return checkRoutes(n.Routes) },
		func() error { return checkNTP(n.NTP) },
		func() error { return checkPortal(n.CaptivePortal) },
	} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// checkAdvertise checks how the primary IPv6 prefix is advertised.
func (n *Network) checkAdvertise() error {
	if !n.Advertise.IsZero() && !n.IPv6.Mode.Addressed() {
		return Invalid("advertise", "with ipv6=%s no prefix of ours is advertised", n.IPv6.Mode).WithHint("leave it out")
	}
	return n.Advertise.validate("advertise", IPv6)
}

// checkLinks checks the names and numbers of devices.
func (n *Network) checkLinks() error {
	if n.Bridge != "" {
		if err := CheckLink("bridge", n.Bridge); err != nil {
			return err
		}
	}
	if n.Number < 0 || n.Number > 0xffff {
		return Invalid("number", "%d is not between 0 and 65535, the /64s of the installation's /48", n.Number)
	}
	if err := CheckMAC("mac", n.MAC); err != nil {
		return err
	}
	bridged := n.IPv4.Mode == EgressBridged || n.IPv6.Mode == EgressBridged
	switch {
	// Bridged IPv6 beside another IPv4 follows the uplink that is shared and in
	// use, unless it is told which one.
	case n.IPv4.Mode == EgressBridged && n.Link == "":
		return Invalid("link", "a bridged network needs a link to be on").WithHint("say link=BRIDGE or link=NIC")
	case !bridged && n.Link != "":
		return Invalid("link", "only a bridged network is on a link of the host").WithHint("leave link out, or say ipv4=bridged ipv6=bridged")
	case n.Link != "":
		return CheckLink("link", n.Link)
	}
	return nil
}

// checkTogether checks what the two families' modes mean for each other.
func (n *Network) checkTogether() error {
	v4, v6 := n.IPv4.Mode, n.IPv6.Mode
	if v4 == EgressBridged && v6 != EgressBridged && v6 != EgressNone {
		// Our router advertisements would reach the other stations of the
		// physical link.
		e := Errorf(ErrUnsupported, "bridged IPv4 beside ipv6=%s is not possible", v6)
		e.Field = "ipv4"
		return e.WithHint("say ipv6=bridged or ipv6=none, or ipv4=nat ipv6=bridged")
	}
	return n.checkNAT64()
}

// checkMTU holds the MTU to what the families that are on need (RFC 8200
// section 5, RFC 791 for what every IPv4 host must take in).
func (n *Network) checkMTU() error {
	least, why := 576, "IPv4"
	if n.IPv6.Mode != EgressNone {
		least, why = 1280, "IPv6"
	}
	if n.MTU == 0 || n.MTU >= least && n.MTU <= 65535 {
		return nil
	}
	return Invalid("mtu", "%d bytes are not between %d, the least %s needs, and 65535", n.MTU, least, why).
		WithHint("say 1500, or leave it out to have the uplink's")
}

// validate checks one family's part of a network.
func (p *FamilyPolicy) validate(f Family) error {
	key := f.String()
	if err := p.checkMode(f); err != nil {
		return err
	}
	if err := p.checkInbound(key); err != nil {
		return err
	}
	if p.L2 && p.Mode != EgressNone {
		return Invalid(key+".l2", "it is about mode none only").WithHint("leave it out, or say %s=none", key)
	}
	if err := p.checkAddress(f); err != nil {
		return err
	}
	return p.checkGuests(f)
}

func (p *FamilyPolicy) checkMode(f Family) error {
	key := f.String()
	if slices.Contains(modes[f], p.Mode) {
		return nil
	}
	if p.Mode == "" {
		return Invalid(key, "the mode is missing").WithHint("say auto")
	}
	if say, ok := elsewhere[f][p.Mode]; ok {
		return Invalid(key, "%s is no mode of %s", p.Mode, key).WithHint("say %s", say)
	}
	words := make([]string, 0, len(modes[f]))
	for _, m := range modes[f] {
		words = append(words, string(m))
	}
	e := Invalid(key, "%s is no mode of %s", quote(string(p.Mode)), key)
	if _, err := ParseInterfacePrefix(string(p.Mode)); err == nil {
		return e.WithHint("say %s.address=%s beside a mode", key, p.Mode)
	}
	return e.WithHint("say one of %s", strings.Join(words, ", "))
}

// checkInbound refuses a policy that the mode cannot keep.
func (p *FamilyPolicy) checkInbound(key string) error {
	field := key + ".inbound"
	switch p.Inbound {
	case "":
		return nil
	case InboundClosed:
		if p.Mode.Addressed() && p.Mode != EgressOpen {
			return nil
		}
		return Invalid(field, "mode %s has no rules of ours that could close it", p.Mode).WithHint("leave it out")
	case InboundOpen:
		switch {
		case p.Mode == EgressRouted, p.Mode == EgressNPTv6, p.Mode == EgressDelegated, p.Mode == EgressProxied,
			p.Mode == EgressAuto && key == IPv6.String():
			return nil
		}
		return Invalid(field, "nobody outside has a route to guests in mode %s", p.Mode).WithHint("leave it out, or say %s=routed", key)
	}
	return Invalid(field, "%s is no policy", quote(string(p.Inbound))).WithHint("say open or closed")
}

// checkAddress checks the gateway address of the primary subnet.
func (p *FamilyPolicy) checkAddress(f Family) error {
	key := f.String()
	field := key + ".address"
	example := "192.168.150.1/24"
	if f == IPv6 {
		example = "2001:db8:5::1/64"
	}
	if !p.Address.IsValid() {
		if p.Address != (netip.Prefix{}) {
			return Invalid(field, "the prefix length is not one of %s", key).WithHint("write it as %s", example)
		}
		if p.Mode == EgressRouted {
			return Invalid(field, "mode routed needs the gateway address and prefix length").WithHint("say for example %s=%s", field, example)
		}
		return nil
	}
	switch p.Mode {
	case EgressAuto:
		named := EgressNAT
		if f == IPv6 {
			named = EgressNAT66
		}
		return Invalid(field, "with mode auto the prefix is chosen for you").WithHint("leave it out, or say %s=%s or %s=routed", key, named, key)
	case EgressNone, EgressLinkLocal:
		return Invalid(field, "mode %s has no address", p.Mode).WithHint("leave it out, or say another mode")
	case EgressBridged:
		return Invalid(field, "the gateway of a bridged network is somebody else's").WithHint("leave it out")
	case EgressDelegated:
		return Invalid(field, "with mode delegated the provider gives the prefix").
			WithHint("leave it out, say ipv6=routed if the prefix is routed to this host, or ipv6=nptv6 for a prefix of your own inside")
	}
	if err := checkPrefix(field, f, p.Address); err != nil {
		return err
	}
	if err := checkRoom(field, p.Address); err != nil {
		return err
	}
	switch p.Mode {
	case EgressProxied:
		return checkPart(field, p.Address)
	case EgressNPTv6:
		if p.Address.Bits() != 64 {
			return Invalid(field, "%s is no /64, and a /64 outside stands for it", p.Address).
				WithHint("write %s", netip.PrefixFrom(p.Address.Addr(), 64))
		}
	}
	if p.Mode == EgressULA && !within(ULARange, p.Address) {
		return Invalid(field, "%s is no unique local prefix (%s)", p.Address, ULARange).WithHint("leave it out, or say ipv6=isolated")
	}
	return checkGateway(field, p.Address, GatewayPrefix(p.Address).Addr())
}

// checkPart says why p cannot be the part of an uplink's on-link prefix that a
// network is to use. No address in it is ours, so it is written as a prefix.
func checkPart(field string, p netip.Prefix) error {
	if p.Bits() < 64 {
		return Invalid(field, "%s is shorter than what an uplink has on its link, a /64", p).WithHint("write a /64 or a part of one, for example %s", netip.PrefixFrom(p.Addr(), 80).Masked())
	}
	return InField(checkMasked(p), field)
}

// within reports whether the whole of p lies in q.
func within(q, p netip.Prefix) bool { return q.Bits() <= p.Bits() && q.Contains(p.Addr()) }

// checkGuests checks how guests of the primary subnet get addresses.
func (p *FamilyPolicy) checkGuests(f Family) error {
	key := f.String()
	if !p.Mode.Addressed() {
		field, set := key+".guests", p.Guests != ""
		if len(p.Ranges) > 0 {
			field, set = key+".ranges", true
		}
		if set {
			return Invalid(field, "with mode %s no addresses are given by us", p.Mode).WithHint("leave it out")
		}
		return nil
	}
	if p.Guests == GuestsDelegation {
		return Invalid(key+".guests", "the network's own prefix is on its link: none of it can be delegated").
			WithHint("make a subnet for it: sextant subnet create NAME network=%s prefix=PREFIX guests=delegation", "NETWORK")
	}
	bits := 0
	if p.Address.IsValid() {
		bits = p.Address.Bits()
	}
	if err := checkGuests(key+".guests", f, bits, p.Guests); err != nil {
		return err
	}
	if len(p.Ranges) == 0 {
		return nil
	}
	if bits == 0 {
		return Invalid(key+".ranges", "ranges of a prefix that is chosen for you are not known beforehand").
			WithHint("leave them out, or say %s.address as well", key)
	}
	if err := checkRangesServe(key+".ranges", p.Guests); err != nil {
		return err
	}
	return checkRanges(key+".ranges", p.Address, GatewayPrefix(p.Address).Addr(), p.Ranges)
}

// checkRangesServe refuses ranges that nobody would be given an address from.
func checkRangesServe(field string, g Guests) error {
	if g != GuestsSLAAC && g != GuestsStateless {
		return nil
	}
	return Invalid(field, "with %s guests choose their addresses themselves", g).WithHint("leave them out, or say stateful or slaac+stateful")
}

// validate checks what a network's name server does.
func (d *DNSPolicy) validate() error {
	if len(d.Servers) > 16 {
		return Invalid("dns.servers", "%d name servers, at most 16 can be told to guests", len(d.Servers))
	}
	for i, a := range d.Servers {
		if a.IsLinkLocalUnicast() && a.Zone() == "" { // on the guest's own link
			continue
		}
		if err := checkUnicast("dns.servers", 0, a); err != nil {
			return err
		}
		if slices.Contains(d.Servers[:i], a) {
			return Invalid("dns.servers", "%s is there twice", a).WithHint("name it once")
		}
	}
	if len(d.Search) > 32 {
		return Invalid("dns.search", "%d search domains, at most 32 can be told to guests", len(d.Search))
	}
	for i, s := range d.Search {
		if err := CheckDomain("dns.search", s); err != nil {
			return err
		}
		if slices.ContainsFunc(d.Search[:i], func(o string) bool { return strings.EqualFold(o, s) }) {
			return Invalid("dns.search", "%s is there twice", quote(s)).WithHint("name it once")
		}
	}
	return nil
}
