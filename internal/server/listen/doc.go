// Package listen hears the guests of all networks of a host for one protocol:
// one set of sockets for all networks of a namespace, or one per link where
// another program holds the port.
//
// Networks keeps each network's engine and where it listens. Links may come
// later, go, and come back under another index; namespaces may be made anew
// under their names; a port that is held by another program is tried again and
// the program is named. Which sockets there are is the protocol's to say: Port
// is a UDP port, Members the memberships of a multicast group.
//
// Decisions. Links are polled, not watched: a server that missed a message of
// the kernel would be deaf until its restart, and a poll costs one system call
// for each network and second. Timers follow the time since boot, which counts
// sleep and never jumps.
package listen
