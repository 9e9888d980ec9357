// Package dhcp6 answers DHCPv6 for every network of a host (RFC 9915).
//
// The engine of a network is a function of (state, message, now) to (effects,
// state), built on a lease.Book: no sockets, no clock. conn speaks and decides
// nothing: port 547 as package listen has it. Package dhcp joins the two.
// Messages are read and written by hand, in one buffer; the codec of the tests
// judges both. What is done for each section of the RFCs is written in
// docs/conformance/dhcpv6.md.
//
// Who a guest is, the first that tells:
//
//  1. the port where the frame came in, as the Neighbour hook heard it;
//  2. the source MAC of the frame, likewise. Both are seen behind the guard:
//     whoever is no port by them is none, whatever else it says;
//  3. what a relay says that the network names (dhcp.relays): the client's MAC
//     (option 79), else its line (options 18 and 37, as the port's relay= has
//     it), each from the relay nearest to the guest;
//  4. a link-local address made from a MAC;
//  5. a MAC inside the DUID that is a port here;
//  6. DUID and IAID, as they were last seen with a port or with a leased MAC;
//
// else it is a stranger, whom the network's admit policy answers or not.
//
// Who gets which addresses: the lease belongs to the port, whatever DUID and
// IAID the guest's present system uses. The port's addresses go to the first
// IA_NA of a message, reservations (by DUID and IAID, by DUID, by MAC, by name)
// come after them. In each subnet without such an address, and for further IAs,
// there are dynamic addresses where the network admits anybody; prefixes (IA_PD)
// are always dynamic, one for each IA, of the subnet that fits the guest's hint
// best. What is dynamic is claimed, and the Reply waits until the claims are
// durable. It belongs to (port, IAID), else to (MAC, DUID, IAID), and whoever
// comes by another name on the same port or MAC inherits what is not asked for
// by its old one: a system after its loader, or installed anew. Clones have
// other ports or MACs, and so other addresses.
//
// Decisions. A Renew or Rebind of what is no longer the guest's gets it back
// with lifetimes zero; what is in a deprecated subnet with preferred lifetime
// zero and what is left of its valid one (RFC 9096). A renewal of an address
// that nobody else has is granted even if the record was lost. A message that
// is repeated costs no claim while the lease is nearly as long as it would be:
// the client is told what is left. A claim that somebody else was faster with is
// tried with another address before the client is answered.
//
// Relays that the network names are believed. If it names any, all others are
// ignored. If it names none, any relay is served, also the one that a guest of
// the network plays: what it says of options 79, 18 and 37 counts for nothing;
// by the guest's own words it is told a port's addresses, but takes nothing away
// from the port and gets nothing dynamic in its name, and all that is behind it
// counts as one guest.
//
// Limits: dhcp.limit dynamic addresses and prefixes for each port, else MAC,
// else peer. Where guests are heard at their ports, strangers that were not are
// not served until they are (listen gives them a moment for it), since one port
// could make up any number of them.
// Advertised addresses of wide pools are not remembered, since they follow from
// the client; of strangers in narrow ones a quarter is. The last prefixes of a
// pool and half of the claims under way are for ports.
//
// Guests that accept it are told to renew at once when a prefix or an option
// changes (Reconfigure, RFC 9915 section 18.3.11, by its key protocol). Their
// keys follow from a secret; where that and the list of such guests outlast the
// process (Memory), the next one tells them what changed meanwhile. The many
// clients that do not accept it come at T1; where prefixes follow an uplink that
// is therefore a few minutes.
package dhcp6
