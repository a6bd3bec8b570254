// Package node is one whole node. It makes all parts, starts them one after the other, each with the parts that it needs, and
// stops them in the reverse order. `lamplight serve`, the benchmarks, and the tests that need whole nodes in one process use it.
//
// One goroutine calls New, then Start, then Stop, also when Start failed. The methods that return a part are for tests and
// benchmarks. They may be called once Start has returned without an error, and the parts may then be used from any goroutine.
package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/budget"
	"lamplight/cluster/directory"
	"lamplight/cluster/gossip"
	"lamplight/cluster/journal"
	"lamplight/cluster/natsd"
	"lamplight/cluster/route"
	"lamplight/cluster/subject"
	"lamplight/cluster/trace"
	"lamplight/transport/access"
	"lamplight/transport/bus"
	"lamplight/transport/client"
	"lamplight/transport/edge"
	"lamplight/transport/httpd"
	"lamplight/transport/sip"
	"lamplight/transport/source"
)

const (
	drainTime = 20 * time.Second // how long Stop waits for all parts together
	startTime = 60 * time.Second // how long Start may take for a node that does not wait for others
)

// Config is what a Node needs. Most fields are flags of `lamplight serve`; docs/contract/command-line.md, "lamplight serve" says
// what they mean.
type Config struct {
	Name    string
	Version string
	Data    string // a directory

	NATS     client.Options // the NATS servers to connect to; not used with Embedded
	Prefix   subject.Prefix
	Embedded *Embedded // the configuration of the embedded NATS server; nil: the node starts none

	Memory       bool // NATS keeps the journal in memory
	Replicas     int  // copies of the journal when it is made; 0: 1, or 3 when NATS is a cluster
	Streams      int  // streams of the journal when it is made; 0: 1, or 4 with several replicas
	AwaitRestore bool
	AcceptLoss   bool // start although the stores show less than was acknowledged, or are damaged

	Gossip    string // HOST:PORT
	Advertise string
	Join      []string
	GossipKey []byte

	HTTP           string      // HOST:PORT
	HTTPTLS        *tls.Config // nil: plain HTTP
	RequestTimeout time.Duration
	RateLimit      int
	Budgets        budget.Limits // of each account that has none of its own
	MaxConnections int           // HTTP connections at the same time; 0: half of the process's file descriptors, 65,536 at most
	MaxPerAddress  int           // of one client address; 0: half of MaxConnections
	TokenKey       string        // a file
	JWKS           []byte
	Audience       string // that the aud of another issuer's tokens must name; "": it is not checked

	SIP         *sip.Config    // the SIP edge inside the node; nil: there is none. The node sets Version, Log and Registerer
	Rules       presence.Rules // the node sets Writes
	HideParties bool           // no watcher is shown who the other party of a call is
	MaxMailbox  int
	EdgeMemory  int64 // bytes; 0: 256 MiB

	Sources []source.Make // bridges that run inside the node

	Traces     string  // the URL of a collector of OpenTelemetry traces; "": nothing is traced
	TraceShare float64 // of the requests that are traced though their caller does not ask for it, 0 to 1

	// Quiet is how long no node must have joined or left before the node makes its first claims; 0: 250 ms.
	Quiet time.Duration
	// Place returns which of the nodes should hold a range of shards; nil: gossip.Owner.
	Place func(number int, nodes []string) string
	Log   *slog.Logger
}

// Embedded is the configuration of the embedded NATS server.
type Embedded struct {
	Listen  string        // HOST:PORT for clients
	Config  string        // a NATS configuration file; "": none
	Sync    time.Duration // how often the server syncs the journal to the disk; 0: after each write
	Cluster string        // HOST:PORT for the other nodes' servers; "": the server stands alone
	Route   string        // HOST:PORT at which the other nodes' servers reach this one; "": the server stands alone
}

// Node is one node.
type Node struct {
	cfg      Config
	log      *slog.Logger
	fatal    chan error // the error that ends the node
	teardown teardown

	ready    atomic.Bool   // Start has returned, and Stop was not called; /readyz also asks draining
	started  chan struct{} // closed when ready becomes true
	draining atomic.Bool   // Drain or Stop was called
	routed   atomic.Bool   // the router has started
	writes   atomic.Int32  // the newest schema that the node may write

	registry  *prometheus.Registry
	members   *gossip.Membership
	server    *natsd.Server // nil without Config.Embedded
	conn      *nats.Conn
	directory *directory.Directory
	budgets   *budget.Budgets
	journal   *journal.Journal
	fanout    *bus.Fanout
	system    *actors.System
	router    *route.Router
	tracer    *trace.Tracer // nil without Config.Traces
	access    *access.Control
	http      *httpd.Server
	sip       *sip.Server // nil without Config.SIP
	edge      *edge.Edge  // nil without Config.SIP
	following following
	keeping   keeping
	diskLow   bool // watchDisk has logged so
	doubtful  bool // the stores show less than they have acknowledged (Config.AcceptLoss)
}

// New makes a Node. It starts nothing.
func New(c Config) *Node {
	if c.Place == nil {
		c.Place = gossip.Owner
	}
	if c.Quiet == 0 {
		c.Quiet = 250 * time.Millisecond
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = min(Descriptors()/2, 64<<10)
	}
	if c.MaxPerAddress == 0 {
		c.MaxPerAddress = max(c.MaxConnections/2, 1)
	}
	n := &Node{cfg: c, log: c.Log, fatal: make(chan error, 1), started: make(chan struct{}), registry: prometheus.NewRegistry()}
	n.writes.Store(gossip.OldestSchema)
	return n
}

// MaxConnections returns how many HTTP connections the node takes, and how many of one client address.
func (n *Node) MaxConnections() (all, ofOne int) { return n.cfg.MaxConnections, n.cfg.MaxPerAddress }

// Start starts the parts and returns when the node serves. A node of a cluster, and one that awaits a restore, waits until ctx
// ends; any other gives up after startTime. After an error the caller calls Stop, which stops the parts that have started.
func (n *Node) Start(ctx context.Context) error {
	wait := ctx
	if (n.cfg.Embedded == nil || n.cfg.Embedded.Cluster == "") && !n.cfg.AwaitRestore {
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeout(ctx, startTime)
		defer cancel()
	}
	n.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, step := range []func(context.Context) error{n.checkPorts, n.startGossip, n.startNATS, n.awaitRestore, n.checkStores, n.startDirectory, n.startShards,
		n.startStatus, n.awaitShards, n.startTransports} {
		if err := step(wait); err != nil {
			return n.explain(err)
		}
	}
	flush, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if err := n.conn.FlushWithContext(flush); err != nil {
		return err
	}
	n.serve()
	n.startSources()
	return nil
}

// explain adds to the error of a start that took too long what the embedded NATS server said last.
func (n *Node) explain(err error) error {
	if !errors.Is(err, context.DeadlineExceeded) || n.server == nil || n.server.Said() == "" {
		return err
	}
	return fmt.Errorf("%w. The embedded NATS server said last: %s", err, n.server.Said())
}

// serve makes the node ready.
func (n *Node) serve() {
	n.ready.Store(true)
	close(n.started)
}

// Drain makes /readyz answer 503, and goes on serving for grace, so that load balancers have time to send requests elsewhere. It
// returns earlier when the node fails. The caller then calls Stop.
func (n *Node) Drain(grace time.Duration) {
	n.draining.Store(true)
	select {
	case <-time.After(grace):
	case err := <-n.fatal:
		n.log.Error("the node failed while it drained, and stops now", "err", err)
	}
}

// Stop stops the parts, the last that started first: HTTP and the intake from NATS stop, the journal hands the shards over to
// other nodes, the fan-out is flushed, the node leaves the cluster, and NATS stops last. After drainTime Stop waits for no part any more. It
// waits for none either when NATS has taken no heartbeat of this node for drainPatience.
func (n *Node) Stop(ctx context.Context) error {
	n.ready.Store(false)
	n.draining.Store(true)
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	if n.journal != nil {
		watching.Go(func() { n.stopAtOnce(ctx, cancel) })
	}
	return n.teardown.run(ctx, n.log)
}

// drainPatience returns how long Stop waits for NATS to take a heartbeat: longer than NATS takes to elect a leader. Embedded servers elect one in two seconds,
// separate ones take up to nine.
func (n *Node) drainPatience() time.Duration {
	if n.cfg.Embedded != nil {
		return 5 * time.Second
	}
	return 10 * time.Second
}

// stopAtOnce watches the heartbeats until ctx ends. When NATS has taken none in any stream for drainPatience, it calls stop: the node can then neither
// carry requests out nor hand shards over. That happens when most of the NATS servers have gone before.
func (n *Node) stopAtOnce(ctx context.Context, stop func()) {
	patience := n.drainPatience()
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for heard := time.Now(); time.Since(heard) < patience; {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		if n.journal.Heard() {
			heard = time.Now()
		}
	}
	n.log.Warn("NATS has taken no heartbeat for " + patience.String() + ", so the node stops at once: it can't hand its shards over; other nodes take them over when they have NATS")
	stop()
}

// Kill stops the node as kill -9 would, without telling NATS or the other nodes anything. It is for tests.
func (n *Node) Kill() {
	n.conn.Close()
	n.members.Abandon()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = n.teardown.run(ctx, slog.New(slog.DiscardHandler))
}

// Failed returns a channel that receives an error after which the node cannot go on. The caller then calls Stop.
func (n *Node) Failed() <-chan error { return n.fatal }

// fail reports such an error. It does not wait.
func (n *Node) fail(err error) {
	select {
	case n.fatal <- err:
	default:
	}
}

// The listeners of a node, as Addr names them.
const (
	HTTP   = "http"
	NATS   = "nats"
	Gossip = "gossip"
)

// Addr returns the address of one of the node's listeners, as HOST:PORT, or "" if the node has no such listener. Call it after
// Start.
func (n *Node) Addr(listener string) string {
	switch {
	case listener == HTTP && n.http != nil:
		return n.http.Addr()
	case listener == NATS && n.server != nil:
		return n.server.Addr()
	case listener == Gossip && n.members != nil:
		return n.members.Addr()
	}
	return ""
}

// Port returns the port of one of the node's listeners.
func (n *Node) Port(listener string) string {
	_, port, _ := net.SplitHostPort(n.Addr(listener))
	return port
}

// Conn returns the node's connection to NATS.
func (n *Node) Conn() *nats.Conn { return n.conn }

// Router returns the router, which takes requests to their extensions.
func (n *Node) Router() *route.Router { return n.router }

// System returns the node's shards.
func (n *Node) System() *actors.System { return n.system }

// Journal returns the journal, which knows who owns which shard.
func (n *Node) Journal() *journal.Journal { return n.journal }

// SIP returns the SIP edge inside the node; nil: there is none.
func (n *Node) SIP() *sip.Server { return n.sip }

// Directory returns the directory, which holds the accounts.
func (n *Node) Directory() *directory.Directory { return n.directory }

// Fanout returns the fan-out, which sends NOTIFY messages to edges.
func (n *Node) Fanout() *bus.Fanout { return n.fanout }

// Alive says whether the node's own clockwork runs: it has let time pass for the rules of ownership within the last seconds. It
// does not say whether the node can serve.
func (n *Node) Alive() bool { return n.journal.Ticking() }

// Reload takes the token key, the other issuer's keys and the rate limit of another configuration over. After an error nothing has changed.
// Call it after Start.
func (n *Node) Reload(ctx context.Context, c Config) error {
	key, err := access.LoadOrCreateKey(c.TokenKey)
	if err != nil {
		return fmt.Errorf("token key %s: %w", c.TokenKey, err)
	}
	return n.access.Reload(ctx, access.Config{Key: key, JWKS: c.JWKS, Audience: c.Audience, RateLimit: c.RateLimit})
}

// isReady returns why the node does not serve now; nil when it does. /readyz asks it.
func (n *Node) isReady() error {
	switch {
	case !n.ready.Load() || n.draining.Load():
		return errors.New("the node is starting or draining")
	case n.trouble() != nil:
		return n.trouble()
	case !n.conn.IsConnected():
		return errors.New("NATS is out of reach")
	case !n.journal.Fresh():
		return errors.New("the journal has not accepted a heartbeat of this node lately; NATS may be slow, out of disk space, or have lost its majority")
	}
	return nil
}
