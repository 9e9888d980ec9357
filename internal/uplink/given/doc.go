// Package given takes prefixes that do not come by DHCPv6: those that somebody
// wrote down, those of a file that a hook of another DHCPv6 client writes, and
// those that a command prints.
//
// What was good last stays until its lifetime ends, whatever the file or the
// command does then; what is wrong is said once.
package given
