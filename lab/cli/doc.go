// Package cli holds the tests of the command line as users have it: the real
// binary and its daemon on a host of the lab, good and bad input, and what is
// left of both afterwards.
package cli
