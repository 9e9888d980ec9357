package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/sextant-net/sextant/internal/vnet"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"google.golang.org/grpc"
)

// walSegment is how much of its log etcd allocates at a time, in bytes. Its own
// default of 64 MB, twice, is for clusters.
const walSegment = 4 << 20

// quota is the size of the database, in bytes, at which etcd raises its alarm.
const quota = 1 << 30

// EmbeddedConfig says where the embedded server keeps its state.
type EmbeddedConfig struct {
	// Dir is the state directory; made if missing, mode 0700.
	Dir string
	// Socket is the path of the unix socket for agents; empty: none but the
	// one in Dir. Its mode is 0600.
	Socket string
	// Reserve is the free space, in bytes, below which writes are refused; 0:
	// the smaller of 64 MiB and 2 % of the file system.
	Reserve uint64
	Log     *slog.Logger
}

// Embedded is a store whose server runs in this process.
type Embedded struct {
	*Store
	server *embed.Etcd
	err    chan error
	stop   chan struct{}
	once   sync.Once
	loops  sync.WaitGroup
	dead   chan struct{}
	die    sync.Once
}

var setSegment sync.Once

// StartEmbedded starts a single-node server on the directory and returns when
// it answers. It listens on unix sockets only.
func StartEmbedded(ctx context.Context, cfg EmbeddedConfig) (*Embedded, error) {
	setSegment.Do(func() { wal.SegmentSizeBytes = walSegment })
	log := logger(cfg.Log)
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, vnet.Errorf(vnet.ErrInvalid, "state directory: %w", err)
	}
	e := &Embedded{err: make(chan error, 1), stop: make(chan struct{}), dead: make(chan struct{})}
	guard := &space{dir: cfg.Dir, reserve: cfg.Reserve}
	guard.dropBallast()
	if err := guard.check(); err != nil {
		if _, old := os.Stat(filepath.Join(cfg.Dir, "etcd", "member", "wal")); old != nil {
			return nil, err // a new store cannot be made here
		}
	}
	ec, err := e.config(cfg, guard, log)
	if err != nil {
		return nil, err
	}
	if err := e.start(ctx, ec); err != nil {
		return nil, err
	}
	for _, path := range []string{socketIn(cfg.Dir, "peer.sock"), socketIn(cfg.Dir, "client.sock"), cfg.Socket} {
		if path != "" {
			if err := os.Chmod(path, 0o600); err != nil {
				e.server.Close()
				return nil, vnet.Errorf(vnet.ErrInternal, "socket: %w", err)
			}
		}
	}
	client := v3client.New(e.server.Server)
	e.Store = &Store{etcd: client, log: log, guard: e.alive(guard), close: e.shut}
	if err := e.prepare(ctx, 0); err != nil { // nobody else can be restoring
		return nil, errors.Join(err, e.shut())
	}
	e.loops.Add(1)
	go e.mend(guard)
	return e, nil
}

func socketIn(dir, name string) string { return filepath.Join(dir, name) }

func (e *Embedded) config(cfg EmbeddedConfig, guard *space, log *slog.Logger) (*embed.Config, error) {
	ec := embed.NewConfig()
	ec.Name = "sextant"
	ec.Dir = filepath.Join(cfg.Dir, "etcd")
	ec.TickMs, ec.ElectionMs = 10, 100
	ec.ZapLoggerBuilder = embed.NewZapLoggerBuilder(etcdLogger(log, e.fatal))
	ec.QuotaBackendBytes = quota
	// etcd's own compaction would write to a full disk, and die: see mend.
	ec.AutoCompactionRetention = "0"
	ec.BootstrapDefragThresholdMegabytes = 64
	ec.SnapshotCount, ec.SnapshotCatchUpEntries = 2000, 500
	ec.MaxSnapFiles, ec.MaxWalFiles = 2, 2
	ec.EnableGRPCGateway = false
	ec.StrictReconfigCheck = false
	// A store that is made anew is another store, also to those who followed
	// the one before.
	ec.InitialClusterToken = uuid.NewString()
	ec.GRPCAdditionalServerOptions = []grpc.ServerOption{grpc.ChainUnaryInterceptor(guardWrites(guard)), grpc.ChainStreamInterceptor(e.endStreams)}

	peer := socketIn(cfg.Dir, "peer.sock")
	clients := []string{socketIn(cfg.Dir, "client.sock")}
	if cfg.Socket != "" {
		clients = append(clients, cfg.Socket)
	}
	ec.ListenClientUrls, ec.ListenPeerUrls = nil, nil
	for _, path := range append([]string{peer}, clients...) {
		if len(path) > 100 {
			return nil, vnet.Invalid("state-dir", "the path %s is too long for a socket", path).WithHint("choose a shorter directory")
		}
		abs, err := filepath.Abs(path)
		if err != nil {
			return nil, vnet.Invalid("state-dir", "%w", err)
		}
		u := url.URL{Scheme: "unix", Path: abs}
		if path == peer {
			// etcd listens for peers on the URL's host alone. With a path it
			// would be an abstract socket, open to everybody on the host.
			ec.ListenPeerUrls = []url.URL{{Scheme: "unix", Host: abs}}
			ec.AdvertisePeerUrls = []url.URL{u}
		} else {
			ec.ListenClientUrls = append(ec.ListenClientUrls, u)
		}
	}
	ec.AdvertiseClientUrls = ec.ListenClientUrls
	ec.InitialCluster = ec.InitialClusterFromName(ec.Name)
	return ec, nil
}

func (e *Embedded) start(ctx context.Context, ec *embed.Config) (err error) {
	// etcd panics when it cannot read what is on the disk.
	defer func() {
		if r := recover(); r != nil {
			err = vnet.Errorf(vnet.ErrInternal, "the store does not start: %v", r)
		}
	}()
	type result struct {
		server *embed.Etcd
		err    error
	}
	started := make(chan result, 1)
	go func() { // a fatal entry ends this goroutine instead of the process
		server, err := embed.StartEtcd(ec)
		started <- result{server, err}
	}()
	select {
	case r := <-started:
		if r.err != nil {
			return storeError("start the store", fmt.Errorf("%s: %w", ec.Dir, r.err))
		}
		e.server = r.server
	case <-e.dead:
		return storeError("start the store", <-e.err)
	case <-ctx.Done():
		return storeError("start the store", ctx.Err())
	}
	select {
	case <-e.server.Server.ReadyNotify():
		return nil
	case err = <-e.server.Err():
	case err = <-e.err:
	case <-ctx.Done():
		err = ctx.Err()
	}
	go e.server.Close()
	return storeError("start the store", err)
}

// fatal is called when etcd would have ended the process.
func (e *Embedded) fatal(msg string) {
	e.die.Do(func() {
		e.err <- vnet.Errorf(vnet.ErrExhausted, "the store died: %s", msg).WithHint("it is restarted; if the disk is full, make room")
		close(e.dead)
	})
}

// alive refuses writes to a server that died as well, which would only be
// waited for.
func (e *Embedded) alive(guard *space) func() error {
	return func() error {
		select {
		case <-e.dead:
			return vnet.Errorf(vnet.ErrUnavailable, "the store died and is being restarted").WithHint("try again")
		default:
			return guard.check()
		}
	}
}

// Err yields one error when the server died by itself. The process should then
// end and be started again: what etcd leaves behind is not fit to go on with.
func (e *Embedded) Err() <-chan error { return e.err }

// shut stops the server; all that was acknowledged is on the disk.
func (e *Embedded) shut() error {
	var err error
	e.once.Do(func() {
		close(e.stop)
		e.loops.Wait()
		err = e.etcd.Close()
		if errors.Is(err, context.Canceled) {
			err = nil
		}
		done := make(chan struct{})
		go func() { e.server.Close(); close(done) }()
		select {
		case <-done:
		case <-e.dead: // a dead server never finishes closing
		case <-time.After(10 * time.Second):
			err = errors.Join(err, vnet.Errorf(vnet.ErrInternal, "the store did not stop within 10 s"))
		}
	})
	return err
}

// endStreams ends the streams of those who follow the store when it is shut;
// etcd by itself would wait for them to go.
func (e *Embedded) endStreams(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	go func() {
		select {
		case <-e.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return next(srv, &endedStream{stream, ctx})
}

type endedStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (s *endedStream) Context() context.Context { return s.ctx }

// guardWrites refuses writes of the clients on the socket, as the in-process
// ones are refused by Store.guard.
func guardWrites(guard *space) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		if writes(req) && guard.check() != nil {
			return nil, rpctypes.ErrGRPCNoSpace
		}
		return next(ctx, req)
	}
}

func writes(req any) bool {
	switch r := req.(type) {
	case *pb.PutRequest, *pb.DeleteRangeRequest:
		return true
	case *pb.TxnRequest:
		for _, ops := range [][]*pb.RequestOp{r.Success, r.Failure} {
			for _, op := range ops {
				if op.GetRequestRange() == nil {
					return true
				}
			}
		}
	}
	return false
}

// mend watches over the server: it reports its end, and once there is space
// again after etcd's own alarm, it compacts, defragments and lifts the alarm.
func (e *Embedded) mend(guard *space) {
	defer e.loops.Done()
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	defer guard.close()
	compacted := time.Now()
	guard.loadBallast()
	for {
		select {
		case <-e.stop:
			return
		case err := <-e.server.Err():
			if err != nil {
				e.fatal(err.Error())
			}
			return
		case <-tick.C:
			if guard.check() != nil {
				continue
			}
			guard.loadBallast()
			if err := e.liftAlarm(); err != nil {
				e.log.Warn("the store's alarm stays", "err", err)
			}
			if time.Since(compacted) > compactEvery {
				compacted = time.Now()
				if err := e.compact(); err != nil {
					e.log.Warn("the store's history stays", "err", err)
				}
			}
		}
	}
}

// historyKept is for how many revisions those who follow the store can catch up
// without starting anew.
const (
	historyKept  = 10000
	compactEvery = 5 * time.Minute
)

func (e *Embedded) compact() error {
	ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
	defer cancel()
	head, err := e.etcd.Get(ctx, root, clientv3.WithCountOnly())
	if err != nil || head.Header.Revision <= historyKept {
		return err
	}
	_, err = e.etcd.Compact(ctx, head.Header.Revision-historyKept)
	if errors.Is(err, rpctypes.ErrCompacted) {
		return nil
	}
	return err
}

func (e *Embedded) liftAlarm() error {
	ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
	defer cancel()
	alarms, err := e.etcd.AlarmList(ctx)
	if err != nil || len(alarms.Alarms) == 0 {
		return err
	}
	head, err := e.etcd.Get(ctx, root, clientv3.WithCountOnly())
	if err != nil {
		return err
	}
	if _, err := e.etcd.Compact(ctx, head.Header.Revision, clientv3.WithCompactPhysical()); err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return err
	}
	if _, err := e.etcd.Defragment(ctx, e.server.Clients[0].Addr().String()); err != nil {
		return err
	}
	for _, a := range alarms.Alarms {
		if a.Alarm != pb.AlarmType_NOSPACE {
			continue
		}
		if _, err := e.etcd.AlarmDisarm(ctx, &clientv3.AlarmMember{MemberID: a.MemberID, Alarm: a.Alarm}); err != nil {
			return err
		}
		e.log.Info("the store has space again and takes writes")
	}
	return nil
}
