package lease

import "time"

// Times and bounds.
const (
	// DefaultTime is the lease time of a network that has none, MinTime the
	// shortest one.
	DefaultTime = 12 * time.Hour
	MinTime     = time.Minute
	// OfferTime is how long an offered address is kept for its client.
	OfferTime = 30 * time.Second
	// Quarantine is how long a declined address is kept back, and how long it
	// is told that a port's address is in use elsewhere.
	Quarantine = time.Hour
	// foreignTime is how long an address is avoided whose claim failed because
	// somebody else has it.
	foreignTime = 10 * time.Minute

	// MaxOffers bounds the offers to clients that have not answered and the
	// conflicts, MaxPending the claims under way, maxIdle the ended leases
	// that are remembered, each per network.
	MaxOffers, MaxPending, maxIdle = 2048, 4096, 65536
	// maxHolderIdle bounds the ended leases that are remembered of one holder,
	// maxLooked how many of a holder's are looked at.
	maxHolderIdle, maxLooked = 64, 256

	// DefaultLimit is how many dynamic addresses and prefixes one holder may
	// have where the network does not say (vnet.DHCPPolicy.Limit).
	DefaultLimit = 16
	// rareOffers is the size of a pool from which on offers are not remembered:
	// addresses follow from the clients, and two of them hardly ever have the
	// same.
	rareOffers = 1 << 16
	// defaultPiece is the length of delegated prefixes where the subnet does
	// not say.
	defaultPiece = 64
)
