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

	// maxKnown bounds the DUIDs that are remembered with their port.
	maxKnown = 65536

	// maxMessage bounds a message, maxOptions its options with those inside
	// IAs, maxIAs and maxAddresses what is looked at of those.
	maxMessage, maxOptions, maxIAs, maxAddresses = 2048, 128, 8, 16
	// RFC 9915 section 11.1: two bytes of type and 1 to 128 more.
	minDUID, maxDUID = 3, 130
)
