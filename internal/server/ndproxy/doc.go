// Package ndproxy lets guests live in the on-link prefix of an uplink: it
// answers the uplink's neighbour solicitations for guests with the uplink's own
// MAC, and guests' solicitations for neighbours outside with their gateway's
// (neighbour discovery of RFC 4861, proxied as its section 7.2.8 says), and
// carries duplicate address detection across in both directions (RFC 4862
// section 5.4).
//
// The engine of an uplink is a function of (state, frame, now) to (frames,
// groups to be in, events, deadline): no sockets, no clock. The conn has a
// packet socket for each link and decides nothing. DESIGN.md has the rules.
package ndproxy
