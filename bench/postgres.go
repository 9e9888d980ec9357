package main

import (
	"context"
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"
)

// postgres is a private PostgreSQL for Kea's leases, on a unix socket, with its
// defaults: a lease is on the disk before Kea hears of it.
type postgres struct {
	host *host
	bin  string // directory of its programs
	dir  string // its own, which its user may enter
}

// postgresUser is who it runs as, and its own superuser.
const postgresUser = "postgres"

// newPostgres makes a cluster and starts it.
func (h *host) newPostgres(ctx context.Context, dir string) (_ *postgres, err error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		return nil, errors.New("PostgreSQL is not there: run scripts/deps.sh bench")
	}
	p := &postgres{host: h, bin: filepath.Dir(found[len(found)-1])}
	if p.dir, err = os.MkdirTemp(dir, namePrefix+strconv.Itoa(os.Getpid())+"-pg-"); err != nil {
		return nil, err
	}
	h.defers(func() error { return os.RemoveAll(p.dir) })
	owner, err := user.Lookup(postgresUser)
	if err != nil {
		return nil, err
	}
	uid, _ := strconv.Atoi(owner.Uid)
	gid, _ := strconv.Atoi(owner.Gid)
	if err := os.Chown(p.dir, uid, gid); err != nil {
		return nil, err
	}
	data := filepath.Join(p.dir, "data")
	if err := command(ctx, p.as(filepath.Join(p.bin, "initdb"), "-A", "trust", "-D", data)...); err != nil {
		return nil, err
	}
	_, err = h.start("postgres", p.as(filepath.Join(p.bin, "postgres"), "-D", data, "-k", p.dir, "-c", "listen_addresses=")...)
	if err != nil {
		return nil, err
	}
	err = until(ctx, 30*time.Second, 100*time.Millisecond, "PostgreSQL", func(ctx context.Context) error {
		return command(ctx, p.as("psql", "-h", p.dir, "-d", postgresUser, "-qc", "create database kea")...)
	})
	if err != nil {
		return nil, err
	}
	return p, command(ctx, "kea-admin", "db-init", "pgsql", "-h", p.dir, "-u", postgresUser, "-n", "kea")
}

// as is a command as its user.
func (p *postgres) as(args ...string) []string {
	return append([]string{"setpriv", "--reuid=" + postgresUser, "--regid=" + postgresUser, "--clear-groups"}, args...)
}

// lease is what Kea is told of it.
func (p *postgres) lease() object {
	return object{"type": "postgresql", "name": "kea", "host": p.dir, "user": postgresUser}
}
