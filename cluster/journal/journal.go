package journal

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/subject"
)

// Shards is what the journal tells the shards of; actors.System is one.
type Shards interface {
	Open(shard int, o actors.Opening)
	Pause(shard int)
	Resume(shard int, c actors.Claim, end bool)
	// Flush asks a shard to take nothing more and to call Flushed when all that it took is kept and told.
	Flush(shard int)
	// Drop takes a shard away. Of writes up to the ticket doubt it is not known whether they are kept; later ones are not.
	Drop(shard int, doubt uint64)
	Durable(shard int, ticket uint64)
	// Wanted says whether someone waits for the shard to open.
	Wanted(shard int) bool
}

// Config is what a Journal needs.
type Config struct {
	Conn       *nats.Conn // without publish retries and with a small or no reconnect buffer
	Prefix     subject.Prefix
	Node       string
	Memory     bool // --storage memory
	Replicas   int
	Streams    int // how many are made, if there are none yet; 0: one, in a cluster four
	Quiet      time.Duration
	Missing    time.Duration // how long a stream may be missing before it is made again; 0: a minute
	Owner      func(shard int, nodes []string) string
	Gone       func(node string) // its incarnation was expelled, in one stream at least, or replaced; called off the journal's goroutines; nil: no one asks
	Writes     func() int        // the newest schema that all members read; nil: presence.Schema
	Fatal      func(error)       // a live node of the same name exists
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Journal is the node's part of the journal. Its methods may be called from any goroutine.
type Journal struct {
	cfg         Config
	log         *slog.Logger
	shards      Shards
	metrics     *metrics
	incarnation string
	streams     []*stream

	holders [actors.Shards]atomic.Pointer[holder]
	opened  [actors.Shards]atomic.Uint64 // generation under which the shard is open here; 0: it is not
	stop    context.CancelFunc
	ctx     context.Context
	done    sync.WaitGroup
}

type holder struct {
	node string
	mine bool
}

// New makes a Journal that has not started.
func New(c Config) *Journal {
	if c.Writes == nil {
		c.Writes = func() int { return presence.Schema }
	}
	j := &Journal{cfg: c, log: c.Log.With("part", "journal"), metrics: newMetrics(c.Registerer)}
	j.registerGauges(c.Registerer)
	j.incarnation = strconv.FormatUint(random(), 16)
	for i := range j.holders {
		j.holders[i].Store(&holder{})
	}
	return j
}

// SetShards says whom the journal tells what it decides. It is called once, before Start.
func (j *Journal) SetShards(s Shards) { j.shards = s }

// Start opens the streams and begins to claim. The shards hear of what follows.
func (j *Journal) Start(ctx context.Context) error {
	stores, err := openStores(ctx, j.cfg)
	if err != nil {
		return err
	}
	j.ctx, j.stop = context.WithCancel(context.Background())
	for i, st := range stores {
		j.streams = append(j.streams, newStream(j, st, i, len(stores)))
	}
	for _, s := range j.streams {
		if err := s.store.start(s.hear); err != nil {
			return err
		}
		s.mu.Lock()
		s.act(s.machine.Start(s.now()))
		s.mu.Unlock()
		s.lookNow()
		j.done.Go(s.tick)
		j.done.Go(s.watch)
	}
	return nil
}

// of is the stream that a shard lives in.
func (j *Journal) of(shard int) *stream { return j.streams[shard%len(j.streams)] }

func random() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

func boottime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t)
	return time.Duration(t.Nano())
}

// Incarnation names this start of the node.
func (j *Journal) Incarnation() string { return j.incarnation }

// Serving is how many shards are ours and open.
func (j *Journal) Serving() (n int) {
	for i := range j.opened {
		if j.opened[i].Load() != 0 {
			n++
		}
	}
	return n
}

// Held is how many shards have an owner that the claims name, and how many of this node's are not open yet.
func (j *Journal) Held() (owned, loading int) {
	for i := range j.holders {
		switch h := j.holders[i].Load(); {
		case h.node == "":
		case h.node == j.cfg.Node && j.opened[i].Load() == 0:
			owned++
			loading++
		default:
			owned++
		}
	}
	return owned, loading
}

// Owners are the nodes that hold shards, and this one.
func (j *Journal) Owners() []string {
	nodes := []string{j.cfg.Node}
	last := j.cfg.Node
	for i := range j.holders {
		if n := j.holders[i].Load().node; n != "" && n != last && !slices.Contains(nodes, n) {
			nodes = append(nodes, n)
			last = n
		}
	}
	return nodes
}

// Holder is the node whose claim on the shard stands; "" when none is known.
func (j *Journal) Holder(shard int) string { return j.holders[shard].Load().node }

// Mine implements actors.Journal.
func (j *Journal) Mine(shard int) bool { return j.holders[shard].Load().mine }

// Members says which nodes membership shows.
func (j *Journal) Members(nodes []string) {
	for _, s := range j.streams {
		s.mu.Lock()
		s.act(s.machine.Members(s.now(), nodes))
		s.mu.Unlock()
	}
}

// cutOff is how long the lease must have been stale for NATS to count as away, though its connection stands: of the time
// in which this process ran. One that was frozen for longer than a stall must first hear what became of its shards.
const (
	cutOff = 2 * time.Second
	stall  = 500 * time.Millisecond
)

// Standing implements actors.Journal.
func (j *Journal) Standing(shard int, life uint64) actors.Standing {
	if j.opened[shard].Load() != life {
		return actors.Unsure // the shard is being told
	}
	return j.of(shard).standing()
}

func (s *stream) standing() actors.Standing {
	now, until := boottime(), time.Duration(s.until.Load())
	switch {
	case now < until:
		return actors.Fresh
	case !s.j.cfg.Conn.IsConnected() || s.refuses.Load():
		return actors.CutOff
	case now < time.Duration(s.ticked.Load())+stall && now > max(until, time.Duration(s.awake.Load()))+cutOff:
		return actors.CutOff
	}
	return actors.Unsure
}

// Vouch implements actors.Journal.
func (j *Journal) Vouch(lives *[actors.Shards]uint64) (stale bool) {
	standings := make([]actors.Standing, len(j.streams))
	for i, s := range j.streams {
		standings[i] = s.standing()
	}
	for shard := range lives {
		standing := standings[shard%len(standings)]
		if standing == actors.Unsure || j.opened[shard].Load() != lives[shard] {
			lives[shard] = 0
		}
		stale = stale || lives[shard] != 0 && standing == actors.CutOff
	}
	return stale
}

// Fresh says that this node's lease is fresh in all streams.
func (j *Journal) Fresh() bool {
	for _, s := range j.streams {
		if s.standing() != actors.Fresh {
			return false
		}
	}
	return len(j.streams) > 0
}

// Flushed implements actors.Journal.
func (j *Journal) Flushed(shard int, life uint64) {
	s := j.of(shard)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lane(shard).life == life {
		s.act(s.machine.Flushed(s.now(), shard))
		s.note(shard)
	}
}

// Stop gives all shards up, so that the next owner need not wait, and stops.
func (j *Journal) Stop(ctx context.Context) error {
	if j.stop == nil {
		return nil
	}
	err := j.drain(ctx)
	j.stop()
	j.done.Wait()
	for _, s := range j.streams {
		s.store.close()
	}
	return err
}

func (j *Journal) drain(ctx context.Context) error {
	for _, s := range j.streams {
		s.mu.Lock()
		s.act(s.machine.Leave(s.now()))
		s.mu.Unlock()
	}
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for {
		left := true
		for _, s := range j.streams {
			s.mu.Lock()
			left = left && s.machine.Left()
			s.mu.Unlock()
		}
		if left {
			return nil
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return fmt.Errorf("journal: %w before all shards were given up; the next owner takes them over", ctx.Err())
		}
	}
}

type metrics struct{ unknown, fenced, busy, claims, expelled, takeovers prometheus.Counter }

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "lamplight_journal_" + name, Help: help})
		r.MustRegister(c)
		return c
	}
	return &metrics{unknown: counter("unknown_total", "Writes without an answer; each spends a claim."),
		fenced:    counter("fenced_total", "Groups of writes refused because the claim is another's."),
		busy:      counter("busy_total", "Groups of writes that the journal refused for now."),
		claims:    counter("claims_total", "Claims of this node that were accepted: shards taken over, and claims made again."),
		takeovers: counter("takeovers_total", "Shards that this node took over and loaded."),
		expelled:  counter("expelled_total", "Silent nodes that this node expelled.")}
}

var errBehind = errors.New("journal: a replica lags behind the claim")
