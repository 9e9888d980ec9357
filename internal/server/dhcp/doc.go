// Package dhcp is what the servers of DHCPv6 and DHCPv4 share around their
// engines: networks, ports, reservations and leases that are told in any
// order, claims that are made durable before a client is answered, and the
// problems of both.
//
// An Engine is the protocol on one network: a function of (state, message,
// now) to (effects, state), built on a lease.Book, without sockets and without
// a clock. Where messages come from is package listen's business. Server joins
// the two.
package dhcp
