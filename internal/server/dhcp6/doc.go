// Package dhcp6 answers DHCPv6 for every network of a host (RFC 9915).
//
// The engine of a network is a function of (state, message, now) to (effects,
// state), built on a lease.Book: no sockets, no clock. conn speaks and decides
// nothing: port 547 as package listen has it. Package dhcp joins the two.
//
// Who gets which addresses: the guest is found by the MAC that the Neighbour
// hook saw behind the guard (its word is final), else by a link-local address
// made from a MAC, else by the MAC inside its DUID, else by a DUID that was
// seen with a port before. The lease belongs to the port, whatever DUID and
// IAID the guest's present system uses: its addresses go to the first IA_NA
// of a message. Then come reservations by DUID and IAID, MAC or name; then,
// where the network admits anybody, a dynamic address of each subnet for each
// (DUID, IAID). Only dynamic addresses are claimed, and the Reply waits until
// the claims are durable.
//
// Options sent: status codes, DNS servers (23) and search list (24) if asked
// for or if the client asks for nothing in particular; information refresh
// time (32), SOL_MAX_RT (82) and INF_MAX_RT (83) if asked for.
//
// Decisions. A Renew or Rebind of an address that is no longer the guest's
// gets it back with lifetimes zero; one in a deprecated subnet with preferred
// lifetime zero and what is left of its valid one (RFC 9096). A renewal of an
// address that nobody else has is granted even if the record was lost. Relay
// agents are not served: every network is on a link of the host. IA_TA is
// not served (RFC 9915 obsoletes it), IA_PD not yet: it is answered with
// NoPrefixAvail.
package dhcp6
