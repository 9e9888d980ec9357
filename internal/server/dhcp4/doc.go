// Package dhcp4 answers DHCPv4 for every network of a host (RFC 2131). What it
// does of each RFC is in docs/conformance/dhcpv4.md.
//
// The engine of a network is a function of (state, message, now) to (effects,
// state), built on a lease.Book: no sockets, no clock. conn speaks and decides
// nothing: port 67 as package listen has it, one packet socket for frames to
// clients without an address, one for ARP, and one that tells the MACs of
// frames. Package dhcp joins the two.
//
// Who gets which address: the port whose line a believed relay names (option
// 82); without a relay the port where the message came in, or whose MAC its
// frame had; else the port with the MAC in chaddr. The port's address wins; then a reservation by
// MAC, by the DUID and IAID inside of an identifier of RFC 4361, by that DUID
// alone, by name; then, where the network admits anybody, a dynamic address.
// Only dynamic addresses are claimed, and the ACK waits until the claim is
// durable.
//
// A dynamic address belongs to the client identifier (option 61), or to the MAC
// if there is none, if it says no more than the MAC, or if it is firmware that
// asks. A client that is new by its identifier takes over what its MAC had
// under the MAC's own name, and firmware whatever its MAC had: so that one
// address lasts from PXE to the system and through the next start, while two
// systems behind one MAC are two clients.
//
// An address of an open range that is new to the client is looked for by ARP
// before it is offered. The engine asks for that and goes on; the client is
// answered when it is told how it went.
//
// Decisions. The server is authoritative on its networks: a request for an
// address of another network is refused at once. A renewal of an address that
// nobody else has is granted even if the record was lost. A relay that
// dhcp.relays does not name is not served at all: what it says of its clients,
// their MAC included, is nothing but a guest's word. A relay is known by the
// address that its packets come from, since giaddr is what anybody can write.
// Messages are read and written by hand, in place: no step that needs no claim
// allocates more than the lease that it tells of. The codec that others use is
// the judge in the tests.
package dhcp4
