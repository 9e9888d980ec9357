package dns

import (
	"container/list"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// cacheEntries and cacheBytes bound the cache; bytes are those of the
	// answers on the wire, of which the heap takes some four times as much.
	cacheEntries = 4096
	cacheBytes   = 2 << 20
	// maxTTL bounds how long an answer is kept: RFC 8767 section 4 speaks of
	// days, but a host that roams gains nothing from old answers.
	maxTTL = time.Hour
	// maxNegative is the bound for negative answers (RFC 2308 section 5).
	maxNegative = 15 * time.Minute
	// failureTTL is how long a failure is remembered (RFC 9520 section 3.2:
	// at least a second).
	failureTTL = time.Second
)

// cache keeps upstreams' answers, the least recently used going first. It is
// safe for concurrent use; the messages in it never change.
type cache struct {
	mu    sync.Mutex
	byKey map[question]*list.Element
	used  *list.List // of *cached, the most recently used in front
	bytes int
}

type cached struct {
	key           question
	msg           *dns.Msg
	size          int
	since, expiry time.Time
}

func newCache() *cache {
	return &cache{byKey: map[question]*list.Element{}, used: list.New()}
}

// get returns a copy of the answer with TTLs lowered by its age, or nil.
func (c *cache) get(now time.Time, key question) *dns.Msg {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.fresh(now, key); m != nil {
		return m
	}
	key.qtype = dns.TypeNone // that there is no such name holds for all types
	return c.fresh(now, key)
}

// fresh returns what is kept under exactly the key. The caller holds mu.
func (c *cache) fresh(now time.Time, key question) *dns.Msg {
	el := c.byKey[key]
	if el == nil {
		return nil
	}
	e := el.Value.(*cached)
	if !now.Before(e.expiry) || now.Before(e.since) {
		c.drop(el)
		return nil
	}
	c.used.MoveToFront(el)
	return aged(e.msg, uint32(now.Sub(e.since)/time.Second))
}

// put keeps the answer as long as its TTLs allow.
func (c *cache) put(now time.Time, key question, msg *dns.Msg) {
	ttl := lifetime(msg)
	if ttl <= 0 {
		return
	}
	if msg.Rcode == dns.RcodeNameError && len(msg.Answer) == 0 { // RFC 2308 section 5
		key.qtype = dns.TypeNone
	}
	size := msg.Len() + len(key.name)
	if size > cacheBytes/16 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if el := c.byKey[key]; el != nil {
		c.drop(el)
	}
	c.byKey[key] = c.used.PushFront(&cached{key, msg, size, now, now.Add(ttl)})
	c.bytes += size
	for len(c.byKey) > cacheEntries || c.bytes > cacheBytes {
		c.drop(c.used.Back())
	}
}

// clear forgets everything.
func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.byKey)
	c.used.Init()
	c.bytes = 0
}

func (c *cache) drop(el *list.Element) {
	e := c.used.Remove(el).(*cached)
	delete(c.byKey, e.key)
	c.bytes -= e.size
}

// lifetime returns how long an answer may be kept.
func lifetime(m *dns.Msg) time.Duration {
	switch {
	case m.Truncated:
		return 0
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return failureTTL
	}
	negative := m.Rcode == dns.RcodeNameError || !answers(m)
	limit, least := maxTTL, uint32(1<<31-1)
	if negative {
		limit, least = maxNegative, 0
		for _, rr := range m.Ns {
			if soa, ok := rr.(*dns.SOA); ok { // RFC 2308 section 5: without one it is not cached
				least = min(soa.Hdr.Ttl, soa.Minttl)
			}
		}
	}
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if rr.Header().Rrtype != dns.TypeOPT {
				least = min(least, rr.Header().Ttl)
			}
		}
	}
	if least >= 1<<31 { // RFC 2181 section 8
		return 0
	}
	return min(time.Duration(least)*time.Second, limit)
}

// answers reports whether the answer has a record of the type asked for.
func answers(m *dns.Msg) bool {
	for _, rr := range m.Answer {
		if t := rr.Header().Rrtype; len(m.Question) == 1 && (t == m.Question[0].Qtype || m.Question[0].Qtype == dns.TypeANY) {
			return true
		}
	}
	return false
}

// aged returns a copy of m with every TTL lowered by seconds.
func aged(m *dns.Msg, seconds uint32) *dns.Msg {
	a := m.Copy()
	for _, section := range [][]dns.RR{a.Answer, a.Ns, a.Extra} {
		for _, rr := range section {
			if h := rr.Header(); h.Rrtype != dns.TypeOPT {
				h.Ttl -= min(h.Ttl, seconds)
			}
		}
	}
	return a
}
