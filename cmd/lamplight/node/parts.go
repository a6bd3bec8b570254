package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/budget"
	"lamplight/cluster/directory"
	"lamplight/cluster/gossip"
	"lamplight/cluster/journal"
	"lamplight/cluster/loglimit"
	"lamplight/cluster/natsd"
	"lamplight/cluster/reports"
	"lamplight/cluster/route"
	"lamplight/cluster/trace"
	"lamplight/transport/access"
	"lamplight/transport/audit"
	"lamplight/transport/bus"
	"lamplight/transport/client"
	"lamplight/transport/httpd"
	"lamplight/transport/live"
	"lamplight/transport/report"
	"lamplight/transport/rest"
	"lamplight/transport/ui"
)

// The steps of Start, in their order. Each makes and starts parts, and adds what stops them to n.teardown.

func (n *Node) startGossip(ctx context.Context) error {
	c := &n.cfg
	route := ""
	if c.Embedded != nil {
		route = c.Embedded.Route
	}
	n.members = gossip.New(gossip.Config{Node: c.Name, Listen: c.Gossip, Advertise: c.Advertise, Join: c.Join,
		Key: c.GossipKey, Prefix: string(c.Prefix), Route: route,
		MaxStreams: min(256, max(Descriptors()/16, 32)), Log: n.log})
	return n.teardown.start(ctx, "gossip", n.members)
}

// startNATS starts the embedded NATS server, if there is one, and connects to NATS.
func (n *Node) startNATS(ctx context.Context) error {
	c := &n.cfg
	servers, wayIn := c.NATS, []nats.Option(nil)
	if e := c.Embedded; e != nil {
		s := natsd.Config{Listen: e.Listen, Data: c.Data, Config: e.Config, Sync: e.Sync, Name: c.Name, Log: n.log,
			MaxClients: Descriptors() / 4, AcceptLoss: c.AcceptLoss, Failed: n.fail}
		if e.Cluster != "" {
			n.log.Info("waiting for the nodes to join; start those of --join that are not running", "join", c.Join)
			peers, err := n.members.Peers(ctx, c.Data, natsd.Mode(c.Data) == "")
			if err != nil {
				return err
			}
			s.Routes = &natsd.Routes{Listen: e.Cluster, Advertise: e.Route, Peers: peers, Key: c.GossipKey, MaxStrangers: min(256, max(Descriptors()/32, 16)),
				Members: n.members.Nodes}
		}
		n.teardown.add("marks of what was kept", n.keepLast)
		n.server = natsd.New(s)
		if err := n.teardown.start(ctx, "NATS server", n.server); err != nil {
			return err
		}
		n.registerDisk()
		n.doubtful = n.server.Lost()
		servers, wayIn = client.Options{URL: n.server.URL(), InboxPrefix: servers.InboxPrefix, Creds: servers.Creds}, n.server.WayIn()
	} else if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return err
	}
	var err error
	if n.conn, err = client.Connect(servers, "lamplight node "+c.Name, wayIn...); err != nil {
		return err
	}
	n.teardown.add("NATS connection", func(context.Context) error { n.conn.Close(); return nil })
	if err = client.Watch(n.conn, n.log, n.registry); err != nil {
		return err
	}
	if c.Replicas == 0 {
		if c.Replicas = 1; n.conn.ConnectedClusterName() != "" {
			c.Replicas = 3
		}
	}
	return nil
}

// awaitRestore returns an error if a restore has not been completed. With Config.AwaitRestore it waits until one is.
func (n *Node) awaitRestore(ctx context.Context) error {
	c := &n.cfg
	for logged := false; ; logged = true {
		whole, err := journal.Exists(ctx, n.journalConfig())
		if !c.AwaitRestore || whole {
			return err
		}
		if err != nil && !errors.Is(err, journal.ErrRestoring) {
			return err
		}
		if !logged {
			n.log.Info("this node waits for a backup (--await-restore): run `lamplight restore FILE --nats` with this address now; the node serves when that has ended",
				"nats", n.conn.ConnectedUrlRedacted())
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// startDirectory starts the directory, which learns the accounts.
func (n *Node) startDirectory(ctx context.Context) error {
	c := &n.cfg
	n.directory = directory.New(directory.Config{Conn: n.conn, Prefix: c.Prefix, Memory: c.Memory, Replicas: c.Replicas, Log: n.log, RealmGone: n.realmGone, Trouble: n.storeTrouble})
	return n.teardown.start(ctx, "directory", n.directory)
}

// startShards starts the journal, the shards, the fan-out and the router. The router starts only when the node has its lease:
// until then another process may have the same name, and other nodes must not get answers of both.
func (n *Node) startShards(ctx context.Context) error {
	c := &n.cfg
	if c.Traces != "" {
		n.tracer = trace.New(trace.Config{Collector: c.Traces, Share: c.TraceShare, Node: c.Name, Version: c.Version, Log: n.log})
		n.teardown.add("traces", n.tracer.Stop)
	}
	n.journal = journal.New(journal.Config{Conn: n.conn, Prefix: c.Prefix, Node: c.Name, Memory: c.Memory, Replicas: c.Replicas, Streams: c.Streams, AcceptLoss: c.AcceptLoss,
		Quiet: c.Quiet, Owner: c.Place, Writes: n.newest, Gone: n.gone, Log: n.log, Registerer: n.registry, Fatal: n.fail})
	n.fanout = bus.NewFanout(bus.FanoutConfig{Conn: n.conn, Prefix: c.Prefix, Node: c.Name, Version: c.Version, Kept: c.EdgeMemory, Log: n.log, Registerer: n.registry,
		Incarnation: n.journal.Incarnation, Account: func(realm string) string { id, _ := n.directory.RealmAccount(realm); return id }})
	rules := c.Rules
	n.budgets = budget.New(budget.Config{Default: c.Budgets, Own: n.directory.Limits, Account: n.directory.RealmAccount, Log: n.log, Registerer: n.registry})
	rules.Writes, rules.Tell = n.newest, n.budgets.Tell
	n.system = actors.NewSystem(actors.Config{Node: c.Name, Rules: rules, Mailbox: c.MaxMailbox, Journal: n.journal, Notifier: n.fanout,
		HidesParties: func(to actors.Address) bool { return c.HideParties || n.directory.HidesParties(to) }, EndSwitch: n.endSwitch, Room: n.budgets.Room, Told: n.budgets.Told, EdgeState: n.fanout.State, Trouble: n.storeTrouble, Log: loglimit.Limit(n.log).With("part", "actors"), Registerer: n.registry})
	n.fanout.Renotify, n.fanout.EndTied, n.fanout.Watches = n.system.RenotifyEdge, n.system.EndTied, n.system.WatchesEdge
	n.router = route.New(route.Config{System: n.system, Owners: n.journal, Nodes: n.journal.Owners, Conn: n.conn, Prefix: c.Prefix,
		Node: c.Name, Timeout: c.RequestTimeout, Writes: n.newest, Tracer: n.tracer, Trouble: n.trouble, Log: n.log, Registerer: n.registry})
	n.journal.SetShards(n.system)
	if err := n.prepareSIP(ctx); err != nil {
		return err
	}

	// The node leaves gossip after its shards have been handed over and their notifications have reached NATS, and before its
	// NATS server stops.
	n.teardown.add("leaving the cluster", n.members.Stop)
	n.teardown.add("following the members", n.stopFollowing)
	n.teardown.add("keeping marks", n.stopKeeping)
	if err := n.teardown.start(ctx, "fan-out", n.fanout); err != nil {
		return err
	}
	n.teardown.add("flushing the fan-out", n.flush)
	if err := n.teardown.start(ctx, "shards", n.system); err != nil {
		return err
	}
	n.journal.Members(n.members.Nodes())
	// The router stops after the journal: while shards are handed over, it tells the other nodes which are no longer here.
	n.teardown.add("router", n.router.Stop)
	if err := n.teardown.start(ctx, "handing the shards over", n.journal); err != nil {
		return err
	}
	if err := n.awaitLease(ctx); err != nil {
		return err
	}
	if err := n.router.Start(ctx); err != nil {
		return err
	}
	n.routed.Store(true)
	n.startFollowing()
	n.startKeeping()
	return nil
}

// endSwitch ends the calls of a switch on all nodes.
func (n *Node) endSwitch(ctx context.Context, gone presence.SwitchGone) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, actors.EndSwitchTime)
	defer cancel()
	cover, err := n.router.EndSwitch(ctx, gone)
	return cover.Extensions, err
}

// flush waits until everything that was published has reached the NATS server. Without a connection there is nothing to wait for.
func (n *Node) flush(ctx context.Context) error {
	if !n.conn.IsConnected() {
		return nil
	}
	return n.conn.FlushWithContext(ctx)
}

// awaitLease waits until the journal has accepted the node's lease.
func (n *Node) awaitLease(ctx context.Context) error {
	return n.await(ctx, func() error {
		if n.journal.Fresh() {
			return nil
		}
		return errors.New("the journal accepts no heartbeat of this node")
	})
}

// awaitShards waits until every shard has an owner and this node has loaded its own. Every 10 s it logs how far they are.
func (n *Node) awaitShards(ctx context.Context) error {
	logged := time.Now()
	return n.await(ctx, func() error {
		held, loading := n.journal.Held()
		if held == actors.Shards && loading == 0 {
			return nil
		}
		if time.Since(logged) > 10*time.Second {
			logged = time.Now()
			n.log.Info("waiting until all shards have an owner and those of this node are loaded", "shards with an owner", held, "loading here", loading, "members", n.members.Nodes())
		}
		return fmt.Errorf("%d of %d shards have an owner, %d are loading here", held, actors.Shards, loading)
	})
}

// await waits until check returns nil. It returns an error when the node fails, or when ctx ends; that one says what was missing.
func (n *Node) await(ctx context.Context, check func() error) error {
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for {
		missing := check()
		if missing == nil {
			return nil
		}
		select {
		case <-t.C:
		case err := <-n.fatal:
			return err
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", missing, ctx.Err())
		}
	}
}

// startTransports starts what lets requests in: the intake from NATS, then HTTP.
func (n *Node) startTransports(ctx context.Context) error {
	c := &n.cfg
	key, err := access.LoadOrCreateKey(c.TokenKey)
	if err != nil {
		return fmt.Errorf("token key %s: %w", c.TokenKey, err)
	}
	control, err := access.New(access.Config{Directory: n.directory, Key: key, JWKS: c.JWKS, Audience: c.Audience, RateLimit: c.RateLimit, Budget: n.budgets.Request})
	if err != nil {
		return err
	}
	if err := control.Start(ctx); err != nil {
		return err
	}
	n.access = control
	n.endLostRealms(ctx)
	told := audit.New(audit.Config{Conn: n.conn, Prefix: c.Prefix, Node: c.Name, Log: n.log})
	kept, err := reports.New(reports.Config{Conn: n.conn, Prefix: c.Prefix, Memory: c.Memory, Replicas: c.Replicas, Log: loglimit.Limit(n.log).With("part", "reports")})
	if err != nil {
		return err
	}
	maker := report.New(report.Config{Presence: n.router, Keep: kept.Keep, Timeout: c.RequestTimeout})
	intake := bus.New(bus.Config{Conn: n.conn, Prefix: c.Prefix, Node: c.Name, Version: c.Version, Timeout: c.RequestTimeout, Router: n.router, Fanout: n.fanout,
		KnownRealm: func(realm string) bool { _, ok := n.directory.RealmAccount(realm); return ok }, AskRealm: n.directory.AskRealm,
		Credentials: n.credentials, EdgeSecret: n.directory.EdgeSecret, Tracer: n.tracer, News: n.budgets.News, Question: n.budgets.Question, Audit: told.Note, Report: maker,
		Account: func(realm string) string { id, _ := n.directory.RealmAccount(realm); return id }, Log: n.log, Registerer: n.registry})
	if err := n.teardown.start(ctx, "intake from NATS", intake); err != nil {
		return err
	}
	if err := n.startSIP(ctx); err != nil {
		return err
	}
	n.http = httpd.New(httpd.Config{Listen: c.HTTP, Node: "lamplight@" + c.Name, Version: c.Version, Timeout: c.RequestTimeout, Ready: n.isReady,
		TLS: c.HTTPTLS, MaxConnections: c.MaxConnections, MaxPerAddress: c.MaxPerAddress, Tracer: n.tracer, Log: n.log, Registry: n.registry})
	asker := client.New(client.Config{Conn: n.conn, Prefix: c.Prefix, App: "lamplight", AppVersion: c.Version})
	lamps := live.New(live.Config{Presence: n.router, Directory: n.directory, Watch: asker.Watch, Connected: n.conn.IsConnected, Log: n.log})
	rest.New(rest.Config{Timeout: c.RequestTimeout, Presence: n.router, Directory: n.directory, Access: control, Audit: told.Note, Reports: kept, Report: maker, Live: lamps, Status: asker.AskStatus}).Mount(n.http)
	ui.Mount(n.http)
	if err := n.teardown.start(ctx, "HTTP", n.http); err != nil {
		return err
	}
	n.teardown.add("streams of lamps", lamps.Stop) // before HTTP, which waits for its connections
	return nil
}
