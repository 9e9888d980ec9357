package dhcp6

import "time"

// Times and bounds.
const (
	// defaultLease is the valid lifetime of a network that has none.
	defaultLease = 12 * time.Hour
	minLease     = time.Minute
	// offerTime is how long an advertised address is kept for its client.
	offerTime = 30 * time.Second
	// quarantine is how long a declined address is kept back.
	quarantine = time.Hour
	// foreignTime is how long an address is avoided whose claim failed because
	// somebody else has it.
	foreignTime = 10 * time.Minute

	// maxRetransmit is SOL_MAX_RT and INF_MAX_RT (RFC 9915 sections 21.24 and
	// 21.25; default 3600 s): guests that started while the server was away
	// are served within five minutes of its return.
	maxRetransmit = 300 * time.Second
	// RFC 9915 section 21.23: IRT_MINIMUM and IRT_DEFAULT.
	minRefresh, maxRefresh = 600 * time.Second, 24 * time.Hour

	// maxIdle bounds the ended leases that are remembered per network,
	// maxOffers the addresses advertised to clients that have not answered,
	// maxPending the messages whose claims are under way, maxKnown the DUIDs
	// that are remembered with their port.
	maxIdle, maxOffers, maxPending, maxKnown = 65536, 2048, 4096, 65536

	// maxMessage bounds a message, maxOptions its options with those inside
	// IAs, maxIAs and maxAddresses what is looked at of those.
	maxMessage, maxOptions, maxIAs, maxAddresses = 2048, 128, 8, 16
	// RFC 9915 section 11.1: two bytes of type and 1 to 128 more.
	minDUID, maxDUID = 3, 130
)
