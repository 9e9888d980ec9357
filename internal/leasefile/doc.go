// Package leasefile reads the lease files of other DHCP servers: dnsmasq's, ISC
// dhcpd's and Kea's (memfile), of both families, so that guests keep their
// addresses when Sextant takes their network over.
//
// A file is a history: the last word on an address counts, and an address that
// was given back is not among the results. What cannot be read is skipped and
// reported with its line; a file is never refused for one bad line. Time does
// not matter here: whether a lease is over is for the caller to compare.
package leasefile
