// Package pd asks a provider for prefixes: a client of DHCPv6 prefix
// delegation (RFC 9915 sections 6.3 and 18.2) on one uplink.
//
// Client is a function of (state, message, moment) to (messages, state),
// without sockets and without a clock. What is held is a value that the caller
// keeps: a Client made with it after a crash asks for it to be confirmed
// (Rebind) instead of asking for another one.
//
//	           +-- no answer, never gives up
//	Solicit ---+--> Request --> bound --T1--> Renew --T2--> Rebind --valid ends--> Solicit
//	   ^              | refused    ^            |             |
//	   +--------------+            +------------+-------------+
//
// Timers follow the time since boot, which counts sleep and never jumps;
// lifetimes are kept on both clocks, since what is held must survive a reboot.
package pd
