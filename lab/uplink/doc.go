// Package uplink holds whole-system tests of what a host is plugged into: the
// daemon's binary behind providers that run other people's software (radvd,
// Kea, ISC dhcpd, dnsmasq, tayga), with the kernel's own clients as guests, and
// what happens to both when the provider changes. In every one of them the
// host's own connectivity is watched.
package uplink
