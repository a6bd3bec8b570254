package actors

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/client_golang/prometheus"

	"lamplight/actors/presence"
)

// Config is what a System needs. All fields without a word on nil must be set.
type Config struct {
	Node     string
	Rules    presence.Rules
	Mailbox  int // the number of messages that may wait for one shard; a request past it is refused with ErrBusy
	Journal  Journal
	Notifier Notifier
	// EndSwitch ends the calls of a switch on all nodes and returns their number (route.Router.EndSwitch). It waits until that is done
	// or the context ends.
	EndSwitch func(context.Context, presence.SwitchGone) (ended int, err error)
	// HidesParties says whether the watchers of an extension are not shown who the other party of a call is. It is called in the turn of the
	// extension's shard for each document, and must not wait for a shard, NATS or a disk. nil: they are shown.
	HidesParties func(to Address) bool
	// Room returns why an account may not hold so many subscriptions at this node; nil: it may. Told notes how many NOTIFYs the watchers of a
	// realm's extensions were sent. Both are called as HidesParties is, and may be nil.
	Room       func(realm string, holds int64) error
	Told       func(realm string, n int)
	EdgeState  func(edge string, now time.Time) presence.EdgeState // whether anybody listens for an edge; it must not wait. nil: nothing is known
	Trouble    func() error                                        // why the node's NATS server takes no writes; nil, or the answer nil: nothing known
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// System is the shards of one node. Its methods may be called from any goroutine once Start has returned. The methods that
// take a context wait for answers. Do with lend may run a shard's turn in its caller's goroutine. Close waits for the
// shards to stop. The others queue a message and return at once.
type System struct {
	cfg      Config
	actors   *actor.ActorSystem
	workers  *workers
	shards   [Shards]*shard
	dues     [Shards]atomic.Int64 // when the next tick of each shard is due, in Unix ns; 0: none is. They stand together so that the clock sees them all soon
	realms   realms
	edges    counts // the watchers behind each edge
	switches counts // the calls on each switch
	departed departed
	metrics  *metrics
	version  atomic.Uint64 // grows with every durable change
	alarm    alarm
	stopping context.Context // ends with Stop
	stop     context.CancelFunc
	done     sync.WaitGroup
	owed     sync.WaitGroup // ends of switches under way
	settling chan struct{}  // bounds their number
}

// NewSystem makes a System and registers its metrics. It starts nothing.
func NewSystem(cfg Config) *System {
	s := &System{cfg: cfg, workers: newWorkers(), metrics: newMetrics(cfg.Registerer)}
	s.actors = actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return cfg.Log
	}))
	s.realms = newRealms()
	s.edges.names, s.switches.names = map[string]*counted{}, map[string]*counted{}
	s.departed.at = map[string]presence.Gone{}
	s.settling = make(chan struct{}, maxSettling)
	s.alarm.wake = make(chan struct{}, 1)
	s.cfg.Rules.Gone = s.departed.before
	if s.cfg.EdgeState == nil {
		s.cfg.EdgeState = func(string, time.Time) presence.EdgeState { return presence.EdgeState{} }
	}
	cfg.Registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lamplight_watchers_behind_seconds",
		Help: "How long the watcher that has been behind for the longest time has been so, in seconds; 0: none is behind."}, s.behindFor), behindMetrics{s}, answerMetrics{s})
	return s
}

// ShardOf returns the shard of an extension: the xxhash64 of user@realm, modulo Shards. The journal's subjects depend on
// it; it never changes.
func ShardOf(a Address) int {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.WriteString(a.User)
	_, _ = d.WriteString("@")
	_, _ = d.WriteString(a.Realm)
	return int(d.Sum64() % Shards)
}

// Start makes the shards and starts their clock. It must be called once. Every shard is closed until Open.
func (s *System) Start(context.Context) error {
	for i := range s.shards {
		sh := &shard{id: i, sys: s, extensions: map[Address]*extension{}}
		sh.edges, sh.switches = shardCounts{node: &s.edges, shard: i}, shardCounts{node: &s.switches, shard: i}
		sh.child = actor.PropsFromProducer(func() actor.Actor { return sh.adopting }, actor.WithMailbox(newInline))
		sh.pid = s.actors.Root.Spawn(actor.PropsFromFunc(sh.Receive, actor.WithDispatcher(s.workers)))
		s.shards[i] = sh
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stopping, s.stop = ctx, cancel
	s.done.Go(func() { s.clock(ctx) })
	return nil
}

// Stop stops the clock, the shards and their workers, and waits for them. Requests whose change is not durable by then are
// not answered. Calls of the System after it are lost.
func (s *System) Stop(context.Context) error {
	if s.stop == nil {
		return nil
	}
	s.stop()
	s.done.Wait()
	for _, sh := range s.shards {
		_ = s.actors.Root.StopFuture(sh.pid).Wait()
	}
	s.owed.Wait()
	s.actors.Shutdown()
	s.workers.close()
	return nil
}

// Do hands a request to its shard. done is called exactly once, from any goroutine, perhaps before Do returns, and must
// not block. With lend, the caller lends its goroutine because it waits for the answer anyway: if nothing else waits for
// the shard, the shard's turn runs there, which saves two switches of goroutines.
func (s *System) Do(r Request, done func(Answer), lend bool) {
	sh := s.shards[ShardOf(r.To)]
	if int(sh.depth.Load()) >= s.cfg.Mailbox {
		s.metrics.refused.Inc()
		done(Answer{Err: ErrBusy})
		return
	}
	s.give(sh, &call{caller: caller{done, r.Deadline, r.Wait}, to: r.To, message: r.Message, origin: r.Origin, at: time.Now()}, lend)
}

// Look calls use with the extension as it is, without a message, if nothing waits for the shard and the answer need not wait. It says whether
// it called use; if it did not, ask with Do. The shard is locked while use runs, so use must be short. It must keep nothing of the answer.
func (s *System) Look(to Address, use func(*Answer)) bool {
	sh := s.shards[ShardOf(to)]
	if sh.depth.Load() > 0 || !sh.running.TryLock() {
		return false
	}
	defer sh.running.Unlock()
	return sh.look(to, use)
}

// give hands a message to a shard. With lend, the shard handles it in the caller's goroutine if nothing else waits for the
// shard. Otherwise the message goes through the mailbox and keeps its place behind all that was sent before.
func (s *System) give(sh *shard, message any, lend bool) {
	if waiting := sh.depth.Add(1); !lend || waiting > 1 || !sh.lend(message) {
		s.actors.Root.Send(sh.pid, message)
	}
}

// Generation returns the generation of the claim under which the shard was opened on this node; 0: it is not open, or takes
// nothing more.
func (s *System) Generation(shard int) uint64 { return s.shards[shard].generation.Load() }

// generations returns Generation of all shards.
func (s *System) generations() (of [Shards]uint64) {
	for i, sh := range s.shards {
		of[i] = sh.generation.Load()
	}
	return of
}

// The messages of the journal and of the clock to a shard.
type (
	resumed struct {
		claim Claim
		end   bool
	}
	paused       struct{}
	flush        struct{}
	dropped      struct{ doubt uint64 }
	durable      uint64
	tick         struct{}
	edgeAnswered struct{ edge string } // for the first time a watcher behind the edge has answered
	edgeWork     struct {              // something is to be done for all watchers behind an edge: see renotify
		edge string
		ends bool
	}
)

// Open opens a shard on this node with all its records.
func (s *System) Open(shard int, o Opening) { s.tell(shard, &o) }

// Pause holds back all notifications of the shard, and all answers that wait for a write (docs/contract/journal.md, rule 8).
func (s *System) Pause(shard int) { s.tell(shard, paused{}) }

// Resume lets a paused shard go on, under a new claim of this node. With end, all subscriptions end first, because the
// shard's numbers have come to their end (docs/contract/journal.md, rule 8).
func (s *System) Resume(shard int, c Claim, end bool) { s.tell(shard, &resumed{c, end}) }

// Flush has the shard take nothing more. The shard calls Journal.Flushed when all that it took is durable and told.
func (s *System) Flush(shard int) { s.tell(shard, flush{}) }

// Drop closes a shard and forgets its memory. It is not known of writes up to the ticket doubt whether they are durable:
// their callers are answered ErrUnknown. All other callers are answered ErrNotMine.
func (s *System) Drop(shard int, doubt uint64) { s.tell(shard, dropped{doubt}) }

// Durable says that all writes of the shard up to ticket are durable.
func (s *System) Durable(shard int, ticket uint64) { s.tell(shard, durable(ticket)) }

// Wanted says whether requests wait for the shard to open. The journal opens such shards first.
func (s *System) Wanted(shard int) bool { return s.shards[shard].wanted.Load() }

func (s *System) tell(shard int, m any) { s.give(s.shards[shard], m, false) }

type metrics struct {
	extensions, watchers, behind             prometheus.Gauge
	refused, panics, told, coalesced, events prometheus.Counter
	leases                                   prometheus.Counter
	packages                                 []prometheus.Gauge   // the subscriptions to each presence.Package
	ignored                                  []prometheus.Counter // by presence.Ignored; the first is nil

	// The seconds that a change spends in each stage.
	queue, apply, commit, tell prometheus.Observer
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "lamplight_" + name, Help: help})
		r.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "lamplight_" + name, Help: help})
		r.MustRegister(g)
		return g
	}
	stages := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "lamplight_stage_seconds", Buckets: prometheus.ExponentialBuckets(1e-6, 4, 12),
		Help: "Seconds that a change spends in each stage at its owner: queue (waiting for its shard), apply, commit (until it is durable), tell (rendering and publishing its NOTIFYs)."}, []string{"stage"})
	ignored := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "lamplight_news_ignored_total",
		Help: "News that was acknowledged and changed nothing, by reason: old (its Timestamp was more than a minute old: is the sender's clock right?), ended (its call had ended), overtaken (newer news came first)."}, []string{"reason"})
	packages := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "lamplight_subscriptions",
		Help: "Subscriptions that this node holds in memory, by event package. lamplight_watchers has their sum."}, []string{"package"})
	var byPackage []prometheus.Gauge
	for _, name := range presence.Packages() {
		byPackage = append(byPackage, packages.WithLabelValues(name))
	}
	r.MustRegister(stages, ignored, packages)
	byReason := []prometheus.Counter{nil}
	for _, reason := range presence.Reasons()[1:] {
		byReason = append(byReason, ignored.WithLabelValues(reason))
	}
	return &metrics{
		ignored: byReason, packages: byPackage,
		queue: stages.WithLabelValues("queue"), apply: stages.WithLabelValues("apply"), commit: stages.WithLabelValues("commit"), tell: stages.WithLabelValues("tell"),
		extensions: gauge("extensions", "Extensions that this node holds in memory."),
		watchers:   gauge("watchers", "Subscriptions that this node holds in memory."),
		behind:     gauge("watchers_behind", "Watchers that should know more than they were told. Each shard counts its own every 500 ms."),
		refused:    counter("shard_refused_total", "Requests refused with 429 because too many messages waited for their shard."),
		panics:     counter("extension_panics_total", "Panics caught in an extension. Each one costs that extension a reload and is logged with its stack."),
		told:       counter("notify_total", "NOTIFYs sent, counted once for each watcher."),
		coalesced:  counter("notify_coalesced_total", "Changes that a watcher was told only together with a later one, because its rate or the budget of the account held them back; counted once for each watcher."),
		leases:     counter("leases_ended_total", "Changes of lamps because the lease of a call, register or publication ended and no news of its end had come. A rate that grows says that ends of calls are lost on their way here."),
		events:     counter("events_total", "Events that extensions applied or refused, timers included."),
	}
}
