// Package node is one whole node: it makes all parts, starts each on those before it, and stops them in the reverse
// order. `lamplight serve`, the tests that need whole nodes in one process and the benchmarks all use it.
//
// A Node is used by one goroutine: New, Start, then Stop, also when Start failed. The methods that give away a part are
// for tests and benchmarks; a part may be used from any goroutine while the Node runs.
package node

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/directory"
	"lamplight/cluster/gossip"
	"lamplight/cluster/journal"
	"lamplight/cluster/natsd"
	"lamplight/cluster/route"
	"lamplight/cluster/subject"
	"lamplight/transport/bus"
	"lamplight/transport/client"
	"lamplight/transport/httpd"
)

const (
	tokenLife = time.Hour        // of tokens that PUT /v2/api_auth makes
	drainTime = 20 * time.Second // what Stop may take, all parts together
	startTime = 60 * time.Second // what Start may take for a node that waits for no others
)

// Config is what a Node needs. The flags of `lamplight serve` say what each field means; docs/contract/command-line.md
// has them all.
type Config struct {
	Name    string
	Version string
	Data    string // directory

	// NATS: the servers to connect to, unless Embedded is set.
	NATS   client.Options
	Prefix subject.Prefix
	// Embedded is the configuration of the embedded NATS server; nil: the servers of NATS are somebody else's.
	Embedded *Embedded

	Memory       bool // keep the journal in the NATS server's memory
	Replicas     int  // copies of the journal when it is made; 0: 1, or 3 where NATS is a cluster
	Streams      int  // streams of the journal when it is made; 0: 1, or 4 with several replicas
	AwaitRestore bool

	Gossip    string // HOST:PORT
	Advertise string
	Join      []string
	GossipKey []byte

	HTTP           string // HOST:PORT
	RequestTimeout time.Duration
	RateLimit      int
	TokenKey       string // file
	JWKS           []byte

	Rules      presence.Rules // Writes is set by the node
	MaxMailbox int
	EdgeMemory int64 // bytes of messages that are kept for edges to be sent again; 0: 256 MiB

	// Quiet is how long membership must have been quiet before the first claims; 0: 250 ms.
	Quiet time.Duration
	// Place says which of some nodes should hold a shard; nil: rendezvous (gossip.Owner).
	Place func(shard int, nodes []string) string
	Log   *slog.Logger
}

// Embedded is the configuration of the embedded NATS server.
type Embedded struct {
	Listen  string        // HOST:PORT for clients
	Config  string        // a NATS configuration file; "": none
	Sync    time.Duration // how much a power cut may take; 0: nothing
	Cluster string        // HOST:PORT for the other nodes' servers; "": it stands alone
	Route   string        // HOST:PORT that the other nodes' servers reach this one at; "": it stands alone
}

// Node is one node.
type Node struct {
	cfg      Config
	log      *slog.Logger
	fatal    chan error
	teardown teardown

	ready    atomic.Bool
	draining atomic.Bool
	routed   atomic.Bool  // the router can be asked
	writes   atomic.Int32 // the newest schema that may be written

	registry  *prometheus.Registry
	members   *gossip.Membership
	server    *natsd.Server // nil without Config.Embedded
	conn      *nats.Conn
	directory *directory.Directory
	journal   *journal.Journal
	fanout    *bus.Fanout
	system    *actors.System
	router    *route.Router
	http      *httpd.Server
	following following
}

// New makes a Node that has not started.
func New(c Config) *Node {
	if c.Place == nil {
		c.Place = gossip.Owner
	}
	if c.Quiet == 0 {
		c.Quiet = 250 * time.Millisecond
	}
	n := &Node{cfg: c, log: c.Log, fatal: make(chan error, 1), registry: prometheus.NewRegistry()}
	n.writes.Store(gossip.OldestSchema)
	return n
}

// Start brings the parts up and returns when the node serves. A node of a cluster waits for the others as long as ctx
// allows. After an error the caller calls Stop, which takes down what had started.
func (n *Node) Start(ctx context.Context) error {
	wait := ctx
	if (n.cfg.Embedded == nil || n.cfg.Embedded.Cluster == "") && !n.cfg.AwaitRestore {
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeout(ctx, startTime)
		defer cancel()
	}
	n.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, step := range []func(context.Context) error{n.startGossip, n.startNATS, n.awaitRestore, n.startDirectory, n.startShards,
		n.startStatus, n.awaitShards, n.startTransports} {
		if err := step(wait); err != nil {
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

// Stop takes the node down, the last part that started first: HTTP and the intake from NATS, then the shards are handed
// over, the fan-out is flushed, the node leaves the cluster, and NATS stops last. What has started after 20 s no longer
// delays the rest.
func (n *Node) Stop(ctx context.Context) error {
	n.ready.Store(false)
	n.draining.Store(true)
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	return n.teardown.run(ctx, n.log)
}

// Kill takes the node down as kill -9 would: it says nothing to NATS or to the other nodes. It is for tests.
func (n *Node) Kill() {
	n.conn.Close()
	n.members.Abandon()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = n.teardown.run(ctx, slog.New(slog.DiscardHandler))
}

// Failed receives an error that ends the node: the caller stops it.
func (n *Node) Failed() <-chan error { return n.fatal }

// fail ends the node.
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

// Addr is where one of the node's listeners listens, as HOST:PORT; "" for one that the node does not have. It is known
// once Start has returned.
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

// Port is the port of one of the node's listeners.
func (n *Node) Port(listener string) string {
	_, port, _ := net.SplitHostPort(n.Addr(listener))
	return port
}

// Conn is the node's connection to NATS.
func (n *Node) Conn() *nats.Conn { return n.conn }

// Router takes requests to their extensions.
func (n *Node) Router() *route.Router { return n.router }

// System holds the node's shards.
func (n *Node) System() *actors.System { return n.system }

// Journal says who owns which shard.
func (n *Node) Journal() *journal.Journal { return n.journal }

// Directory holds the accounts.
func (n *Node) Directory() *directory.Directory { return n.directory }

// Fanout sends what the shards tell.
func (n *Node) Fanout() *bus.Fanout { return n.fanout }

// isReady says why the node does not serve; nil when it does.
func (n *Node) isReady() error {
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
