package dhcp4

import "time"

// Times and bounds.
const (
	// defaultLease is the lease time of a network that has none.
	defaultLease = 12 * time.Hour
	// minLease bounds what a client may ask for.
	minLease = time.Minute
	// offerTime is how long an offered address is kept for its client.
	offerTime = 30 * time.Second
	// quarantine is how long a declined address is kept back.
	quarantine = time.Hour
	// foreignTime is how long an address is avoided whose claim failed because
	// somebody else has it.
	foreignTime = 10 * time.Minute

	// maxIdle bounds the ended leases that are remembered per network,
	// maxOffers the offers to clients that have not answered, maxPending the
	// claims under way.
	maxIdle, maxOffers, maxPending = 65536, 2048, 4096

	// maxMessage bounds a message, maxOptions its options: what is beyond is
	// not read at all.
	maxMessage, maxOptions = 1500, 128
	// RFC 2131 section 2: every client takes a message of 576 bytes with its
	// IP and UDP headers.
	minMaxMessage, headers = 576, 28
)
