package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/sextant-net/sextant/internal/vnet"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Schema is the version of the layout that this program reads and writes. It
// is kept in the installation object.
const Schema = 1

// InstallationID is the ID of the one installation object.
const InstallationID vnet.ID = "installation"

// migrations lead from the schema that is the key to the next one. Each runs
// on the whole store and must be able to run again after it was cut short.
var migrations = map[int]func(context.Context, *Store) error{}

// restoreLasts is how long a restore may take; one that began before that was
// cut short.
const restoreLasts = time.Minute

// prepare is Check for those who may write wishes: it first empties a store
// whose restore was cut short at least that long ago, since half of a backup
// is worth nothing, and the whole of it is still where it came from.
func (s *Store) prepare(ctx context.Context, since time.Duration) error {
	v := newView()
	if err := s.fetch(ctx, v, []string{restoreKey}); err != nil {
		return err
	}
	if kv := v.kvs[restoreKey]; kv != nil {
		began, err := time.Parse(time.RFC3339, string(kv.Value))
		if err == nil && time.Since(began) < since {
			return s.Check(ctx)
		}
		s.log.Error("a restore of this store was cut short: it is empty now, run the restore again")
		t := &txn{}
		t.when(clientv3.Compare(clientv3.ModRevision(restoreKey), "=", kv.ModRevision))
		t.do(clientv3.OpDelete(root, clientv3.WithPrefix()))
		if _, _, err := s.run(ctx, t); err != nil {
			return err
		}
	}
	return s.Check(ctx)
}

// Check makes sure that the store has a schema that this program can work
// with, and brings an older one up to it. An empty store is fine.
func (s *Store) Check(ctx context.Context) error {
	for {
		v := newView()
		key := root + "all/installation/" + string(InstallationID)
		if err := s.fetch(ctx, v, []string{key, restoreKey}); err != nil {
			return err
		}
		if v.kvs[restoreKey] != nil {
			return vnet.Errorf(vnet.ErrUnavailable, "a restore of this store is under way").WithHint("wait until it is done")
		}
		kv := v.kvs[key]
		if kv == nil {
			return nil
		}
		var inst vnet.Installation
		if err := json.Unmarshal(kv.Value, &inst); err != nil {
			return &vnet.Error{Kind: vnet.ErrInternal, Msg: "the installation object cannot be read", Err: err}
		}
		if inst.Schema == Schema {
			return nil
		}
		if inst.Schema > Schema {
			return vnet.Errorf(vnet.ErrUnsupported, "the store has schema %d, written by a newer version; this one knows %d", inst.Schema, Schema).
				WithHint("install the newer version of sextant")
		}
		migrate := migrations[inst.Schema]
		if migrate == nil {
			return vnet.Errorf(vnet.ErrUnsupported, "there is no way from schema %d of the store to %d", inst.Schema, Schema)
		}
		if err := migrate(ctx, s); err != nil {
			return err
		}
		inst.Schema++
		raw, err := encode(&inst, kv.Value)
		if err != nil {
			return err
		}
		t := &txn{}
		t.when(clientv3.Compare(clientv3.ModRevision(key), "=", kv.ModRevision))
		t.put(key, string(raw))
		if _, _, err := s.run(ctx, t); err != nil {
			return err
		}
	}
}
