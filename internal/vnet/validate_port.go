package vnet

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Validate checks a port. Whether its addresses lie in a subnet of its network
// and are free is control's to say.
func (p *Port) Validate() error {
	if err := p.validate(true); err != nil {
		return err
	}
	if p.Network == "" {
		return Invalid("network", "the network is missing").WithHint("say network=NAME")
	}
	if err := CheckMAC("mac", p.MAC); err != nil {
		return err
	}
	if len(p.Addresses) > 64 {
		return Invalid("addresses", "%d addresses, a port has at most 64", len(p.Addresses))
	}
	for i, a := range p.Addresses {
		if err := checkUnicast("addresses", 0, a); err != nil {
			return err
		}
		if slices.Contains(p.Addresses[:i], a) {
			return Invalid("addresses", "%s is there twice", a).WithHint("name it once")
		}
	}
	if err := p.checkAllowed(); err != nil {
		return err
	}
	if p.Hostname != "" {
		if err := CheckHostname("hostname", p.Hostname); err != nil {
			return err
		}
	}
	if len(p.Relay) > 255 {
		return Invalid("relay", "the id has %d letters, at most 255 are allowed", len(p.Relay))
	}
	if p.Binding != nil {
		return p.Binding.Validate()
	}
	return nil
}

// checkAllowed checks the further addresses that the guest may use.
func (p *Port) checkAllowed() error {
	if len(p.Allowed) > 64 {
		return Invalid("allowed", "%d prefixes, a port has at most 64", len(p.Allowed))
	}
	for i, a := range p.Allowed {
		if !a.IsValid() {
			return Invalid("allowed", "the prefix is missing").WithHint("write it as 192.0.2.0/28 or 2001:db8:5:1::/64")
		}
		if err := checkPrefix("allowed", 0, a); err != nil {
			return err
		}
		if err := InField(checkMasked(a), "allowed"); err != nil {
			return err
		}
		if slices.Contains(p.Allowed[:i], a) {
			return Invalid("allowed", "%s is there twice", a).WithHint("name it once")
		}
	}
	return nil
}

// Validate checks where a port is plugged. An empty host is the host that is
// asked; control fills it in.
func (b *Binding) Validate() error {
	switch b.Plug {
	case PlugVeth:
		if b.Netns == "" {
			return Invalid("netns", "the namespace of the guest is missing").WithHint("say netns=NAME")
		}
		if err := checkNetns("netns", b.Netns); err != nil {
			return err
		}
	case PlugTap, PlugAdopted:
		if b.Netns != "" {
			return Invalid("netns", "only a veth has a far end in a namespace").WithHint("leave netns out")
		}
	default:
		return Invalid("plug", "%s is no kind of plug", quote(string(b.Plug))).WithHint("say veth, tap or adopted")
	}
	field := "device"
	if b.Plug == PlugTap {
		field = "tap"
	}
	if err := CheckLink(field, b.Device); err != nil {
		return err
	}
	if b.Owner == "" {
		return nil
	}
	if b.Plug != PlugTap {
		return Invalid("owner", "only a tap has an owner").WithHint("leave owner out")
	}
	return checkOwner(b.Owner)
}

// checkOwner says why s is no user of the system: a name as useradd makes
// them, or a number.
func checkOwner(s string) error {
	if s[0] >= '0' && s[0] <= '9' {
		if n, err := strconv.ParseUint(s, 10, 32); err == nil && n < 1<<32-1 { // all ones: nobody in particular
			return nil
		}
	} else if len(s) <= 32 && only(s, "-_.") && s[0] != '-' && s[0] != '.' {
		return nil
	}
	return Invalid("owner", "%s is no user", quote(s)).WithHint("write the name or number of a user, for example libvirt-qemu")
}

// checkNetns says why s is neither a name under /run/netns nor an absolute
// path of a namespace.
func checkNetns(field, s string) error {
	if strings.HasPrefix(s, "/") {
		if len(s) < 4096 && only(s, "/-_.:@+") && !slices.Contains(strings.Split(s, "/"), "..") {
			return nil
		}
		return Invalid(field, "%s is no path of a namespace", quote(s)).WithHint("write it as /run/netns/NAME or /proc/PID/ns/net")
	}
	if len(s) >= 1 && len(s) <= 255 && only(s, "-_.:@+") && s != "." && s != ".." && s[0] != '-' {
		return nil
	}
	return Invalid(field, "%s is no name of a namespace", quote(s)).WithHint("write a name that `ip netns` lists, or an absolute path")
}

// Validate checks a reservation.
func (r *Reservation) Validate() error {
	if err := r.validate(false); err != nil {
		return err
	}
	if r.Network == "" {
		return Invalid("network", "the network is missing").WithHint("say network=NAME")
	}
	if err := CheckMAC("mac", r.MAC); err != nil {
		return err
	}
	if err := r.checkClient(); err != nil {
		return err
	}
	if r.Address == (netip.Addr{}) {
		if r.Fixed.Subnet != "" {
			return nil
		}
		return Invalid("address", "the address is missing").WithHint("say address=ADDRESS")
	}
	return checkUnicast("address", 0, r.Address)
}

// checkClient checks that exactly one thing says whom the address is for.
func (r *Reservation) checkClient() error {
	var said []string
	for _, c := range []struct {
		key string
		set bool
	}{{"mac", !r.MAC.IsZero()}, {"duid", r.DUID != ""}, {"client", r.Client != ""}} {
		if c.set {
			said = append(said, c.key)
		}
	}
	switch {
	case len(said) == 0:
		return Invalid("mac", "whom the address is for is missing").WithHint("say mac=MAC, duid=DUID or client=NAME")
	case len(said) > 1:
		return Invalid(said[1], "it is said twice whom the address is for").WithHint("leave %s or %s out", said[0], said[1])
	case r.IAID != nil && r.DUID == "":
		return Invalid("iaid", "an IAID alone names nobody").WithHint("say duid=DUID as well")
	case r.DUID != "" && !isDUID(r.DUID):
		return Invalid("duid", "%s is no DUID", quote(r.DUID)).WithHint("write its 3 to 130 bytes in hex with colons, as 00:03:00:01:52:54:00:aa:00:01")
	case r.Client != "":
		return CheckHostname("client", r.Client)
	}
	return nil
}

// isDUID reports whether s is the text of a DUID as we print it: two hex
// digits a byte with colons, a type of 2 bytes and 1 to 128 bytes more
// (RFC 9915 section 11.1). What the bytes mean is package ipam's to say.
func isDUID(s string) bool {
	if len(s)%3 != 2 || len(s) < 3*3-1 || len(s) > 130*3-1 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		hex := '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
		if i%3 == 2 && c != ':' || i%3 != 2 && !hex {
			return false
		}
	}
	return true
}
