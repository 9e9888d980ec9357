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
// after 20 µs, and wake threads for that all the time. Links are polled, not
// watched: a server that missed a message of the kernel would be deaf until its
// restart, and a poll costs one system call for each network and second. Timers
// follow the time since boot, which counts sleep and never jumps.
package listen
