package journal

import (
	"context"
	"crypto/rand"
	"encoding/binary"
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

// Shards is what the journal tells the shards. actors.System is one. The journal calls it with stream.mu of the shard's
// stream held, so its methods must not block and must not call the journal. Calls for one shard come in order.
type Shards interface {
	// Open gives the shard to this node, with its records.
	Open(shard int, o actors.Opening)
	// Pause says that the shard's next claim is on its way: the shard sends no NOTIFY before Resume.
	Pause(shard int)
	// Resume says that the shard goes on under the claim c. With end it ends all its subscriptions first, and calls Flushed
	// when that is durable and told.
	Resume(shard int, c actors.Claim, end bool)
	// Flush asks the shard to take no more requests, and to call Flushed when all that it took is durable and told.
	Flush(shard int)
	// Drop takes the shard from this node. Writes with a ticket above doubt are surely not kept; of the others that were
	// not reported by Durable it is not known.
	Drop(shard int, doubt uint64)
	// Durable says that the write with this ticket and all before it are durable.
	Durable(shard int, ticket uint64)
	// Wanted says whether somebody waits for the shard to open. Such shards are read first.
	Wanted(shard int) bool
}

// Config is what a Journal needs.
type Config struct {
	Conn     *nats.Conn // without publish retries and without a reconnect buffer (docs/contract/journal.md, rule 4)
	Prefix   subject.Prefix
	Node     string
	Memory   bool // keep new streams in memory, as with --storage memory
	Replicas int
	Streams  int           // the number of streams of a new journal; 0: one, or four with several replicas
	Ranges   int           // the number of ranges that the shards of a new journal share; 0: 64, or 256 with several replicas
	Age      time.Duration // how long after a slot's records were carried on it may be written again: until they are on the disk
	Quiet    time.Duration // how long membership must have been quiet before the first claims (rule 12)
	Missing  time.Duration // how long a stream may be missing before it is made again; 0: a minute
	// AcceptLoss makes a stream in files again, too, when it has been missing for so long; and so gives up what it held.
	AcceptLoss bool
	Owner      func(number int, nodes []string) string // placement: which of these nodes should hold the range
	// Gone is called on a goroutine of its own when an incarnation of the node was expelled in a stream, or replaced; nil: it
	// is not wanted.
	Gone       func(node string)
	Writes     func() int  // the newest schema that all members can read; nil: presence.Schema
	Fatal      func(error) // another live process has this node's name; called with stream.mu held
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Journal is this node's part of the journal.
type Journal struct {
	cfg         Config
	log         *slog.Logger
	shards      Shards
	metrics     *metrics
	incarnation string
	streams     []*stream

	places  [actors.Shards]place              // of each shard; set by Start
	holders [maxRanges]atomic.Pointer[holder] // what the claims say of each range
	opened  [maxRanges]atomic.Uint64          // the generation under which the range is open here; 0: it is not
	soon    chan struct{}                     // asks tick to run at once
	stop    context.CancelFunc
	ctx     context.Context
	done    sync.WaitGroup
}

// holder is the node that holds a range, "" for none, and whether this node takes requests for its shards.
type holder struct {
	node string
	mine bool
}

// New makes a Journal. It starts nothing. The registerer gets its metrics.
func New(c Config) *Journal {
	if c.Writes == nil {
		c.Writes = func() int { return presence.Schema }
	}
	j := &Journal{cfg: c, log: c.Log.With("part", "journal"), metrics: newMetrics(c.Registerer), soon: make(chan struct{}, 1)}
	j.registerGauges(c.Registerer)
	j.incarnation = strconv.FormatUint(random(), 16)
	for i := range j.holders {
		j.holders[i].Store(&holder{})
	}
	return j
}

// SetShards sets the shards that the journal tells what was decided. It is called once, before Start.
func (j *Journal) SetShards(s Shards) { j.shards = s }

// Start finds or makes the streams, blocks until that is done or the context ends, and begins to claim shards. The shards
// are told what follows.
func (j *Journal) Start(ctx context.Context) error {
	stores, err := openStores(ctx, j.cfg)
	if err != nil {
		return err
	}
	j.places = stores[0].layout.places()
	j.ctx, j.stop = context.WithCancel(context.Background())
	for i, st := range stores {
		j.streams = append(j.streams, newStream(j, st, i, len(stores)))
	}
	for _, s := range j.streams {
		if err := s.store.start(s.announced); err != nil {
			return err
		}
		s.mu.Lock()
		s.act(s.machine.Start(s.now()))
		s.mu.Unlock()
		s.lookNow()
		j.done.Go(s.watch)
	}
	j.done.Go(j.tick)
	return nil
}

// tick lets time pass in all streams, until the journal stops: every 20 ms, and at rest when the next heartbeat is due, but every 100 ms at least.
func (j *Journal) tick() {
	t := time.NewTimer(tickPace)
	defer t.Stop()
	for {
		select {
		case <-j.ctx.Done():
			return
		case <-t.C:
		case <-j.soon:
		}
		rest := time.Hour
		for _, s := range j.streams {
			rest = min(rest, s.pass())
		}
		t.Reset(max(rest, tickPace))
	}
}

const tickPace = 20 * time.Millisecond

// tickSoon has tick run at once.
func (j *Journal) tickSoon() {
	select {
	case j.soon <- struct{}{}:
	default: // it is about to run
	}
}

// Streams implements actors.Journal.
func (j *Journal) Streams() int { return len(j.streams) }

// of returns the stream in which a shard lives.
func (j *Journal) of(shard int) *stream { return j.streams[shard%len(j.streams)] }

// random returns a random number that nobody can guess.
func random() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

// boottime reads a clock that also counts while the machine is suspended.
func boottime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t)
	return time.Duration(t.Nano())
}

// Incarnation returns a random name of this start of the node. The incarnations in the leases are others, one for each
// stream.
func (j *Journal) Incarnation() string { return j.incarnation }

// OpenShards returns the number of shards that are open on this node.
func (j *Journal) OpenShards() (n int) {
	for _, at := range j.places {
		if j.opened[at.of].Load() != 0 {
			n++
		}
	}
	return n
}

// Held returns the number of shards for which the claims name an owner, and of those the number that this node holds and
// has not opened yet.
func (j *Journal) Held() (owned, loading int) {
	for _, at := range j.places {
		switch h := j.holders[at.of].Load(); {
		case h.node == "":
		case h.node == j.cfg.Node && j.opened[at.of].Load() == 0:
			owned++
			loading++
		default:
			owned++
		}
	}
	return owned, loading
}

// Owners returns the nodes that hold shards, and this one, in no order.
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

// Holder returns the node whose claim of the shard stands, and "" when none is known.
func (j *Journal) Holder(shard int) string { return j.holders[j.places[shard].of].Load().node }

// Range returns the range of a shard. It may be called once the journal has started.
func (j *Journal) Range(shard int) int { return j.places[shard].of }

// Mine implements actors.Journal.
func (j *Journal) Mine(shard int) bool { return j.holders[j.places[shard].of].Load().mine }

// Members tells the rules which nodes membership shows, this one among them.
func (j *Journal) Members(nodes []string) {
	for _, s := range j.streams {
		s.mu.Lock()
		s.act(s.machine.Members(s.now(), nodes))
		s.mu.Unlock()
	}
	j.tickSoon()
}

// NATS counts as out of reach, although its connection stands, when the lease has been stale for cutOffAfter. Only time in
// which this process ran counts: pass must have run without a pause of stallTime. A process that was frozen for longer may
// have lost its shards, and must learn that before it answers anything (rule 1).
const (
	cutOffAfter = 2 * time.Second
	stallTime   = 500 * time.Millisecond
)

// Standing implements actors.Journal.
func (j *Journal) Standing(shard int, generation uint64) actors.Standing {
	if j.opened[j.places[shard].of].Load() != generation {
		return actors.Unsure // the shard's next message says that it was dropped, or opened again
	}
	return j.of(shard).standing()
}

// standing returns what this node may do with its shards of the stream. It takes no lock.
func (s *stream) standing() actors.Standing {
	now, until := boottime(), time.Duration(s.answerUntil.Load())
	switch {
	case now < until:
		return actors.Fresh
	case !s.j.cfg.Conn.IsConnected() || s.refuses.Load():
		return actors.CutOff
	case now < time.Duration(s.ticked.Load())+stallTime && now > max(until, time.Duration(s.awakeSince.Load()))+cutOffAfter:
		return actors.CutOff
	}
	return actors.Unsure
}

// Vouch implements actors.Journal.
func (j *Journal) Vouch(generations *[actors.Shards]uint64) (stale bool) {
	standings := make([]actors.Standing, len(j.streams))
	for i, s := range j.streams {
		standings[i] = s.standing()
	}
	for shard := range generations {
		standing := standings[shard%len(standings)]
		if standing == actors.Unsure || j.opened[j.places[shard].of].Load() != generations[shard] {
			generations[shard] = 0
		}
		stale = stale || generations[shard] != 0 && standing == actors.CutOff
	}
	return stale
}

// Fresh says whether this node's lease is fresh in all streams.
func (j *Journal) Fresh() bool {
	for _, s := range j.streams {
		if s.standing() != actors.Fresh {
			return false
		}
	}
	return len(j.streams) > 0
}

// Ticking says whether time has passed for the rules of all streams within the last tickingTime.
func (j *Journal) Ticking() bool {
	for _, s := range j.streams {
		if boottime() > time.Duration(s.ticked.Load())+tickingTime {
			return false
		}
	}
	return true
}

const tickingTime = 5 * time.Second

// Flushed implements actors.Journal.
func (j *Journal) Flushed(shard int, generation uint64) {
	s := j.of(shard)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lane(j.places[shard].of)
	if l.flushedUnder != generation || l.flushing == 0 {
		return // it is of an earlier claim
	}
	if l.flushing--; l.flushing == 0 {
		s.act(s.machine.Flushed(s.now(), l.id))
		s.updateHolder(l.id)
	}
}

// Stop hands all shards over, so that the next owners need not wait, and stops. It blocks until no shard is left or the
// context ends, and then until the journal's goroutines have ended. It does nothing before Start.
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

// drain hands all shards over, and blocks until no shard is left, or until the context ends.
func (j *Journal) drain(ctx context.Context) error {
	for _, s := range j.streams {
		s.mu.Lock()
		s.act(s.machine.Leave(s.now()))
		s.mu.Unlock()
	}
	j.tickSoon()
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	for slices.ContainsFunc(j.streams, func(s *stream) bool { return !s.left() }) {
		select {
		case <-t.C:
		case <-ctx.Done():
			return fmt.Errorf("journal: %w before all shards were handed over; the other nodes take the rest over "+
				"when this node's lease is over", ctx.Err())
		}
	}
	return nil
}

// left says whether this node has given all that it had of the stream away, and will take no more.
func (s *stream) left() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.machine.Left()
}

// Heard says whether NATS takes this node's heartbeats. One stream in which the node still has shards is enough. Heard is true also when the node has no
// shards in any stream.
func (j *Journal) Heard() bool {
	silent := false
	for _, s := range j.streams {
		switch {
		case s.left():
		case s.standing() == actors.Fresh:
			return true
		default:
			silent = true
		}
	}
	return !silent
}
