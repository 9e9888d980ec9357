// Package lease keeps the addresses of one network in one family: who owns
// which, who leases which, and which may be given next. It has neither sockets
// nor a clock, so that the engines of DHCPv6 and DHCPv4 can build on it.
//
// A Book joins four things: the wish of the network (its subnets), the ports
// and reservations that own addresses, the Table of dynamic leases, and a pool
// for each subnet.
//
// Decisions. A client's dynamic addresses follow from its key, so that it is
// likely to get the same ones from a server that has forgotten everything. An
// address that somebody had is given to somebody else only when all that
// nobody had were looked at, the longest idle first. All that is remembered of
// strangers is bounded.
package lease
