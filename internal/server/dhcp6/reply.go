package dhcp6

import (
	"encoding/binary"
	"net"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/insomniacslk/dhcp/rfc1035label"

	"github.com/sextant-net/sextant/internal/server/dhcp"
	"github.com/sextant-net/sextant/internal/server/lease"
	"github.com/sextant-net/sextant/internal/vnet"
)

// start begins an answer with the identifiers of both sides.
func (e *engine) start(r *request, kind dhcpv6.MessageType) *dhcpv6.Message {
	m := &dhcpv6.Message{MessageType: kind, TransactionID: r.m.TransactionID}
	if r.raw != nil {
		m.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionClientID, OptionData: r.raw})
	}
	m.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionServerID, OptionData: e.duid})
	return m
}

// reply builds an Advertise or a Reply with addresses and options.
func (e *engine) reply(r *request, kind dhcpv6.MessageType, answers []answer) []dhcp.Reply {
	m := e.start(r, kind)
	if kind == dhcpv6.MessageTypeReply && r.kind == dhcpv6.MessageTypeSolicit {
		m.AddOption(&dhcpv6.OptionGeneric{OptionCode: dhcpv6.OptionRapidCommit})
	}
	for i := range answers {
		m.AddOption(answers[i].option())
	}
	for _, id := range r.pds {
		pd := &dhcpv6.OptIAPD{}
		binary.BigEndian.PutUint32(pd.IaId[:], id)
		pd.Options.Add(&dhcpv6.OptStatusCode{StatusCode: iana.StatusNoPrefixAvail, StatusMessage: "no prefixes here"})
		m.AddOption(pd)
	}
	e.configure(m, r)
	return []dhcp.Reply{{To: r.peer, Data: m.ToBytes()}}
}

// statusReply builds a Reply that only says how it went.
func (e *engine) statusReply(r *request, status iana.StatusCode, answers []answer) []dhcp.Reply {
	m := e.start(r, dhcpv6.MessageTypeReply)
	m.AddOption(&dhcpv6.OptStatusCode{StatusCode: status, StatusMessage: statusText[status]})
	for i := range answers {
		m.AddOption(answers[i].option())
	}
	return []dhcp.Reply{{To: r.peer, Data: m.ToBytes()}}
}

// statusText is what people read in a packet capture.
var statusText = map[iana.StatusCode]string{
	iana.StatusSuccess:      "done",
	iana.StatusNoAddrsAvail: "no address for this IA",
	iana.StatusNoBinding:    "this IA has no address here",
	iana.StatusNotOnLink:    "this address does not fit this link",
}

// option is the IA_NA of an answer. T1 and T2 are 0.5 and 0.8 of the shortest
// preferred lifetime (RFC 9915 section 21.4).
func (a *answer) option() *dhcpv6.OptIANA {
	o := &dhcpv6.OptIANA{}
	binary.BigEndian.PutUint32(o.IaId[:], a.ia.iaid)
	shortest := time.Duration(0)
	for _, g := range a.gives {
		o.Options.Add(&dhcpv6.OptIAAddress{
			IPv6Addr: g.address.AsSlice(), PreferredLifetime: g.preferred, ValidLifetime: g.valid,
		})
		if g.preferred > 0 && (shortest == 0 || g.preferred < shortest) {
			shortest = g.preferred
		}
	}
	o.T1, o.T2 = (shortest / 2).Truncate(time.Second), (shortest * 4 / 5).Truncate(time.Second)
	if a.status != iana.StatusSuccess {
		o.Options.Add(&dhcpv6.OptStatusCode{StatusCode: a.status, StatusMessage: statusText[a.status]})
	}
	return o
}

// configure adds the options that configure a client.
func (e *engine) configure(m *dhcpv6.Message, r *request) {
	if servers := e.nameServers(); r.wants(dhcpv6.OptionDNSRecursiveNameServer, true) && len(servers) > 0 {
		m.AddOption(dhcpv6.OptDNS(servers...))
	}
	if r.wants(dhcpv6.OptionDomainSearchList, true) {
		if names := e.searchList(); len(names) > 0 {
			m.AddOption(dhcpv6.OptDomainSearchList(&rfc1035label.Labels{Labels: names}))
		}
	}
	if r.kind == dhcpv6.MessageTypeInformationRequest && r.wants(dhcpv6.OptionInformationRefreshTime, false) {
		life := e.Service().LeaseTime
		if life <= 0 {
			life = lease.DefaultTime
		}
		m.AddOption(dhcpv6.OptInformationRefreshTime(max(minRefresh, min(life, maxRefresh))))
	}
	for _, code := range []dhcpv6.OptionCode{dhcpv6.OptionSolMaxRT, dhcpv6.OptionInfMaxRT} {
		if r.wants(code, false) {
			m.AddOption(&dhcpv6.OptionGeneric{
				OptionCode: code, OptionData: binary.BigEndian.AppendUint32(nil, uint32(maxRetransmit/time.Second)),
			})
		}
	}
}

// nameServers are the IPv6 name servers that guests are told: the network's,
// or ours when we serve and nothing was chosen.
func (e *engine) nameServers() []net.IP {
	var out []net.IP
	for _, a := range e.Service().DNS.Servers {
		if a.Is6() && !a.Is4In6() && len(out) < 4 {
			out = append(out, a.AsSlice())
		}
	}
	if e.Service().DNS.Serve && len(e.Service().DNS.Servers) == 0 {
		for _, s := range e.Service().Subnets {
			if s.Family == vnet.IPv6 && s.Gateway.Is6() && !s.Deprecated && len(out) < 4 {
				out = append(out, s.Gateway.AsSlice())
			}
		}
	}
	return out
}

// searchList returns the search domains; the network's own domain if there are no others.
func (e *engine) searchList() []string {
	names := e.Service().DNS.Search
	if len(names) == 0 {
		names = []string{e.Service().Domain}
	}
	return dhcp.SearchList(names)
}
