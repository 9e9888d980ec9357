// Package uplink is what a host says and hears on its ways out: it hears the
// routers there, whoever manages the link, asks the provider for prefixes where
// that is wished, and takes prefixes from files, commands and people. It
// reports facts and configures nothing.
//
// Links is the part that speaks; what it decides by is in uplink/ra, uplink/pd
// and uplink/given, and in the small functions of this package that have
// neither sockets nor clock. uplink/owner says who manages a link.
//
//	packets -> filter (kernel) -> rate -> frame -> ra.Table | pd.Client
//	                                                    \-> Change -> agent
package uplink
