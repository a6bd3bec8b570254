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
	"lamplight/cluster/route/wire"
	"lamplight/cluster/subject"
)

// Owners says who owns what; cluster/journal is one.
type Owners interface {
	// Holder is the node whose claim of the shard stands as far as is known, "" when none does. It never blocks, and
	// may be behind: the node itself decides whether the shard is its own.
	Holder(shard int) string
}

// Config is what a Router needs.
type Config struct {
	System     *actors.System
	Owners     Owners
	Nodes      func() []string // the serving nodes, this one among them
	Conn       *nats.Conn
	Prefix     subject.Prefix
	Node       string
	Timeout    time.Duration // of a request that brings no deadline
	Writes     func() int    // the newest schema that all members read; nil: presence.Schema
	Log        *slog.Logger
	Registerer prometheus.Registerer

	MaxCalls, MaxBytes int // in flight to one peer; 0: the defaults
}

// Bounds of what is in flight.
const (
	maxPeerCalls = 16 << 10
	maxPeerBytes = 16 << 20
	maxParked    = 16 << 10
	firstPause   = 5 * time.Millisecond
	longestPause = 50 * time.Millisecond
	routerTick   = 10 * time.Millisecond
	outage       = 2 * time.Second // without NATS, after which nobody waits for another node any more
)

// Router takes a message to the owner of its extension and brings the answer back, over NATS if that is another node.
// Its methods may be called from any goroutine.
type Router struct {
	cfg     Config
	metrics *routerMetrics
	self    string // what the subjects begin with at which this node hears the answers to its calls
	start   uint64 // of this Router
	most    int    // bytes of a message that are enough: the next call or part fits as well
	ids     atomic.Uint64
	batches atomic.Uint64
	serving atomic.Int64                     // calls of other nodes that are not answered
	peers   atomic.Pointer[map[string]*peer] // replaced under mu, never changed
	away    atomic.Int64                     // since when NATS is, by clock; 0: it is not

	mu     sync.Mutex
	parked []*try
	closed bool

	askers  map[string]*asker // only serve uses it
	parts   []wire.Part       // only answered does, again and again
	long    chan struct{}     // bounds listings and commands to realms for peers
	calls   *nats.Subscription
	answers *nats.Subscription
	stop    context.CancelFunc
	ctx     context.Context
	running sync.WaitGroup
}

// NewRouter makes a Router that has not started.
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
	c.Log = c.Log.With("part", "router")
	r := &Router{cfg: c, metrics: newRouterMetrics(c.Registerer), start: rand.Uint64() | 1, askers: map[string]*asker{}, long: make(chan struct{}, maxLong)}
	r.self = c.Prefix.Of(subject.Answers(c.Node))
	r.peers.Store(&map[string]*peer{})
	r.ids.Store(rand.Uint64())          // an answer to an earlier process of this name means nothing to this one,
	r.batches.Store(rand.Uint64() >> 1) // nor does that its message reached no one
	return r
}

// clock counts ms, suspended time included, so that it runs as fast as any other node's.
func clock() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t)
	return t.Nano() / int64(time.Millisecond)
}

// Start answers the other nodes' calls and begins to call them. The journal runs by then, and the node's lease is its own:
// two processes that answer for one node would have commands sent twice.
func (r *Router) Start(context.Context) error {
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.most = min(batchBytes, int(r.cfg.Conn.MaxPayload())/2)
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
	if r.answers, err = r.cfg.Conn.Subscribe(r.self+"*", r.answered); err != nil {
		return err
	}
	if r.calls, err = r.cfg.Conn.Subscribe(r.cfg.Prefix.Of(subject.Node(r.cfg.Node)), r.serve); err != nil {
		return err
	}
	for _, s := range []*nats.Subscription{r.answers, r.calls} { // bounded by who may have how much in flight, not here
		if err := s.SetPendingLimits(-1, 256<<20); err != nil {
			return err
		}
	}
	return nil
}

// Stop answers the calls that came, and stops. Shards should have been handed over before: what is asked from here on
// finds no one.
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

// drain takes no more calls and waits until those that came have been answered.
func (r *Router) drain(ctx context.Context) error {
	drained := make(chan struct{})
	r.calls.SetClosedHandler(func(string) { close(drained) })
	if !r.cfg.Conn.IsConnected() || r.calls.Drain() != nil {
		_ = r.calls.Unsubscribe()
		return nil // nothing comes any more, and no answer would get through
	}
	select {
	case <-drained:
	case <-ctx.Done():
		return ctx.Err()
	}
	t := time.NewTicker(time.Millisecond)
	defer t.Stop()
	for r.serving.Load() > 0 {
		select {
		case <-t.C:
		case <-ctx.Done():
			return fmt.Errorf("%d calls of other nodes were not answered: %w", r.serving.Load(), ctx.Err())
		}
	}
	return nil
}

// begin runs something that Close waits for.
func (r *Router) begin(f func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.running.Go(f)
	}
	return !r.closed
}

// run looks after what waits: for another try, for a peer that may not answer any more.
func (r *Router) run(lost <-chan nats.Status) {
	t := time.NewTicker(routerTick)
	defer t.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case _, ok := <-lost:
			if !ok {
				lost = nil
			}
			for _, p := range *r.peers.Load() {
				p.forget()
			}
		case now := <-t.C:
			if r.cfg.Conn.IsConnected() {
				r.away.Store(0)
			} else {
				r.away.CompareAndSwap(0, clock())
			}
			r.retry(now)
			for _, p := range *r.peers.Load() {
				p.sweep(now)
			}
		}
	}
}

// cutOff says that no other node can be reached, and not for a moment only.
func (r *Router) cutOff() bool {
	since := r.away.Load()
	return since != 0 && clock()-since > outage.Milliseconds()
}

// Go hands a request on. done is called exactly once, from any goroutine, and must not block.
func (r *Router) Go(q actors.Request, done func(actors.Answer)) { r.take(q, done, false) }

func (r *Router) take(q actors.Request, done func(actors.Answer), here bool) {
	if q.Deadline.IsZero() {
		q.Deadline = time.Now().Add(r.cfg.Timeout)
	}
	r.route(&try{req: q, done: done, router: r, shard: actors.ShardOf(q.To)}, here)
}

// waiting is a caller of Request, used again once it was answered.
type waiting struct {
	reply chan actors.Answer
	done  func(actors.Answer)
	late  *time.Timer
}

var waitings = sync.Pool{New: func() any {
	w := &waiting{reply: make(chan actors.Answer, 1), late: time.NewTimer(time.Hour)}
	w.late.Stop()
	w.done = func(a actors.Answer) { w.reply <- a }
	return w
}}

// hindsight is by how much later than its deadline a request's caller is told what is known of it then.
const hindsight = 2 * sweepEvery

// Request is Go for a caller that waits. Its answer comes by the deadline; a change that was not confirmed by then
// is ErrUnknown.
func (r *Router) Request(ctx context.Context, q actors.Request) actors.Answer {
	if q.Deadline.IsZero() {
		q.Deadline = time.Now().Add(r.cfg.Timeout)
	}
	w := waitings.Get().(*waiting)
	r.take(q, w.done, true)
	var a actors.Answer
	select {
	case a = <-w.reply: // a read's of this node's own is there mostly
	default:
		var over <-chan struct{}
		if end, ok := ctx.Deadline(); !ok || !end.Equal(q.Deadline) {
			over = ctx.Done()
		}
		w.late.Reset(time.Until(q.Deadline) + hindsight)
		select {
		case a = <-w.reply:
			w.late.Stop()
		case <-w.late.C:
			return unanswered(q)
		case <-over:
			return unanswered(q)
		}
	}
	waitings.Put(w)
	return a
}

// unanswered is the answer when none came.
func unanswered(q actors.Request) actors.Answer {
	if _, read := q.Message.(actors.Show); read {
		return actors.Answer{Err: actors.ErrUnavailable}
	}
	return actors.Answer{Err: actors.ErrUnknown}
}

// Gone says that a node was declared dead: what it was asked is not waited for any longer.
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

// peer is the peer of that name, made on first use.
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

// route sends a request to where its shard is now; with here, it is its caller's goroutine that does this.
func (r *Router) route(t *try, here bool) {
	holder := r.cfg.Node
	if r.cfg.System.Generation(t.shard) == 0 {
		holder = r.cfg.Owners.Holder(t.shard)
	}
	switch holder {
	case "":
		r.park(t)
	case r.cfg.Node:
		r.cfg.System.Do(t.req, func(a actors.Answer) { r.settle(t, a) }, here)
	default:
		r.ask(holder, t)
	}
}

// ask sends a try to another node.
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

type routerMetrics struct{ remote, refused, retried, lost, strays prometheus.Counter }

func newRouterMetrics(r prometheus.Registerer) *routerMetrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "lamplight_router_" + name, Help: help})
		r.MustRegister(c)
		return c
	}
	return &routerMetrics{
		remote:  counter("remote_total", "Calls sent to other nodes."),
		refused: counter("refused_total", "Requests refused because too many were in flight to a peer, or waited for an owner."),
		retried: counter("retried_total", "Requests sent again, because their shard had moved or its owner was not there."),
		lost:    counter("lost_total", "Calls to other nodes without an answer."),
		strays:  counter("strays_total", "Messages between nodes that could not be read."),
	}
}
