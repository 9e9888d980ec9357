// Package scenario holds whole-system tests: the daemon's binary on a host of
// the lab, unmodified clients as guests, and what users rely on when something
// happens: processes are killed, others flush the rules, links vanish, the
// host moves to another network.
package scenario
