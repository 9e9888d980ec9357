package store

import (
	"context"
	"encoding/json"

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
			return vnet.Errorf(vnet.ErrConflict, "a restore of this store was cut short").
				WithHint("run `sextant restore --force` again with the same backup")
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
