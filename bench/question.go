package main

import (
	"errors"
	"net"
	"net/netip"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/net/ipv6"
)

// send asks one question; a query from that port of ours.
func (j *judge) send(t *target, what, port int) error {
	if what == askRouter {
		// Type 133, and the option of the guest's MAC (RFC 4861 section 4.1).
		rs := append([]byte{133, 0, 0, 0, 0, 0, 0, 0, 1, 1}, t.mac[:]...)
		_, err := j.icmp.WriteTo(rs, &ipv6.ControlMessage{IfIndex: t.device, HopLimit: 255},
			&net.IPAddr{IP: net.IPv6linklocalallrouters})
		return err
	}
	query, err := t.query()
	if err != nil {
		return err
	}
	gateway := t.v4.Addr()
	if what == ask6 {
		gateway = t.v6.Addr()
	}
	_, err = j.udp[what-ask4][port].WriteToUDPAddrPort(query, netip.AddrPortFrom(gateway, 53))
	return err
}

// id is the queries' ID.
func (t *target) id() uint16 { return uint16(t.network.index) + 1 }

// query asks for a name in the network's domain, which needs no other server.
func (t *target) query() ([]byte, error) {
	name, err := dnsmessage.NewName("nobody." + t.domain + ".")
	if err != nil {
		return nil, err
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: t.id(), RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	return m.Pack()
}

// hearRouters notes router advertisements until the socket is closed.
func (j *judge) hearRouters() {
	buf := make([]byte, 2048)
	for {
		n, cm, _, err := j.icmp.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || cm == nil || cm.HopLimit != 255 {
			continue
		}
		if t := j.index[cm.IfIndex]; t != nil && advertises(buf[:n], t.v6.Masked()) {
			j.note(t, askRouter)
		}
	}
}

// advertises reports whether a router advertisement has the prefix (RFC 4861
// section 4.6.2).
func advertises(ra []byte, prefix netip.Prefix) bool {
	if len(ra) < 16 || ra[0] != 134 {
		return false
	}
	for o := ra[16:]; len(o) >= 8; o = o[8*int(o[1]):] {
		if o[1] == 0 || len(o) < 8*int(o[1]) {
			return false
		}
		if o[0] == 3 && o[1] == 4 && int(o[2]) == prefix.Bits() {
			if a := netip.AddrFrom16([16]byte(o[16:32])); prefix == netip.PrefixFrom(a, int(o[2])) {
				return true
			}
		}
	}
	return false
}

// hearNames notes answers of name servers until the socket is closed.
func (j *judge) hearNames(conn *net.UDPConn, what int) {
	buf := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		t := j.gateways[from.Addr().Unmap()]
		if err == nil && t != nil && t.answers(buf[:n]) {
			j.note(t, what)
		}
	}
}

// answers reports whether a packet answers the target's query. That the name
// is not there is an answer, to refuse or to fail is none.
func (t *target) answers(packet []byte) bool {
	var p dnsmessage.Parser
	h, err := p.Start(packet)
	return err == nil && h.Response && h.ID == t.id() &&
		(h.RCode == dnsmessage.RCodeSuccess || h.RCode == dnsmessage.RCodeNameError)
}
