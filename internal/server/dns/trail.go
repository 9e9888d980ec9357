package dns

import (
	"bytes"

	"github.com/miekg/dns"
)

// A trail keeps queries from going round in circles between servers that
// forward to each other. Each question to an upstream carries, in an EDNS
// option, a number made up for it, behind the numbers of the question that
// caused it. A server that is asked with a number of its own that is still
// under way has been asked by itself. The numbers tell upstreams nothing about
// who asks.
const (
	// optTrail is of the range for local use (RFC 6891 section 9).
	optTrail = 65083
	// markLen is the length of a number, in bytes.
	markLen = 8
	// maxTrail bounds how many servers of ours may stand in a row.
	maxTrail = 8
)

// mark is the number of one question under way.
type mark [markLen]byte

// trailOf returns the trail of a query, nil if it has none.
func trailOf(q *dns.Msg) []byte {
	opt := q.IsEdns0()
	if opt == nil {
		return nil
	}
	for _, o := range opt.Option {
		if l, ok := o.(*dns.EDNS0_LOCAL); ok && l.Code == optTrail && len(l.Data) > 0 {
			return l.Data[:len(l.Data)/markLen*markLen]
		}
	}
	return nil
}

// marks cuts a trail into its numbers.
func marks(trail []byte) []mark {
	var out []mark
	for len(trail) >= markLen {
		out = append(out, mark(trail[:markLen]))
		trail = trail[markLen:]
	}
	return out
}

// withTrail adds the option to a question for an upstream.
func withTrail(m *dns.Msg, trail []byte, own mark) {
	opt := m.IsEdns0()
	opt.Option = append(opt.Option, &dns.EDNS0_LOCAL{Code: optTrail, Data: append(bytes.Clone(trail), own[:]...)})
}
