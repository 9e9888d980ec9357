package ladder

import (
	"fmt"
	"net/netip"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/vnet"
)

// climb finds the rungs of one network.
func (d *decider) climb(w *Wish) {
	dec := Decision{Network: w.Network}
	dec.Rung4, dec.Why4 = d.rung(vnet.IPv4, w.IPv4)
	dec.Rung6, dec.Why6 = d.rung(vnet.IPv6, w.IPv6)
	ula, err := ulaOf(d.in.ULA, w.Number)
	dec.ULA = ula
	if err != nil && w.IPv6 == vnet.EgressAuto {
		dec.Problems = append(dec.Problems, vnet.Problem{Kind: vnet.ErrUnavailable, Field: "ipv6", Family: vnet.IPv6,
			Msg:  "there is no unique local prefix for this network: " + err.Error(),
			Hint: "say ipv6=nat66 or ipv6=routed with an ipv6.address"})
	}
	d.decisions[w.Network] = &dec
}

// wished is a mode that networks wish for a family.
type wished struct {
	family vnet.Family
	mode   vnet.Egress
}

// stood is the rung that was found for it, and why.
type stood struct {
	rung vnet.Egress
	why  string
}

// rung is the rung for a wished mode, the same for all networks.
func (d *decider) rung(f vnet.Family, mode vnet.Egress) (vnet.Egress, string) {
	k := wished{f, mode}
	s, known := d.rungs[k]
	if !known {
		if s.rung, s.why = d.in.Uplink.rung4(mode); f == vnet.IPv6 {
			s.rung, s.why = d.in.Uplink.rung6(mode)
		}
		d.rungs[k] = s
	}
	return s.rung, s.why
}

// ulaOf cuts a network's /64 from the installation's /48.
func ulaOf(ula netip.Prefix, number int) (netip.Prefix, error) {
	if !ula.IsValid() || number < 0 {
		return netip.Prefix{}, fmt.Errorf("the installation has none, or the network no number")
	}
	return ipam.NthSubnet(ula, 64, uint64(number))
}

// rung4 is the rung for a wished mode of IPv4: auto is nat on a prefix that is
// free here, all others are themselves.
func (u *Uplink) rung4(mode vnet.Egress) (rung vnet.Egress, why string) {
	rung = mode
	if mode == vnet.EgressAuto {
		rung = vnet.EgressNAT
	}
	switch {
	case !leadsOut(rung):
		why = inside(rung)
	case u.V4:
		why = fmt.Sprintf("the uplink %s has IPv4", name(u.Link4))
	default:
		why = "no uplink has IPv4 now; guests reach each other only"
	}
	return rung, because(rung, mode, why)
}

// rung6 is the rung for a wished mode of IPv6. Auto is the highest that the
// uplink carries; of delegated, proxied, nat66 and ula the first two have no
// engine yet.
func (u *Uplink) rung6(mode vnet.Egress) (rung vnet.Egress, why string) {
	if mode == vnet.EgressAuto {
		return u.auto6()
	}
	switch {
	case !leadsOut(mode):
		why = inside(mode)
	case u.speaks6():
		why = fmt.Sprintf("the uplink %s has IPv6", name(u.Link6))
	case u.V6:
		why = fmt.Sprintf("the uplink %s has an IPv6 route but the host no global address now", name(u.Link6))
	default:
		why = "no uplink has IPv6 now; guests reach each other only"
	}
	return mode, because(mode, mode, why)
}

func (u *Uplink) auto6() (vnet.Egress, string) {
	if u.speaks6() {
		return vnet.EgressNAT66, u.below("")
	}
	return vnet.EgressULA, u.below("")
}

// below says why auto stands on nat66 or ula: what it is short of for the
// rungs above, and what would lift it.
func (u *Uplink) below(short string) string {
	return u.lift(short) + "; " + preferred
}

// preferred is what a unique local prefix means for guests that have IPv4, too:
// in RFC 6724's table of policies (section 2.1) IPv4 comes before them.
const preferred = "guests prefer IPv4 over unique local addresses (RFC 6724), which a higher rung would end"

// lift says what auto is short of, and what would lift it.
func (u *Uplink) lift(short string) string {
	switch {
	case u.speaks6() && short == "":
		return fmt.Sprintf("nat66: the uplink %s has IPv6; a delegated prefix would lift it", name(u.Link6))
	case u.speaks6():
		return fmt.Sprintf("nat66: the uplink %s has IPv6, but %s; a delegated prefix would lift it, ipv6=routed with a prefix of yours as well", name(u.Link6), short)
	case u.V6:
		return fmt.Sprintf("ula: the uplink %s has an IPv6 route, but the host no global address; one would lift it to nat66", name(u.Link6))
	}
	return "ula: no uplink has IPv6; guests reach each other only; an IPv6 default route would lift it to nat66"
}

// speaks6 reports whether the host can be the source of IPv6 to the outside:
// with a default route alone, masquerading has no address to put in.
func (u *Uplink) speaks6() bool {
	if !u.V6 {
		return false
	}
	for _, p := range u.Addresses6 {
		if a := p.Addr(); a.Is6() && !a.Is4In6() && a.IsGlobalUnicast() { // unique local ones are inside
			return true
		}
	}
	return false
}

// leadsOut reports whether guests in the mode have a way out through an uplink.
func leadsOut(m vnet.Egress) bool {
	switch m {
	case vnet.EgressNAT, vnet.EgressNAT66, vnet.EgressNPTv6, vnet.EgressDelegated, vnet.EgressProxied, vnet.EgressRouted, vnet.EgressOpen:
		return true
	}
	return false
}

// inside says what a mode that leads nowhere is.
func inside(m vnet.Egress) string {
	switch m {
	case vnet.EgressIsolated:
		return "guests reach each other only"
	case vnet.EgressULA:
		return "guests reach the networks of their router only"
	case vnet.EgressBridged:
		return "guests are on the link itself"
	case vnet.EgressLinkLocal:
		return "guests have link-local addresses only"
	case vnet.EgressNone:
		return "the family is off"
	}
	return "no way out"
}

// because puts a reason together: "nat: by name; the uplink eth0 has IPv4".
func because(rung, mode vnet.Egress, why string) string {
	if rung == mode {
		return fmt.Sprintf("%s: by name; %s", rung, why)
	}
	return fmt.Sprintf("%s: %s", rung, why)
}

func name(link string) string {
	if link == "" {
		return "of this host"
	}
	return link
}
