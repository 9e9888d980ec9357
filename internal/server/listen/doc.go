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
// Messages are taken many at a time (Inbox), handled with the lock taken once,
// and what is to be sent is only queued under it (Outbox, Speaker): it goes out
// when the networks are unlocked, in the order in which it was queued and many
// messages with one system call. So an answer overtakes no other one, and
// nobody waits for the kernel but who sends.
//
// Decisions. The system calls that take and send messages never sleep, and are
// made without telling the Go scheduler: told, it would hand the processor on
// after 20 µs, and wake threads for that all the time. Links are watched, by one
// netlink socket in each namespace for all protocols (Links), since looking for
// each of a hundred networks every second, for four protocols, was a sixth of
// what an idle host took. What that socket has no room for the kernel says, and
// every ten seconds all links are compared, so that no server is deaf until its
// restart. Where nobody watches, they are looked for each second. Timers follow
// the time since boot, which counts sleep and never jumps: an Alarm of the
// kernel's, since Go's own do not count sleep and would have to be short.
package listen
