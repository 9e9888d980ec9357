package dhcp6

import "time"

// Times and bounds.
const (
	// maxRetransmit is SOL_MAX_RT and INF_MAX_RT (RFC 9915 sections 21.24 and
	// 21.25; default 3600 s): guests that started while the server was away
	// are served within five minutes of its return.
	maxRetransmit = 300 * time.Second
	// RFC 9915 section 21.23: IRT_MINIMUM and IRT_DEFAULT.
	minRefresh, maxRefresh = 600 * time.Second, 24 * time.Hour

	// maxKnown bounds the clients that are remembered with their port, and
	// those that accept to be reconfigured.
	maxKnown = 65536

	// maxMessage bounds a message, maxOptions its options with those of relays
	// and inside IAs, maxIAs and maxAddresses what is looked at of those.
	maxMessage, maxOptions, maxIAs, maxAddresses = 4096, 128, 8, 16
	// RFC 9915 section 11.1: two bytes of type and 1 to 128 more.
	minDUID, maxDUID = 3, 130
	// hopCountLimit is HOP_COUNT_LIMIT (RFC 9915 section 7.6), maxHops how many
	// relays that are, since the first counts 0.
	hopCountLimit, maxHops = 8, 9

	// maxTries is how often a message is worked anew whose claim somebody else
	// was faster with.
	maxTries = 3
	// maxRegistered bounds the time of an address that a client registers, and
	// maxReported how many one port or MAC may.
	maxRegistered = 30 * 24 * time.Hour
	maxReported   = 64
	// settled is how long before its full time a lease needs no new claim: a
	// client that repeats itself costs nothing.
	settled = time.Minute
)
