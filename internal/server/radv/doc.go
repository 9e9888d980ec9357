// Package radv advertises the router of every network of a host (RFC 4861
// section 6.2, RFC 4191, 8106, 8781, 8910, 9096, 9463, 9762), to each guest what
// it is to take from this network. docs/conformance/ra.md has a row for each
// requirement, DESIGN.md the decisions.
//
// The engine of a network is a function of (state, message, now) to (messages,
// deadline, state): no sockets, no clock. conn speaks and decides nothing: one
// raw ICMPv6 socket per network namespace; ports sends frames on port devices.
// Package listen joins them. Where others advertise, their advertisements are
// rewritten for guests whose default network is another one.
package radv
