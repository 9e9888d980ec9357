package store

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// restoreKey is there while a restore is under way.
const restoreKey = root + "restore"

// archiveFormat is the first word of a backup.
const archiveFormat = "sextant-backup"

// header is the first line of a backup.
type header struct {
	Format   string       `json:"format"`
	Schema   int          `json:"schema"`
	ULA      netip.Prefix `json:"ula,omitzero"`
	Time     time.Time    `json:"time"`
	Revision int64        `json:"revision"`
	Objects  int          `json:"objects"`
}

// line is each further line of a backup.
type line struct {
	Kind   vnet.Kind       `json:"kind"`
	Object json.RawMessage `json:"object"`
}

// Backup writes all objects as of one revision, one line of JSON each, after a
// header. Statuses and host facts are left out: agents report them anew.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	resp, err := s.etcd.Get(ctx, objectsFrom, clientv3.WithRange(objectsTo))
	if err != nil {
		return storeError("backup", err)
	}
	h := header{Format: archiveFormat, Schema: Schema, Time: time.Now().UTC().Truncate(time.Second), Revision: resp.Header.Revision}
	var lines []line
	for _, kv := range resp.Kvs {
		ref, ok := parseKey(string(kv.Key))
		if !ok || !archived(ref.Kind) {
			continue
		}
		lines = append(lines, line{ref.Kind, kv.Value})
		if ref.Kind == vnet.KindInstallation {
			if o, err := decode(ref.Kind, kv.Value, 0); err == nil {
				h.ULA, h.Schema = o.(*vnet.Installation).ULA, o.(*vnet.Installation).Schema
			}
		}
	}
	h.Objects = len(lines)
	bw := bufio.NewWriter(w)
	enc := json.NewEncoder(bw)
	if err := enc.Encode(h); err != nil {
		return vnet.Errorf(vnet.ErrUnavailable, "backup: %w", err)
	}
	for _, l := range lines {
		if err := enc.Encode(l); err != nil {
			return vnet.Errorf(vnet.ErrUnavailable, "backup: %w", err)
		}
	}
	if err := bw.Flush(); err != nil {
		return vnet.Errorf(vnet.ErrUnavailable, "backup: %w", err)
	}
	return nil
}

func archived(k vnet.Kind) bool {
	return k != vnet.KindStatus && k != vnet.KindHost && k != vnet.KindEvent && k != vnet.KindOrder
}

// archive is a backup that was read and found whole.
type archive struct {
	header
	objects []vnet.Object
	raw     [][]byte
	uniques map[string]string // name -> holder
}

// maxLine bounds one object of a backup, in bytes; etcd takes no larger one.
const maxLine = 1 << 20

// readArchive reads a backup and checks all of it: each object can be read and
// stored, no unique name is held twice, everything referred to is there.
func readArchive(r io.Reader) (*archive, error) {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 0, 64<<10), maxLine)
	bad := func(n int, format string, args ...any) (*archive, error) {
		e := vnet.Errorf(vnet.ErrInvalid, format, args...)
		e.Err, e.Msg = errors.New(e.Msg), "this is no backup that can be restored"
		if n > 0 {
			e.Msg = "line " + strconv.Itoa(n) + " of the backup"
		}
		return nil, e
	}
	a := &archive{uniques: map[string]string{}}
	if !in.Scan() {
		return bad(0, "it is empty")
	}
	if err := json.Unmarshal(in.Bytes(), &a.header); err != nil || a.Format != archiveFormat {
		return bad(0, "its first line is not the header of a backup")
	}
	if a.Schema < 1 || a.Schema > Schema {
		return bad(0, "it has schema %d, this version knows %d", a.Schema, Schema)
	}
	present := map[vnet.Ref]bool{}
	for n := 2; in.Scan(); n++ {
		var l line
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			return bad(n, "is not JSON: %v", err)
		}
		if !archived(l.Kind) {
			continue
		}
		o, err := vnet.DecodeObject(l.Kind, l.Object)
		if err != nil {
			return bad(n, "%v", err)
		}
		if _, err := objectKey(o); err != nil {
			return bad(n, "%v", err)
		}
		ref := vnet.RefOf(o)
		if present[ref] {
			return bad(n, "%s is there twice", ref)
		}
		present[ref] = true
		if err := a.hold(o); err != nil {
			return bad(n, "%v", err)
		}
		a.objects = append(a.objects, o)
		a.raw = append(a.raw, l.Object)
	}
	if err := in.Err(); err != nil {
		return bad(0, "%v", err)
	}
	if len(a.objects) != a.Objects {
		return bad(0, "it has %d objects and should have %d: it is cut short", len(a.objects), a.Objects)
	}
	for _, o := range a.objects {
		for _, r := range append(vnet.References(o), vnet.Owners(o)...) {
			if !present[r] {
				return bad(0, "%s refers to %s, which is not in it", vnet.RefOf(o), r)
			}
		}
	}
	return a, nil
}

// hold notes the unique names of o.
func (a *archive) hold(o vnet.Object) error {
	self := vnet.RefOf(o).String()
	for _, u := range vnet.Uniques(o) {
		holder, taken := a.uniques[u]
		shared, ok := vnet.SharesUniques(o)
		switch {
		case !taken || ok && a.uniques[u] == "":
			a.uniques[u] = self
		case ok && holder == shared.String():
		case sharesHostPart(o, u, holder):
		case strings.HasPrefix(holder, string(vnet.KindLease)+"/") && o.Kind() == vnet.KindPort:
			a.uniques[u] = self // the lease of this port came first
		default:
			field, value := vnet.DescribeUnique(u)
			return vnet.Errorf(vnet.ErrExists, "%s %s is held by %s and by %s", field, value, holder, self)
		}
	}
	return nil
}

// sharesHostPart is vnet.SharesHostPart for a holder in the form of a reference.
func sharesHostPart(o vnet.Object, u, holder string) bool {
	ref, ok := parseRef(holder)
	return ok && vnet.SharesHostPart(o, u, ref)
}

// Restore fills the store from a backup. It checks everything before it writes
// anything. A store that holds something is ErrExists unless force is set; then
// it is emptied first. A store whose restore was cut short is found empty when it
// is opened the next time.
func (s *Store) Restore(ctx context.Context, r io.Reader, force bool) error {
	a, err := readArchive(r)
	if err != nil {
		return err
	}
	if err := s.writable(); err != nil {
		return err
	}
	resp, err := s.etcd.Get(ctx, root, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return storeError("restore", err)
	}
	if resp.Count > 0 && !force {
		return vnet.Errorf(vnet.ErrExists, "the store is not empty (%d keys)", resp.Count).
			WithHint("restore into a new state directory, or say --force to replace what is there")
	}
	begin := &txn{}
	begin.put(restoreKey, time.Now().UTC().Format(time.RFC3339))
	if _, _, err := s.run(ctx, begin); err != nil {
		return err
	}
	if err := s.empty(ctx); err != nil {
		return err
	}
	if err := s.fill(ctx, a); err != nil {
		return err
	}
	end := &txn{}
	end.do(clientv3.OpDelete(restoreKey))
	_, _, err = s.run(ctx, end)
	return err
}

// empty deletes everything but the mark of the restore.
func (s *Store) empty(ctx context.Context) error {
	t := &txn{}
	t.do(clientv3.OpDelete(root, clientv3.WithRange(restoreKey)),
		clientv3.OpDelete(restoreKey+"\x00", clientv3.WithRange(clientv3.GetPrefixRangeEnd(root))))
	_, _, err := s.run(ctx, t)
	return err
}

func (s *Store) fill(ctx context.Context, a *archive) error {
	var ops []clientv3.Op
	put := func(key, value string) { ops = append(ops, clientv3.OpPut(key, value)) }
	scopes := map[vnet.Scope]bool{vnet.ScopeHost: true}
	for i, o := range a.objects {
		key, err := objectKey(o)
		if err != nil {
			return err
		}
		raw, err := encode(o, a.raw[i])
		if err != nil {
			return err
		}
		put(key, string(raw))
		if ref := vnet.RefOf(o); hasWhere(ref.Kind) {
			put(whereKey(ref), strings.TrimPrefix(key, root))
		}
		for _, r := range vnet.References(o) {
			put(refKey(r, vnet.RefOf(o)), "")
		}
		if o.Kind() == vnet.KindRouter {
			scopes[vnet.Scope(o.GetMeta().ID)] = true
		}
	}
	for u, holder := range a.uniques {
		put(uniqKey(u), holder)
	}
	for scope := range scopes {
		put(scopeKey(scope), "")
	}
	for len(ops) > 0 {
		n := min(len(ops), MaxOps)
		if _, _, err := s.run(ctx, &txn{ops: ops[:n]}); err != nil {
			return err
		}
		ops = ops[n:]
	}
	return nil
}
