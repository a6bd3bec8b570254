// Package route takes a request about one extension to the node that owns the extension's shard, and brings the answer
// back. If that is another node, the request goes there in one hop over NATS. The package also makes listings of a realm
// and commands to a realm over all nodes, and answers the other nodes' calls. It owns no state but the requests on their
// way. It decides nothing about ownership: it asks Owners, and the node that it asks may answer that the shard is not its
// own. Package wire is the form of the messages.
//
// One goroutine calls New, Start and Stop. All other methods are for any goroutine, after Start. Go does not wait for an
// answer. Request, List, ResetRealm and EndRealm block until they have theirs.
package route

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/loglimit"
	"lamplight/cluster/route/wire"
	"lamplight/cluster/subject"
	"lamplight/cluster/trace"
)

// Owners says which node owns a shard. journal.Journal is one.
type Owners interface {
	// Holder returns the node whose claim of the shard stands as far as this node knows, and "" when none does. It must
	// not block. The answer may be out of date: the node that is asked decides whether the shard is its own.
	Holder(shard int) string
}

// Config is what a Router needs.
type Config struct {
	System     *actors.System
	Owners     Owners
	Nodes      func() []string // the nodes that hold shards, this one among them
	Conn       *nats.Conn
	Prefix     subject.Prefix
	Node       string
	Timeout    time.Duration // of a request without a deadline
	Writes     func() int    // the newest schema that all members can read; nil: presence.Schema
	Tracer     *trace.Tracer // nil: nothing is traced
	Trouble    func() error  // what this node's machine lacks, such as disk space; nil, or the answer nil: nothing known
	Log        *slog.Logger
	Registerer prometheus.Registerer

	MaxCalls, MaxBytes int // of calls to one peer that have no answer; 0: the defaults
}

const (
	maxPeerCalls = 16 << 10               // calls to one peer that have no answer
	maxPeerBytes = 16 << 20               // of these calls, and of answers that have come in part
	maxParked    = 16 << 10               // requests that wait for another try
	firstPause   = 5 * time.Millisecond   // before the second try; each further pause is twice as long,
	longestPause = 50 * time.Millisecond  // up to this
	routerTick   = 10 * time.Millisecond  // between two looks at what is due, while requests wait for another try;
	routerSleep  = 250 * time.Millisecond // and while nothing waits
	outage       = 2 * time.Second        // after so long without NATS, no request waits for another node
)

// Router takes requests to the owners of their extensions and brings the answers back.
type Router struct {
	cfg           Config
	metrics       *routerMetrics
	answersPrefix string // what the subjects begin with on which this node receives the answers to its calls
	start         uint64 // a random number for this start of the Router
	fullAt        int    // a message of so many bytes is full; one more call or part of an answer still fits in
	ids           atomic.Uint64
	batches       atomic.Uint64
	openCalls     atomic.Int64                     // calls of other nodes that have no answer yet
	peers         atomic.Pointer[map[string]*peer] // the map is replaced under mu and never changed
	natsGone      atomic.Int64                     // since when NATS is out of reach, by clock; 0: it is not

	mu     sync.Mutex
	parked []*try // requests that wait for another try
	closed bool
	wake   chan struct{} // run is to look soon

	askers  map[string]*asker // only serve uses it
	parts   []wire.Part       // only answered uses it, for one message after the other
	slow    chan struct{}     // bounds the listings and commands to realms that run for other nodes
	calls   *nats.Subscription
	answers *nats.Subscription
	stop    context.CancelFunc
	ctx     context.Context
	running sync.WaitGroup
}

// New makes a Router. It starts nothing.
func New(c Config) *Router {
	if c.MaxCalls == 0 {
		c.MaxCalls = maxPeerCalls
	}
	if c.MaxBytes == 0 {
		c.MaxBytes = maxPeerBytes
	}
	if c.Writes == nil {
		c.Writes = func() int { return presence.Schema }
	}
	c.Log = loglimit.Limit(c.Log).With("part", "router")
	r := &Router{cfg: c, metrics: newRouterMetrics(c.Registerer), start: rand.Uint64() | 1,
		askers: map[string]*asker{}, slow: make(chan struct{}, maxSlow), wake: make(chan struct{}, 1)}
	r.answersPrefix = c.Prefix.Of(subject.Answers(c.Node))
	r.peers.Store(&map[string]*peer{})
	// Both counters start at random, so that an answer to an earlier process of this name, or NATS's word that nobody
	// received its message, fits no call of this one.
	r.ids.Store(rand.Uint64())
	r.batches.Store(rand.Uint64() >> 1)
	return r
}

// tooLarge logs and counts a message that is larger than the NATS server carries. Other errors pass with the connection's trouble.
func (r *Router) tooLarge(err error, size int) {
	if errors.Is(err, nats.ErrMaxPayload) {
		r.metrics.tooLarge.Inc()
		r.cfg.Log.Error("a message to another node is larger than the NATS server carries, and is lost; raise the server's max_payload",
			"bytes", size, "max_payload", r.cfg.Conn.MaxPayload(), "needed", subject.MinPayload)
	}
}

// clock returns a time in ms. It also counts while the machine is suspended, so that it runs as fast as on other nodes.
func clock() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t)
	return t.Nano() / int64(time.Millisecond)
}

// Start begins to answer the other nodes' calls. The journal must have started before, and this process must have the
// node's lease: if two processes listened under one node's name, each command to the node would reach both.
func (r *Router) Start(context.Context) error {
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.fullAt = min(batchBytes, int(r.cfg.Conn.MaxPayload())/2)
	if err := r.subscribe(); err != nil {
		r.stop()
		return err
	}
	lost := r.cfg.Conn.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	r.running.Go(func() {
		defer r.cfg.Conn.RemoveStatusListener(lost)
		r.run(lost)
	})
	return nil
}

func (r *Router) subscribe() (err error) {
	if r.answers, err = r.cfg.Conn.Subscribe(r.answersPrefix+"*", r.answered); err != nil {
		return err
	}
	if r.calls, err = r.cfg.Conn.Subscribe(r.cfg.Prefix.Of(subject.Node(r.cfg.Node)), r.serve); err != nil {
		return err
	}
	for _, s := range []*nats.Subscription{r.answers, r.calls} { // peers bound what is in flight; the client must drop none
		if err := s.SetPendingLimits(-1, 256<<20); err != nil {
			return err
		}
	}
	return nil
}

// Stop takes no more calls of other nodes, waits until those that came have been answered or the context ends, and then
// ends the requests of this node that have no answer. The node's shards should have been handed over before. Stop does
// nothing when it is called again, or before Start.
func (r *Router) Stop(ctx context.Context) error {
	if r.stop == nil || r.ctx.Err() != nil {
		return nil
	}
	err := r.drain(ctx)
	r.stop()
	r.mu.Lock()
	r.closed = true
	parked := r.parked
	r.parked = nil
	r.mu.Unlock()
	for _, t := range parked {
		t.late()
	}
	for name := range *r.peers.Load() {
		r.Gone(name)
	}
	r.running.Wait()
	_ = r.answers.Unsubscribe()
	return err
}

// drain takes no more calls of other nodes and waits until those that came have been answered.
func (r *Router) drain(ctx context.Context) error {
	drained := make(chan struct{})
	r.calls.SetClosedHandler(func(string) { close(drained) })
	if !r.cfg.Conn.IsConnected() || r.calls.Drain() != nil {
		_ = r.calls.Unsubscribe()
		return nil // no more calls come, and answers would not reach anybody
	}
	select {
	case <-drained:
	case <-ctx.Done():
		return ctx.Err()
	}
	t := time.NewTicker(time.Millisecond)
	defer t.Stop()
	for r.openCalls.Load() > 0 {
		select {
		case <-t.C:
		case <-ctx.Done():
			return fmt.Errorf("%d calls of other nodes were not answered: %w", r.openCalls.Load(), ctx.Err())
		}
	}
	return nil
}

// begin runs f in a goroutine that Stop waits for. It returns false, and does not run f, when the Router has stopped.
func (r *Router) begin(f func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.running.Go(f)
	}
	return !r.closed
}

// run tries requests again that wait for it, and ends calls to peers that will get no answer.
func (r *Router) run(lost <-chan nats.Status) {
	t := time.NewTimer(routerSleep)
	defer t.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.wake:
			t.Reset(routerTick)
		case _, ok := <-lost:
			if !ok {
				lost = nil
			}
			for _, p := range *r.peers.Load() {
				p.connectionLost()
			}
		case now := <-t.C:
			if r.cfg.Conn.IsConnected() {
				r.natsGone.Store(0)
			} else {
				r.natsGone.CompareAndSwap(0, clock())
			}
			next := routerSleep
			for _, p := range *r.peers.Load() {
				if p.expire(now) {
					next = expireEvery
				}
			}
			if r.retry(now) {
				next = routerTick
			}
			t.Reset(next)
		}
	}
}

// soon has run look within routerTick.
func (r *Router) soon() {
	select {
	case r.wake <- struct{}{}:
	default: // run has not taken the last one yet
	}
}

// cutOff says whether NATS has been out of reach for so long that no request should wait for another node.
func (r *Router) cutOff() bool {
	since := r.natsGone.Load()
	return since != 0 && clock()-since > outage.Milliseconds() && !r.cfg.Conn.IsConnected()
}

// Gone reports that a node is dead. Calls to it that have no answer end at once: those that may be repeated are tried
// again, of the others the outcome is unknown.
func (r *Router) Gone(node string) {
	r.mu.Lock()
	old := *r.peers.Load()
	p := old[node]
	if p != nil {
		rest := make(map[string]*peer, len(old))
		for name, other := range old {
			if name != node {
				rest[name] = other
			}
		}
		r.peers.Store(&rest)
	}
	r.mu.Unlock()
	if p != nil {
		p.close()
	}
}

// peer returns the peer of that name, and makes it on first use.
func (r *Router) peer(node string) *peer {
	if p := (*r.peers.Load())[node]; p != nil {
		return p
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old := *r.peers.Load()
	if p := old[node]; p != nil {
		return p
	}
	p := &peer{router: r, subject: r.cfg.Prefix.Of(subject.Node(node)), pending: map[uint64]*try{}, name: node}
	all := make(map[string]*peer, len(old)+1)
	for name, other := range old {
		all[name] = other
	}
	all[node] = p
	r.peers.Store(&all)
	return p
}

// route takes a request to the node that holds its shard now. lend says that the caller waits for the answer anyway, so
// that the shard's turn may run in its goroutine (actors.System.Do).
func (r *Router) route(t *try, lend bool) {
	holder := r.cfg.Node
	if r.cfg.System.Generation(t.shard) == 0 {
		holder = r.cfg.Owners.Holder(t.shard)
	}
	switch holder {
	case "":
		r.park(t)
	case r.cfg.Node:
		r.cfg.System.Do(t.req, func(a actors.Answer) { r.settle(t, a) }, lend)
	default:
		r.ask(holder, t)
	}
}

// ask sends a try to another node. If it cannot be sent, its caller gets the error at once.
func (r *Router) ask(node string, t *try) {
	err := errGone
	for errors.Is(err, errGone) {
		err = r.peer(node).send(t)
	}
	if err != nil {
		r.metrics.refused.Inc()
		r.settle(t, actors.Answer{Err: err})
	}
}

type routerMetrics struct{ remote, refused, retried, lost, strays, tooLarge prometheus.Counter }

func newRouterMetrics(r prometheus.Registerer) *routerMetrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "lamplight_router_" + name, Help: help})
		r.MustRegister(c)
		return c
	}
	return &routerMetrics{
		remote: counter("remote_total", "Calls that this node sent to other nodes."),
		refused: counter("refused_total", "Requests refused because too many calls to one node had no answer, or too "+
			"many requests waited for another try."),
		retried: counter("retried_total", "Further tries of requests whose shard had moved, had no owner yet, or "+
			"whose owner did not answer."),
		lost:     counter("lost_total", "Calls sent to other nodes that got no answer."),
		tooLarge: counter("too_large_total", "Messages to other nodes that are larger than the NATS server carries, and are lost. Raise its max_payload."),
		strays:   counter("strays_total", "Messages on the subjects between nodes that could not be read."),
	}
}
