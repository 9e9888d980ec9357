package tftp

import (
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"
)

const (
	// mostTalks, mostOfNetwork and mostOfClient bound the transfers at a time.
	mostTalks     = 2048
	mostOfNetwork = 128
	mostOfClient  = 16
	// stalled is how long a transfer must be without progress to make room for
	// another one.
	stalled = 2 * time.Second
)

// talkKey is a transfer's name: a client uses a port of its own for each (RFC
// 1350 section 4).
type talkKey struct {
	network vnet.ID
	local   netip.Addr
	client  netip.AddrPort // without zone
}

// clientKey is whose transfers are counted together.
type clientKey struct {
	network vnet.ID
	addr    netip.Addr
}

func (k talkKey) owner() clientKey { return clientKey{k.network, k.client.Addr()} }

// talk is one transfer under way, or about to begin.
type talk struct {
	key     talkKey
	request string       // the request as it came
	heard   atomic.Bool  // whether the client has acknowledged anything
	moved   atomic.Int64 // when it last made progress, time since boot

	mu   sync.Mutex
	sock *os.File // nil until there is one
	over bool
}

// attach gives the talk its socket; false if it has been stopped.
func (t *talk) attach(sock *os.File) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return false
	}
	t.sock = sock
	return true
}

// stop ends the talk: it finds its socket closed.
func (t *talk) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	if t.sock != nil {
		_ = t.sock.Close()
	}
}

// talks are all transfers. They are used while the server is locked.
type talks struct {
	by       map[talkKey]*talk
	clients  map[clientKey][]*talk
	networks map[vnet.ID][]*talk
}

func newTalks() talks {
	return talks{map[talkKey]*talk{}, map[clientKey][]*talk{}, map[vnet.ID][]*talk{}}
}

// of returns a network's transfers.
func (ts *talks) of(network vnet.ID) []*talk { return slices.Clone(ts.networks[network]) }

// begin enters a transfer, or returns nil if the request is to be passed over:
// it is one that is being served, or there are too many. A client that is not
// answered asks again.
func (ts *talks) begin(k talkKey, request string, now time.Duration) *talk {
	if old := ts.by[k]; old != nil {
		if old.request == request && !old.heard.Load() {
			return nil // sent twice: our answer is on its way, and repeated if it is lost
		}
		old.stop() // the client began anew
		ts.remove(old)
	}
	if len(ts.clients[k.owner()]) >= mostOfClient && !ts.makeRoom(ts.clients[k.owner()], now) ||
		len(ts.networks[k.network]) >= mostOfNetwork && !ts.makeRoom(ts.networks[k.network], now) ||
		len(ts.by) >= mostTalks {
		return nil
	}
	t := &talk{key: k, request: request}
	t.moved.Store(int64(now))
	ts.by[k] = t
	ts.clients[k.owner()] = append(ts.clients[k.owner()], t)
	ts.networks[k.network] = append(ts.networks[k.network], t)
	return t
}

// makeRoom ends the one of some transfers that has been without progress for
// longest, if that is long enough.
func (ts *talks) makeRoom(some []*talk, now time.Duration) bool {
	oldest := slices.MinFunc(some, func(a, b *talk) int { return int(a.moved.Load() - b.moved.Load()) })
	if now-time.Duration(oldest.moved.Load()) < stalled {
		return false
	}
	oldest.stop()
	ts.remove(oldest)
	return true
}

// remove forgets a transfer; twice is harmless.
func (ts *talks) remove(t *talk) {
	if ts.by[t.key] != t {
		return
	}
	delete(ts.by, t.key)
	take(ts.clients, t.key.owner(), t)
	take(ts.networks, t.key.network, t)
}

func take[K comparable](m map[K][]*talk, k K, t *talk) {
	rest := slices.DeleteFunc(m[k], func(o *talk) bool { return o == t })
	if m[k] = rest; len(rest) == 0 {
		delete(m, k)
	}
}
