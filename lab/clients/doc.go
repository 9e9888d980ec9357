// Package clients holds the proofs of the address servers from outside: the
// daemon's binary on a host of the lab, and on its networks the DHCP clients
// that people have (ISC dhclient, dhcpcd, systemd-networkd, busybox udhcpc and
// udhcpc6, wide-dhcpv6-client, cloud-init), relays (dhcrelay), and judges
// (perfdhcp, rdisc6, radvdump, dig), beside senders of whatever a server should
// never get. Debian's and Ubuntu's busybox lack the applet udhcpc6: make
// deps-test builds it from their source package.
//
// All tests share one host and one daemon; each has networks and guests of its
// own.
package clients
