// Package dhcp4 answers DHCPv4 for every network of a host (RFC 2131).
//
// The engine of a network is a function of (state, message, now) to (effects,
// state), built on a lease.Book: no sockets, no clock. conn speaks and decides
// nothing: port 67 as package listen has it, and one packet socket per network
// namespace. Package dhcp joins the two.
//
// Who gets which address: the MAC in chaddr finds the port, and the port's
// address wins; then a reservation by MAC or by the name that the client
// sends; then, where the network admits anybody, a dynamic address that the
// client identifier (option 61, else the MAC) keeps. Only dynamic addresses
// are claimed, and the ACK waits until the claim is durable.
//
// Options sent: 53, 54, 51, 58, 59 always with an address, and 61 echoed (RFC
// 6842); of 1, 3, 6, 12, 15, 26, 28 and 119 those that the client asked for, or
// 1, 3, 6, 15 and 28 if it did not say. Not sent: 42 (Sextant knows no time
// server) and 121 (there is no route but the default one).
//
// Decisions. The server is authoritative on its networks: a request for an
// address of another network is refused at once. A renewal of an address that
// nobody else has is granted even if the record was lost. Relay agents are not
// served: every network is on a link of the host.
package dhcp4
