package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"lamplight/actors"
	"lamplight/cluster"
	"lamplight/cluster/directory"
	"lamplight/cluster/journal"
	"lamplight/transport/bus"
	"lamplight/transport/rest"
)

const (
	tokenLife = time.Hour
	drainTime = 20 * time.Second
	startTime = 60 * time.Second
)

// node is all parts of a node, wired together. start brings them up; close takes them down in the order: not ready,
// intake, owners hand over, fan-out flushed, leave the cluster, NATS.
type node struct {
	flags    *serveFlags
	sync     time.Duration
	log      *slog.Logger
	fatal    chan error
	ready    atomic.Bool
	draining atomic.Bool
	routed   atomic.Bool  // the router can be asked
	writes   atomic.Int32 // the newest schema that may be written

	server    *cluster.Server
	conn      *nats.Conn
	members   *cluster.Membership
	directory *directory.Directory
	journal   *journal.Journal
	system    *actors.System
	router    *cluster.Router
	gossipKey []byte
	replicas  int
	key       ed25519.PrivateKey
	registry  *prometheus.Registry
	following sync.WaitGroup
	fanout    *bus.Fanout
	bus       *bus.Bus
	rest      *rest.Server
	stop      context.CancelFunc
}

// start brings the parts up, each on those before it. A node of a cluster waits for the others as long as it takes.
func (n *node) start(ctx context.Context) error {
	f := n.flags
	wait := ctx
	if f.NatsCluster == "" && !f.AwaitRestore {
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeout(ctx, startTime)
		defer cancel()
	}
	n.registry = prometheus.NewRegistry()
	n.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, part := range []func(context.Context) error{n.startGossip, n.startNATS, n.restored, n.startDirectory, n.startShards, n.startStatus, n.serving, n.startEdges} {
		if err := part(wait); err != nil {
			return err
		}
	}
	flush, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if err := n.conn.FlushWithContext(flush); err != nil {
		return err
	}
	n.ready.Store(true)
	return nil
}

func (n *node) startGossip(context.Context) error {
	f := n.flags
	var err error
	if n.gossipKey, err = readGossipKey(f.GossipKey); err != nil {
		return err
	}
	route, err := f.route()
	if err != nil {
		return err
	}
	n.writes.Store(cluster.OldestSchema)
	n.members, err = cluster.StartMembership(cluster.MembershipConfig{Node: f.Node, Listen: f.Gossip, Advertise: f.Advertise, Join: f.Join,
		Key: n.gossipKey, Prefix: f.Prefix, Route: route, Log: n.log})
	return err
}

func (n *node) startNATS(ctx context.Context) error {
	f := n.flags
	url := f.Nats
	if f.Nats == "embedded" {
		c := cluster.ServerConfig{Listen: f.NatsListen, Data: f.Data, Config: f.NatsConfig, Sync: n.sync, Name: f.Node, Log: n.log}
		if f.NatsCluster != "" {
			n.log.Info("waiting for the nodes to join", "join", f.Join)
			peers, err := n.members.Peers(ctx, f.Data)
			if err != nil {
				return err
			}
			c.Routes = &cluster.Routes{Listen: f.NatsCluster, Advertise: f.Advertise, Peers: peers, Key: n.gossipKey, Living: n.members.Nodes}
		}
		var err error
		if n.server, err = cluster.StartServer(c); err != nil {
			return err
		}
		url = n.server.URL()
	} else if err := os.MkdirAll(f.Data, 0o700); err != nil {
		return err
	}
	var err error
	if n.conn, err = f.connect(url, "lamplight node "+f.Node); err != nil {
		return err
	}
	if n.replicas = f.replicas(); f.Replicas == 0 && n.conn.ConnectedClusterName() != "" {
		n.replicas = 3 // a NATS cluster of the user's own
	}
	return nil
}

// restored refuses a journal that is only half restored, and waits for a restore if told to.
func (n *node) restored(ctx context.Context) error {
	f := n.flags
	for said := false; ; said = true {
		whole, err := journal.Restored(ctx, journal.Config{Conn: n.conn, Prefix: f.prefix(), Replicas: n.replicas})
		if !f.AwaitRestore || whole {
			return err
		}
		if err != nil && !errors.Is(err, journal.ErrRestoring) {
			return err
		}
		if !said {
			n.log.Info("waiting for lamplight restore", "nats", n.conn.ConnectedUrlRedacted())
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (n *node) startDirectory(ctx context.Context) error {
	f := n.flags
	n.directory = directory.New(directory.Config{Conn: n.conn, Prefix: f.prefix(), Memory: f.Storage == "memory", Replicas: n.replicas, Log: n.log, RealmGone: n.realmGone})
	if err := n.directory.Start(ctx); err != nil {
		return err
	}
	var err error
	if n.key, err = rest.LoadOrCreateKey(f.tokenKeyPath()); err != nil {
		return fmt.Errorf("token key %s: %w", f.tokenKeyPath(), err)
	}
	public := n.key.Public().(ed25519.PublicKey)
	if err := n.directory.PublishKey(ctx, rest.KeyID(public), public); err != nil {
		return fmt.Errorf("publishing the token key: %w", err)
	}
	return nil
}

func (n *node) startShards(ctx context.Context) error {
	f := n.flags
	n.journal = journal.New(journal.Config{Conn: n.conn, Prefix: f.prefix(), Node: f.Node, Memory: f.Storage == "memory", Replicas: n.replicas,
		Quiet: 250 * time.Millisecond, Owner: cluster.Owner, Writes: n.newest, Gone: n.gone, Log: n.log, Registerer: n.registry, Fatal: n.fail})
	n.fanout = bus.NewFanout(bus.FanoutConfig{Conn: n.conn, Prefix: f.prefix(), Node: f.Node, Version: version, Log: n.log,
		Incarnation: n.journal.Incarnation, Account: func(realm string) string { id, _ := n.directory.RealmAccount(realm); return id }})
	rules := f.rules()
	rules.Writes = n.newest
	n.system = actors.NewSystem(actors.Config{Node: f.Node, Rules: rules, Mailbox: f.MaxMailbox, Journal: n.journal, Notifier: n.fanout, Log: n.log, Registerer: n.registry})
	n.fanout.Renotify = n.system.RenotifyEdge
	n.router = cluster.NewRouter(cluster.RouterConfig{System: n.system, Owners: n.journal, Nodes: n.journal.Owners, Conn: n.conn, Prefix: f.prefix(),
		Node: f.Node, Timeout: f.RequestTimeout, Writes: n.newest, Log: n.log, Registerer: n.registry})
	n.system.Start()
	if err := n.fanout.Start(); err != nil {
		return err
	}
	n.journal.Members(n.members.Nodes())
	if err := n.journal.Start(ctx, n.system); err != nil {
		return err
	}
	if err := n.joined(ctx); err != nil {
		return err
	}
	if err := n.router.Start(); err != nil {
		return err
	}
	n.routed.Store(true)
	run, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.following.Go(func() { n.followMembers(run) })
	return nil
}

// joined waits until the lease is ours. Before that another process may be the node: its callers must hear nothing from us.
func (n *node) joined(ctx context.Context) error {
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for !n.journal.Fresh() {
		select {
		case <-t.C:
		case err := <-n.fatal:
			return err
		case <-ctx.Done():
			return fmt.Errorf("the journal takes no heartbeat of this node: %w", ctx.Err())
		}
	}
	return nil
}

func (n *node) startEdges(ctx context.Context) error {
	f := n.flags
	var jwks []byte
	if f.JWKS != "" {
		var err error
		if jwks, err = os.ReadFile(f.JWKS); err != nil {
			return err
		}
	}
	verifier, err := rest.NewVerifier(n.directory, jwks)
	if err != nil {
		return err
	}
	n.endLostRealms(ctx)
	n.bus = bus.New(bus.Config{Conn: n.conn, Prefix: f.prefix(), Node: f.Node, Version: version, Timeout: f.RequestTimeout, Router: n.router, Fanout: n.fanout,
		KnownRealm: func(realm string) bool { _, ok := n.directory.RealmAccount(realm); return ok }, AskRealm: n.directory.AskRealm, Log: n.log, Registerer: n.registry})
	if err := n.bus.Start(); err != nil {
		return err
	}
	n.rest = rest.New(rest.Config{Node: "lamplight@" + f.Node, Version: version, Timeout: f.RequestTimeout, RateLimit: f.RateLimit, Presence: n.router,
		Directory: n.directory, Verifier: verifier, Sign: func(account string) (string, error) { return rest.Sign(n.key, account, tokenLife) },
		Ready: n.isReady, Log: n.log, Registry: n.registry})
	return n.rest.Start(f.HTTP)
}

func (n *node) fail(err error) {
	select {
	case n.fatal <- err:
	default:
	}
}

// serving waits until every shard has an owner and this node's are loaded.
func (n *node) serving(ctx context.Context) error {
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	said := time.Now()
	for {
		held, loading := n.journal.Held()
		if held == actors.Shards && loading == 0 {
			return nil
		}
		if time.Since(said) > 10*time.Second {
			said = time.Now()
			n.log.Info("waiting for all shards to have an owner", "owned", held, "loading here", loading, "members", n.members.Nodes())
		}
		select {
		case <-t.C:
		case err := <-n.fatal:
			return err
		case <-ctx.Done():
			return fmt.Errorf("%d of %d shards have an owner, %d are loading here: %w", held, actors.Shards, loading, ctx.Err())
		}
	}
}

func (n *node) isReady() error {
	switch {
	case !n.ready.Load():
		return errors.New("the node is starting or draining")
	case !n.conn.IsConnected():
		return errors.New("NATS is out of reach")
	case !n.journal.Fresh():
		return errors.New("the node's lease is not fresh")
	}
	return nil
}

func (n *node) followMembers(ctx context.Context) {
	look := time.NewTicker(time.Second)
	defer look.Stop()
	var before []string
	for {
		n.writes.Store(int32(mayWrite(n.ready.Load(), n.members.Writes(), n.members.Nodes(), n.journal.View().Leases)))
		now := n.members.Nodes()
		n.journal.Members(now)
		if n.server != nil {
			n.members.KeepPeers(n.flags.Data)
		}
		for _, name := range before {
			n.gone(name)
		}
		before = now
		select {
		case <-n.members.Changed():
		case <-look.C: // a lease is no news of gossip's
		case <-ctx.Done():
			return
		}
	}
}

// newest is the newest schema that may be written now.
func (n *node) newest() int { return int(n.writes.Load()) }

// mayWrite is the newest schema that all who read the journal understand: the common one of all members, but the oldest
// as long as this node does not know them all, because it starts, or because a node with a lease is no member.
func mayWrite(ready bool, common int, members []string, leases map[string]journal.NodeState) int {
	for node, state := range leases {
		if (state == journal.Alive || state == journal.Draining) && !slices.Contains(members, node) {
			return cluster.OldestSchema
		}
	}
	if !ready {
		return cluster.OldestSchema
	}
	return common
}

// gone lets what a node was asked fail at once, if gossip has lost it and it is expelled too: with only one of the two
// it may well answer.
func (n *node) gone(name string) {
	if n.journal.Expelled(name) && !slices.Contains(n.members.Nodes(), name) {
		n.router.Gone(name)
	}
}

// realmGone ends what is held of a realm that no account has any more.
func (n *node) realmGone(realm string) {
	if !n.routed.Load() {
		return // found by endLostRealms
	}
	ctx, cancel := context.WithTimeout(context.Background(), n.flags.RequestTimeout)
	defer cancel()
	if cover, err := n.router.EndRealm(ctx, realm); err != nil || len(cover.Missing) > 0 {
		n.log.Error("not all of a realm that is gone could be ended; the next start ends the rest", "realm", realm, "err", err, "shards", cover.Missing)
	}
}

// endLostRealms ends realms whose account went while nobody served.
func (n *node) endLostRealms(ctx context.Context) {
	for _, realm := range n.system.Realms() {
		if _, err := n.directory.FindRealm(ctx, realm); errors.Is(err, directory.ErrUnknown) {
			n.realmGone(realm)
		}
	}
}

func (n *node) close() {
	n.ready.Store(false)
	n.draining.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	note := func(what string, err error) {
		if err != nil {
			n.log.Warn("draining: "+what, "err", err)
		}
	}
	if n.rest != nil {
		note("http", n.rest.Close(ctx))
	}
	if n.bus != nil {
		note("bus", n.bus.Close(ctx))
	}
	if n.journal != nil {
		note("journal", n.journal.Close(ctx))
	}
	if n.router != nil { // to the last moment it tells the other nodes that a shard is not here any more
		note("router", n.router.Close(ctx))
	}
	if n.system != nil {
		n.system.Close()
	}
	if n.conn != nil && n.conn.IsConnected() {
		note("fan-out", n.conn.FlushWithContext(ctx))
	}
	if n.fanout != nil {
		n.fanout.Close()
	}
	if n.stop != nil {
		n.stop()
		n.following.Wait()
	}
	if n.members != nil {
		note("gossip", n.members.Close(ctx))
	}
	if n.directory != nil {
		n.directory.Close()
	}
	if n.conn != nil {
		n.conn.Close()
	}
	if n.server != nil {
		n.server.Close()
	}
}
