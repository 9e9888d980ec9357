// Package xml reads, checks, changes and prints libvirt's definitions of
// networks and ports, in its words: what is refused is refused with libvirt's
// number and text, and what is printed is printed as libvirt prints it, letter by
// letter. It also translates definitions into our nouns and back. All of it is
// pure; what the host has is asked of a Host.
//
// Where libvirt 9 and 11 differ this is 11. DESIGN.md lists the differences, and
// what our nouns have no place for.
package xml
