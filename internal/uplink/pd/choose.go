package pd

import (
	"bytes"

	"github.com/insomniacslk/dhcp/iana"
)

// advertised keeps the best of the servers that answer (section 18.2.9).
func (c *Client) advertised(a *answer, now Instant, out *Step) {
	prefixes, notes := take(a, now.Wall)
	for _, n := range notes {
		c.note(out, n)
	}
	if len(prefixes) == 0 {
		c.noteEnded(a, out)
		if a.iaStatus == iana.StatusNoPrefixAvail || a.status == iana.StatusNoPrefixAvail {
			c.note(out, "the provider's server has no prefix for us (NoPrefixAvail)")
		}
		return
	}
	if c.best == nil || c.better(a, c.best) {
		c.best = a
	}
	// The first wait is for all servers; one with the highest preference, or
	// one that comes later, is taken at once.
	if a.preference == 255 || c.timer.count > 1 {
		c.choose(now)
		out.Send = append(out.Send, c.message(now))
		c.timer.sent(now.Boot)
	}
}

// better reports whether a is to be preferred to b: one that has not refused
// us, the server's own preference, then what is more like our hint, then more
// room.
func (c *Client) better(a, b *answer) bool {
	if ra, rb := bytes.Equal(a.server, c.refused), bytes.Equal(b.server, c.refused); ra != rb {
		return rb
	}
	if a.preference != b.preference {
		return a.preference > b.preference
	}
	if ha, hb := c.asHinted(a), c.asHinted(b); ha != hb {
		return ha
	}
	return widest(a) < widest(b)
}

func (c *Client) asHinted(a *answer) bool {
	for _, p := range a.prefixes {
		if c.cfg.Hint.IsValid() && (p.prefix.Masked() == c.cfg.Hint || c.cfg.Hint.Addr().IsUnspecified() && p.prefix.Bits() == c.cfg.Hint.Bits()) {
			return true
		}
	}
	return false
}

// widest is the length of the shortest prefix.
func widest(a *answer) int {
	n := 128
	for _, p := range a.prefixes {
		n = min(n, p.prefix.Bits())
	}
	return n
}

// choose goes on with the best server.
func (c *Client) choose(now Instant) {
	c.begin(Requesting, requesting, now.Boot, "the best server is chosen")
}
