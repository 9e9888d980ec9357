package agent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/server/dhcp6"
	"github.com/sextant-net/sextant/internal/vnet"
)

// acceptKeeper keeps on disk which guests accept to be told of changes by DHCPv6
// (Reconfigure, RFC 9915 section 18.3.11), and the secret that their keys are
// made of: without it they would believe nothing that we say after a restart,
// and keep an address that leads nowhere until they renew. It is a dhcp6.Memory.
//
// A client is written soon after it is heard, not before it is answered: one that
// a crash forgets renews like those that do not accept it.
type acceptKeeper struct {
	file   string // "": nothing is kept
	log    *slog.Logger
	wake   chan struct{}
	secret []byte

	mu       sync.Mutex
	clients  map[vnet.ID]map[ipam.DUID]dhcp6.Acceptor
	count    int
	number   uint64 // the last that was used
	reserved uint64 // what the file says: no number up to it is used again
}

const (
	// maxAccepted bounds the clients that are kept, of all networks.
	maxAccepted = 65536
	// maxAcceptFile bounds what is read.
	maxAcceptFile = 64 << 20
	acceptSecret  = 32 // bytes
	// aheadBy is how many numbers are reserved at a time. They follow the wall
	// clock in nanoseconds, which may be set back while we are away.
	aheadBy = uint64(time.Hour)
	// acceptPause lets what comes together be written together.
	acceptPause = 100 * time.Millisecond
)

// keptAcceptors is the file's form.
type keptAcceptors struct {
	Secret   string                     `json:"secret"` // hexadecimal
	Reserved uint64                     `json:"reserved"`
	Networks map[vnet.ID][]keptAcceptor `json:"networks"`
}

type keptAcceptor struct {
	DUID string     `json:"duid"` // hexadecimal
	Peer netip.Addr `json:"peer"`
	Info bool       `json:"info,omitempty"`
	Came uint64     `json:"came,omitempty"`
}

func newAcceptKeeper(dir string, log *slog.Logger) *acceptKeeper {
	k := &acceptKeeper{log: log, wake: make(chan struct{}, 1), clients: map[vnet.ID]map[ipam.DUID]dhcp6.Acceptor{}}
	if dir != "" {
		k.file = filepath.Join(dir, "agent-reconfigure.json")
		k.load()
	}
	if k.secret == nil {
		k.secret = make([]byte, acceptSecret)
		_, _ = rand.Read(k.secret) // it never fails
		poke(k.wake)
	}
	return k
}

// load takes in the file, as far as it can be read.
func (k *acceptKeeper) load() {
	data, err := os.ReadFile(k.file)
	if err == nil {
		err = k.read(data)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		k.log.Warn("guests that accept reconfigure messages are told of changes once they have renewed", "file", k.file, "error", err)
	}
}

// read reads the file. A client that says something impossible is passed over.
func (k *acceptKeeper) read(data []byte) error {
	if len(data) > maxAcceptFile {
		return errors.New("too long")
	}
	var f keptAcceptors
	if err := json.Unmarshal(data, &f); err != nil {
		return err
	}
	secret, err := hex.DecodeString(f.Secret)
	if err != nil || len(secret) != acceptSecret {
		return errors.New("no secret of ours in it")
	}
	if f.Reserved > math.MaxInt64 { // no clock says so, and at the end of numbers nobody is told any more
		return errors.New("no number of ours in it")
	}
	k.secret, k.reserved, k.number = secret, f.Reserved, f.Reserved
	for network, list := range f.Networks {
		for _, c := range list {
			b, err := hex.DecodeString(c.DUID)
			if err != nil {
				continue
			}
			if duid, err := ipam.DUIDFromBytes(b); err == nil && network != "" && c.Peer.IsLinkLocalUnicast() && c.Peer.Is6() && c.Peer.Zone() == "" {
				k.put(network, dhcp6.Acceptor{DUID: duid, Peer: c.Peer, Info: c.Info, Came: c.Came})
			}
		}
	}
	return nil
}

// put notes a client, unless there are too many; the caller holds the lock.
func (k *acceptKeeper) put(network vnet.ID, a dhcp6.Acceptor) {
	of := k.clients[network]
	if _, known := of[a.DUID]; !known {
		if k.count >= maxAccepted {
			return
		}
		k.count++
	}
	if of == nil {
		of = map[ipam.DUID]dhcp6.Acceptor{}
		k.clients[network] = of
	}
	of[a.DUID] = a
}

// Acceptors returns those of a network.
func (k *acceptKeeper) Acceptors(network vnet.ID) []dhcp6.Acceptor {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]dhcp6.Acceptor, 0, len(k.clients[network]))
	for _, a := range k.clients[network] {
		out = append(out, a)
	}
	return out
}

// Keep notes one.
func (k *acceptKeeper) Keep(network vnet.ID, a dhcp6.Acceptor) {
	k.mu.Lock()
	k.put(network, a)
	k.mu.Unlock()
	poke(k.wake)
}

// Drop forgets one.
func (k *acceptKeeper) Drop(network vnet.ID, duid ipam.DUID) {
	k.mu.Lock()
	if _, known := k.clients[network][duid]; known {
		delete(k.clients[network], duid)
		k.count--
	}
	k.mu.Unlock()
	poke(k.wake)
}

// Number returns the next number.
func (k *acceptKeeper) Number(atLeast uint64) uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.number = max(k.number+1, atLeast); k.number > k.reserved {
		poke(k.wake)
	}
	return k.number
}

// only forgets networks that are no more.
func (k *acceptKeeper) only(there func(vnet.ID) bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for network, of := range k.clients {
		if !there(network) {
			k.count -= len(of)
			delete(k.clients, network)
			poke(k.wake)
		}
	}
}

// run writes until ctx ends, and what is left then.
func (k *acceptKeeper) run(ctx context.Context) {
	if k.file == "" {
		return
	}
	for {
		select {
		case <-ctx.Done():
			k.write()
			return
		case <-k.wake:
		}
		t := tenth{ctx, time.Now().Add(-acceptPause / 9)}
		k.write()
		t.rest()
	}
}

// write makes the file say what is known; what fails is tried again.
func (k *acceptKeeper) write() {
	data, err := json.Marshal(k.kept())
	if err == nil {
		err = writeDurably(k.file, data)
	}
	if err != nil {
		k.log.Warn("who accepts reconfigure messages is not kept", "file", k.file, "error", err)
		poke(k.wake)
	}
}

// kept is what is known, in the file's form.
func (k *acceptKeeper) kept() keptAcceptors {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.number > k.reserved {
		k.reserved = k.number + aheadBy
	}
	f := keptAcceptors{Secret: hex.EncodeToString(k.secret), Reserved: k.reserved, Networks: map[vnet.ID][]keptAcceptor{}}
	for network, of := range k.clients {
		for _, a := range of {
			f.Networks[network] = append(f.Networks[network], keptAcceptor{DUID: hex.EncodeToString(a.DUID.Bytes()), Peer: a.Peer, Info: a.Info, Came: a.Came})
		}
	}
	return f
}
