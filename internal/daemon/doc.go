// Package daemon turns the program into a service: a supervisor that keeps the
// control and agent processes alive, and what each process does to its own
// surroundings at start (locks, privileges, limits, sockets, systemd).
//
// No process dies with another. The supervisor hands each child a locked file
// in the run directory; the lock lives exactly as long as the child, so the
// next supervisor knows who is alive without trusting a number, adopts it, and
// watches it through a pidfd. A child of another build, or with other
// arguments, is restarted, one after the other, each ready before the next.
package daemon
