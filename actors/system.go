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

// Config is what a System needs.
type Config struct {
	Node       string
	Rules      presence.Rules
	Mailbox    int // messages that may wait for one shard
	Journal    Journal
	Notifier   Notifier
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// System is the shards of one node. Its methods may be called from any goroutine and none of them blocks, those that
// take a context apart.
type System struct {
	cfg     Config
	actors  *actor.ActorSystem
	workers *workers
	shards  [Shards]*shard
	realms  realms
	metrics *metrics
	version atomic.Uint64 // grows with every durable change
	stop    context.CancelFunc
	done    sync.WaitGroup
}

// NewSystem makes a System. It starts nothing.
func NewSystem(cfg Config) *System {
	s := &System{cfg: cfg, workers: newWorkers(), metrics: newMetrics(cfg.Registerer)}
	s.actors = actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return cfg.Log.With("part", "actors")
	}))
	s.realms = newRealms()
	cfg.Registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "lamplight_watchers_behind_seconds",
		Help: "For how long the watcher that is behind for the longest time has been."}, s.behindFor))
	return s
}

// ShardOf says which shard an extension lives in.
func ShardOf(a Address) int {
	var d xxhash.Digest
	d.Reset()
	_, _ = d.WriteString(a.User)
	_, _ = d.WriteString("@")
	_, _ = d.WriteString(a.Realm)
	return int(d.Sum64() % Shards)
}

// Start makes the shards and their clock. Every shard is closed until Open.
func (s *System) Start(context.Context) error {
	for i := range s.shards {
		sh := &shard{id: i, sys: s, extensions: map[Address]*extension{}}
		sh.child = actor.PropsFromProducer(func() actor.Actor { return sh.adopting }, actor.WithMailbox(newInline))
		sh.pid = s.actors.Root.Spawn(actor.PropsFromFunc(sh.Receive, actor.WithDispatcher(s.workers)))
		s.shards[i] = sh
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.done.Go(func() { s.clock(ctx) })
	return nil
}

// Stop stops the actors. What is not durable by then is not answered as done.
func (s *System) Stop(context.Context) error {
	if s.stop == nil {
		return nil
	}
	s.stop()
	s.done.Wait()
	for _, sh := range s.shards {
		_ = s.actors.Root.StopFuture(sh.pid).Wait()
	}
	s.actors.Shutdown()
	s.workers.close()
	return nil
}

// clock wakes the shards that have something due.
func (s *System) clock(ctx context.Context) {
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for last := int64(0); ; {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			ns := now.UnixNano()
			back := ns < last // then what is due soon is so by the clock as it was
			last = ns
			for _, sh := range s.shards {
				if d := sh.due.Load(); d != 0 && (d <= ns || back) && sh.ticking.CompareAndSwap(false, true) {
					s.tell(sh.id, tick{})
				}
			}
		}
	}
}

// Do hands a request to its shard. done is called exactly once, from any goroutine, and must not block.
// With here, the caller waits for the answer anyway and lends its goroutine: if nothing else waits for the shard, its
// turn runs there, which saves two switches.
func (s *System) Do(r Request, done func(Answer), here bool) {
	sh := s.shards[ShardOf(r.To)]
	if int(sh.depth.Load()) >= s.cfg.Mailbox {
		s.metrics.refused.Inc()
		done(Answer{Err: ErrBusy})
		return
	}
	s.give(sh, &call{req: r, done: done, at: time.Now()}, here)
}

// give hands a message to a shard; with here, in the caller's goroutine if nothing else waits for it.
func (s *System) give(sh *shard, message any, here bool) {
	if waiting := sh.depth.Add(1); !here || waiting > 1 || !sh.lend(message) {
		s.actors.Root.Send(sh.pid, message)
	}
}

// Generation is the claim's generation under which the shard was opened on this node; 0: it is not open.
func (s *System) Generation(shard int) uint64 { return s.shards[shard].generation.Load() }

// generations are those of all shards.
func (s *System) generations() (of [Shards]uint64) {
	for i, sh := range s.shards {
		of[i] = sh.generation.Load()
	}
	return of
}

// Messages from the journal to a shard.
type (
	resumed struct {
		claim Claim
		end   bool
	}
	paused  struct{}
	flush   struct{}
	dropped struct{ doubt uint64 }
	durable uint64
	tick    struct{}
	edgeUp  string
)

// Open gives a shard to this node with all its records.
func (s *System) Open(shard int, o Opening) { s.tell(shard, &o) }

// Pause holds back all that the shard would tell (JOURNAL.md rule 8).
func (s *System) Pause(shard int) { s.tell(shard, paused{}) }

// Resume goes on under a new claim of this node; with end, all subscriptions end first (rule 8).
func (s *System) Resume(shard int, c Claim, end bool) { s.tell(shard, &resumed{c, end}) }

// Flush lets the shard take nothing more; it says Flushed when all that it took is kept and told.
func (s *System) Flush(shard int) { s.tell(shard, flush{}) }

// Drop takes a shard away: its memory is forgotten. Of writes up to the ticket doubt it is not known whether they are
// kept; who waits for another is told that the shard is not ours.
func (s *System) Drop(shard int, doubt uint64) { s.tell(shard, dropped{doubt}) }

// Durable says that all writes of the shard up to ticket are kept.
func (s *System) Durable(shard int, ticket uint64) { s.tell(shard, durable(ticket)) }

// Wanted says whether someone waits for the shard to open.
func (s *System) Wanted(shard int) bool { return s.shards[shard].wanted.Load() }

// RenotifyEdge tells every watcher behind the edge its newest state, paced.
func (s *System) RenotifyEdge(edge string) {
	for i := range s.shards {
		s.tell(i, edgeUp(edge))
	}
}

func (s *System) tell(shard int, m any) { s.give(s.shards[shard], m, false) }

type metrics struct {
	extensions, watchers, behind  prometheus.Gauge
	refused, panics, told, events prometheus.Counter

	// What the stages of a change's way cost.
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
		Help: "What the stages of a change's way take at its owner: queue, until its shard takes it; apply; commit, until it is durable; tell, rendering and publishing its NOTIFYs."}, []string{"stage"})
	r.MustRegister(stages)
	return &metrics{
		queue: stages.WithLabelValues("queue"), apply: stages.WithLabelValues("apply"), commit: stages.WithLabelValues("commit"), tell: stages.WithLabelValues("tell"),
		extensions: gauge("extensions", "Extensions in memory."),
		watchers:   gauge("watchers", "Subscriptions in memory."),
		behind:     gauge("watchers_behind", "Watchers that should know more than they were told, as last seen by their shard."),
		refused:    counter("shard_refused_total", "Requests refused because a shard's mailbox was full."),
		panics:     counter("extension_panics_total", "Panics caught in an extension, each of which cost a reload."),
		told:       counter("notify_total", "Watchers told, one each per NOTIFY."),
		events:     counter("events_total", "Events applied."),
	}
}
