package agent

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/sextant-net/sextant/internal/ipam"
	"github.com/sextant-net/sextant/internal/uplink/pd"
)

// heldKeeper keeps on disk what providers have delegated on each link: their
// servers hold us to it, and guests have addresses in it, whether we run or
// not.
type heldKeeper struct {
	file string
	log  *slog.Logger
	held map[string]*pd.Held
}

// keptHeld is the file's form.
type keptHeld struct {
	Links map[string]keptLink `json:"links"`
}

type keptLink struct {
	Server   string       `json:"server"` // the DUID in hexadecimal
	Prefixes []keptPrefix `json:"prefixes"`
	Renew    time.Time    `json:"renew,omitzero"`
	Rebind   time.Time    `json:"rebind,omitzero"`
}

type keptPrefix struct {
	Prefix    netip.Prefix `json:"prefix"`
	Exclude   netip.Prefix `json:"exclude,omitzero"`
	Preferred time.Time    `json:"preferred,omitzero"`
	Valid     time.Time    `json:"valid,omitzero"`
}

// Bounds of what is believed of the file.
const (
	maxHeldFile  = 1 << 20
	maxHeldLinks = 256
	maxHeldOf    = 64
)

func newHeldKeeper(dir string, log *slog.Logger) *heldKeeper {
	k := &heldKeeper{log: log, held: map[string]*pd.Held{}}
	if dir != "" {
		k.file = filepath.Join(dir, "agent-uplinks.json")
	}
	return k
}

// load returns what was held, as far as it can be read and is not over.
func (k *heldKeeper) load(now time.Time) map[string]*pd.Held {
	if k.file == "" {
		return nil
	}
	data, err := os.ReadFile(k.file)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			k.log.Warn("what providers delegated cannot be read", "file", k.file, "error", err)
		}
		return nil
	}
	held, err := readHeld(data, now)
	if err != nil {
		k.log.Warn("what providers delegated is passed over; they are asked anew", "file", k.file, "error", err)
		return nil
	}
	k.held = held
	return maps.Clone(held)
}

// readHeld reads the file. A link that says something impossible is passed
// over; what is no such file at all is an error.
func readHeld(data []byte, now time.Time) (map[string]*pd.Held, error) {
	if len(data) > maxHeldFile {
		return nil, errors.New("too long")
	}
	var f keptHeld
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, err
	}
	out := map[string]*pd.Held{}
	for name, l := range f.Links {
		if h := l.held(now); h != nil && name != "" && len(out) < maxHeldLinks {
			out[name] = h
		}
	}
	return out, nil
}

// held is what is believed of a link, nil for nothing.
func (l *keptLink) held(now time.Time) *pd.Held {
	server, err := hex.DecodeString(l.Server)
	if err != nil {
		return nil
	}
	if _, err := ipam.DUIDFromBytes(server); err != nil || len(l.Prefixes) > maxHeldOf {
		return nil
	}
	h := &pd.Held{Server: server, Renew: l.Renew, Rebind: l.Rebind}
	for _, p := range l.Prefixes {
		whole := p.Prefix.IsValid() && p.Prefix == p.Prefix.Masked() && p.Prefix.Addr().Is6() && !p.Prefix.Addr().Is4In6()
		switch {
		case !whole || p.Prefix.Bits() < 3 || p.Prefix.Bits() > 64 || !p.Prefix.Addr().IsGlobalUnicast():
			return nil
		case p.Exclude.IsValid() && (!p.Exclude.Addr().Is6() || !p.Prefix.Contains(p.Exclude.Addr()) || p.Exclude.Bits() <= p.Prefix.Bits()):
			return nil
		case !p.Valid.IsZero() && !now.Before(p.Valid):
			continue
		}
		h.Prefixes = append(h.Prefixes, pd.Prefix{Prefix: p.Prefix, Exclude: p.Exclude, Preferred: p.Preferred, Valid: p.Valid})
	}
	if len(h.Prefixes) == 0 {
		return nil
	}
	return h
}

// set notes what is held on a link now, nil for nothing.
func (k *heldKeeper) set(link string, h *pd.Held) {
	if h == nil || len(h.Prefixes) == 0 {
		delete(k.held, link)
		return
	}
	k.held[link] = h
}

// write makes it durable.
func (k *heldKeeper) write() error {
	if k.file == "" {
		return nil
	}
	f := keptHeld{Links: map[string]keptLink{}}
	for name, h := range k.held {
		l := keptLink{Server: hex.EncodeToString(h.Server), Renew: h.Renew, Rebind: h.Rebind}
		for _, p := range h.Prefixes {
			l.Prefixes = append(l.Prefixes, keptPrefix{Prefix: p.Prefix, Exclude: p.Exclude, Preferred: p.Preferred, Valid: p.Valid})
		}
		f.Links[name] = l
	}
	data, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return writeDurably(k.file, data)
}

// writeDurably replaces a file in one step that a loss of power does not undo.
func writeDurably(path string, data []byte) error {
	tmp := path + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// keptDUID is who we are to providers: made once, at random, so that neither a
// clone of a disk image's host name nor a DHCPv6 client of the host is taken
// for us. Without a directory it lives as long as the process.
func keptDUID(dir string, log *slog.Logger) []byte {
	path := filepath.Join(dir, "uplink-duid")
	if dir != "" {
		data, err := os.ReadFile(path)
		if err == nil {
			b, err := hex.DecodeString(strings.TrimSpace(string(data)))
			if err == nil {
				if _, err = ipam.DUIDFromBytes(b); err == nil {
					return b
				}
			}
			log.Warn("the identifier for providers cannot be read and is made anew", "file", path, "error", err)
		}
	}
	duid := []byte(ipam.NewDUIDUUID(uuid.New()).Bytes())
	if dir != "" {
		if err := writeDurably(path, []byte(hex.EncodeToString(duid)+"\n")); err != nil {
			log.Warn("the identifier for providers is not kept", "file", path, "error", err)
		}
	}
	return duid
}
