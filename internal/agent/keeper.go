package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/sextant-net/sextant/internal/pack"
	"github.com/sextant-net/sextant/internal/plan"
	"github.com/sextant-net/sextant/internal/vnet"
)

// keeper keeps the newest snapshot on disk, so that an agent that starts while
// the store is away has something to go on from. What a crash loses of it the
// store still has.
type keeper struct {
	file string
	log  *slog.Logger

	stale  bool // the file is older than the snapshot; the loop's own
	writes chan keep
}

// keep is one state of the snapshot on its way to the file.
type keep struct {
	host     string
	revision int64
	objects  []vnet.Object
	leases   []*pack.Lease
	untold   []vnet.ID // leases of which the store did not say anything yet
}

// kept is the file's form: objects as the API shows them, by kind.
type kept struct {
	Host     string                                    `json:"host"`
	Revision int64                                     `json:"revision"`
	Untold   []vnet.ID                                 `json:"untold"`
	Objects  map[vnet.Kind]map[vnet.ID]json.RawMessage `json:"objects"`
}

func newKeeper(dir string, log *slog.Logger) *keeper {
	k := &keeper{log: log, writes: make(chan keep, 1)}
	if dir != "" {
		k.file = filepath.Join(dir, "agent-snapshot.json")
	}
	return k
}

// load returns the kept snapshot, nil if there is none that can be used, and the
// leases that were in it without the store's word.
func (k *keeper) load(host string) (s *plan.Snapshot, untold []vnet.Lease) {
	if k.file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(k.file)
	if err != nil {
		return nil, nil
	}
	var f kept
	if err := json.Unmarshal(data, &f); err != nil || f.Host != host {
		k.log.Warn("kept snapshot passed over", "file", k.file, "error", err)
		return nil, nil
	}
	s = plan.NewSnapshot(host)
	s.Revision = f.Revision
	for kind, byID := range f.Objects {
		for _, raw := range byID {
			o, err := vnet.DecodeObject(kind, raw)
			if err != nil {
				k.log.Warn("kept snapshot passed over", "file", k.file, "error", err)
				return nil, nil
			}
			s.Put(o)
		}
	}
	for _, id := range f.Untold {
		if l := s.Lease(id); l != nil {
			untold = append(untold, *l.Whole())
			s.Delete(vnet.Ref{Kind: vnet.KindLease, ID: id})
		}
	}
	return s, untold
}

// set notes that the snapshot changed.
func (k *keeper) set(*plan.Snapshot) { k.stale = k.file != "" }

// tick hands the snapshot to the writer if it changed and the writer is idle.
// Objects never change once they are in a snapshot, so only the list of them
// is copied in the loop.
func (k *keeper) tick(s *plan.Snapshot, owed map[leaseKey]*tentative) {
	if !k.stale || len(k.writes) > 0 {
		return
	}
	select {
	case k.writes <- keepOf(s, owed):
		k.stale = false
	default:
	}
}

// run writes snapshots until ctx ends.
func (k *keeper) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case x := <-k.writes:
			t := tenth{ctx, time.Now()}
			if err := k.write(x, t.rest); err != nil && ctx.Err() == nil {
				k.log.Warn("snapshot not kept", "file", k.file, "error", err)
			}
			t.rest()
		}
	}
}

// tenth has what is done between its rests take a tenth of a core: so does a
// huge snapshot, and guests are never served more slowly for long.
type tenth struct {
	ctx   context.Context
	begun time.Time
}

// rest waits nine times as long as it is since the last rest, or until ctx ends.
func (t *tenth) rest() {
	pause := time.NewTimer(min(9*time.Since(t.begun), time.Minute))
	defer pause.Stop()
	select {
	case <-t.ctx.Done():
	case <-pause.C:
	}
	t.begun = time.Now()
}

// write replaces the file in one step. It encodes one object after the other,
// and rests now and then: a hundred thousand leases are some fifty megabytes,
// which need not all be in memory at once, nor be made in one go.
func (k *keeper) write(x keep, rest func()) error {
	tmp := k.file + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	if err := errors.Join(x.encode(w, rest), w.Flush(), f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, k.file)
}

// keepOf lists what is in a snapshot, some of it without the store's word.
func keepOf(s *plan.Snapshot, owed map[leaseKey]*tentative) keep {
	x := keep{host: s.Host, revision: s.Revision, objects: s.Objects()}
	x.leases = slices.AppendSeq(make([]*pack.Lease, 0, s.LeaseCount()), s.Leases())
	for _, t := range owed {
		if !t.known {
			x.untold = append(x.untold, t.id)
		}
	}
	return x
}

// keepAtOnce is how many objects are encoded without a rest.
const keepAtOnce = 256

// encode writes the form that kept describes. The objects come kind by kind.
func (x keep) encode(w *bufio.Writer, rest func()) error {
	host, err := json.Marshal(x.host)
	untold, err2 := json.Marshal(x.untold)
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(w, `{"host":%s,"revision":%d,"untold":%s,"objects":{`, host, x.revision, untold) // Flush says what fails
	kind, between, n := vnet.Kind(""), "", 0
	head := func(k vnet.Kind, id vnet.ID) {
		if n++; n%keepAtOnce == 0 {
			rest()
		}
		if k != kind {
			if between != "" {
				between = "},"
			}
			between += fmt.Sprintf("%q:{", k)
		}
		kind = k
		_, _ = w.WriteString(between)
		_, _ = w.Write(append(strconv.AppendQuote(w.AvailableBuffer(), string(id)), ':'))
		between = ","
	}
	body := json.NewEncoder(w)
	for _, o := range x.objects {
		head(o.Kind(), o.GetMeta().ID)
		if err := body.Encode(o); err != nil {
			return err
		}
	}
	var b []byte
	for _, l := range x.leases {
		head(vnet.KindLease, l.ID())
		if b, err = l.AppendJSON(b[:0]); err != nil {
			return err
		}
		_, _ = w.Write(b)
	}
	if kind != "" {
		_, _ = w.WriteString("}")
	}
	_, err = w.WriteString("}}")
	return err
}
