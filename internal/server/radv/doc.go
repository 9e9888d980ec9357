// Package radv advertises the router of every network of a host (RFC 4861
// section 6.2, RFC 8106, RFC 9096).
//
// The engine of a network is a function of (state, message, now) to (messages,
// deadline, state): no sockets, no clock. conn speaks and decides nothing: one
// raw ICMPv6 socket per network namespace. Package listen joins the two.
//
// Decisions. Lifetimes are those that RFC 9096 section 4 recommends (45 and
// 90 minutes for prefixes), so that a prefix which vanished without a word is
// gone from guests soon. A solicitation from a link-local address is answered
// by unicast at once: RFC 4861 section 6.2.6 would have a random delay of up
// to half a second, which keeps several routers from answering together, and a
// network of ours has one. A daemon that stops says nothing, so that guests
// keep their routes through an upgrade; only Withdraw, and losing the wish to
// send at all, make the router lifetime zero.
package radv
