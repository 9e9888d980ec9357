package dhcp4

// Bounds.
const (
	// maxMessage bounds a message, maxOptions its options: what is beyond is
	// not read at all.
	maxMessage, maxOptions = 1500, 128
	// RFC 2131 section 2: every client takes a message of 576 bytes with its
	// IP and UDP headers.
	minMaxMessage, headers = 576, 28
	// leastReply is the size of a BOOTP message, below which some relays and
	// clients take it for a broken one (RFC 1542 section 2.1).
	leastReply = 300
)
