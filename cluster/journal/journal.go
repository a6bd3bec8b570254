package journal

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/ownership"
)

// Shards is what the journal tells the shards of; actors.System is one.
type Shards interface {
	Open(shard int, c actors.Claim, records []actors.Stored, since time.Time, all bool)
	Pause(shard int)
	Resume(shard int, c actors.Claim)
	Drop(shard int, err error)
	Durable(shard int, ticket uint64)
}

// Config is what a Journal needs.
type Config struct {
	Conn       *nats.Conn // without publish retries and with a small or no reconnect buffer
	Prefix     string     // of all subjects, with its dot; "": none
	Node       string
	Memory     bool // --storage memory
	Replicas   int
	Quiet      time.Duration
	Owner      func(shard int, nodes []string) string
	Fatal      func(error) // a live node of the same name exists
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

	mu          sync.Mutex // guards all below; nothing that blocks happens under it
	store       *store
	machine     *ownership.Machine
	lanes       [actors.Shards]lane
	starved     []*lane
	inFlight    int
	batches     uint64 // made so far, for their names
	openBatches int

	until   atomic.Int64 // AnswerUntil
	serving atomic.Int32
	refuses atomic.Bool   // the journal answers, but takes no heartbeat: a full disk, a store without leader
	readers chan struct{} // bounds replays at a time
	stop    context.CancelFunc
	ctx     context.Context
	done    sync.WaitGroup
}

// New makes a Journal that has not started.
func New(c Config) *Journal {
	return &Journal{cfg: c, log: c.Log.With("part", "journal"), metrics: newMetrics(c.Registerer), readers: make(chan struct{}, 4)}
}

// Start opens the stream and begins to claim. The shards hear of what follows.
func (j *Journal) Start(ctx context.Context, shards Shards) error {
	st, err := openStore(ctx, j.cfg.Conn, storeConfig{prefix: j.cfg.Prefix, memory: j.cfg.Memory, replicas: j.cfg.Replicas})
	if err != nil {
		return err
	}
	if err := st.start(); err != nil {
		return err
	}
	j.shards, j.store = shards, st
	all := make([]int, actors.Shards)
	for i := range all {
		all[i] = i
		j.lanes[i] = lane{shard: i, subject: st.subject + strconv.Itoa(i) + ".claim"}
	}
	j.machine = ownership.New(ownership.Config{Node: j.cfg.Node, Shards: all, Epoch: st.created.UnixNano(), Quiet: j.cfg.Quiet,
		Random: random, Owner: j.cfg.Owner, Highest: func(s int) uint32 { return j.lanes[s].highest }})
	j.incarnation = j.machine.Incarnation()
	j.ctx, j.stop = context.WithCancel(context.Background())
	if err := j.watch(ctx); err != nil {
		return err
	}
	j.mu.Lock()
	j.act(j.machine.Start(j.now()))
	j.mu.Unlock()
	j.done.Go(j.tick)
	return nil
}

func random() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return binary.LittleEndian.Uint64(b[:])
}

// now is a clock that counts suspended time (JOURNAL.md rule 1).
func (j *Journal) now() ownership.Time { return boottime() }

func boottime() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &t)
	return time.Duration(t.Nano())
}

// Epoch is the stream's creation time.
func (j *Journal) Epoch() time.Time { return j.store.created }

// Incarnation names this start of the node.
func (j *Journal) Incarnation() string { return j.incarnation }

// Serving is how many shards are ours and open.
func (j *Journal) Serving() int { return int(j.serving.Load()) }

// Members says which nodes membership shows.
func (j *Journal) Members(nodes []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.act(j.machine.Members(j.now(), nodes))
}

// Standing implements actors.Journal.
func (j *Journal) Standing() actors.Standing {
	switch {
	case int64(boottime()) < j.until.Load():
		return actors.Fresh
	case !j.cfg.Conn.IsConnected() || j.refuses.Load():
		return actors.CutOff
	}
	return actors.Unsure
}

func (j *Journal) tick() {
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-j.ctx.Done():
			return
		case now := <-t.C:
			j.store.expire(now)
			j.mu.Lock()
			j.act(j.machine.Tick(j.now()))
			j.mu.Unlock()
		}
	}
}

// watch follows every lease and claim of the stream.
func (j *Journal) watch(ctx context.Context) error {
	consumer, err := j.store.js.OrderedConsumer(ctx, j.store.name, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{j.store.subject + "lease.*", j.store.subject + "*.claim"}, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy})
	if err != nil {
		return err
	}
	info, err := consumer.Info(ctx)
	if err != nil {
		return err
	}
	left := info.NumPending
	synced := left == 0
	following, err := consumer.Consume(func(m jetstream.Msg) {
		meta, err := m.Metadata()
		if err != nil {
			return
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		j.seen(strings.TrimPrefix(m.Subject(), j.store.subject), m.Data(), meta.Sequence.Stream, meta.Timestamp)
		if !synced && meta.NumPending == 0 {
			synced = true
			j.act(j.machine.Synced(j.now()))
		}
	})
	if err != nil {
		return err
	}
	j.done.Go(func() {
		<-j.ctx.Done()
		following.Stop()
	})
	if synced {
		j.mu.Lock()
		j.act(j.machine.Synced(j.now()))
		j.mu.Unlock()
	}
	return nil
}

func (j *Journal) seen(subject string, data []byte, seq uint64, at time.Time) {
	if strings.HasPrefix(subject, "lease.") {
		l, err := decodeLease(data)
		if err != nil {
			j.log.Error("a lease can't be read", "subject", subject, "err", err)
			return
		}
		j.act(j.machine.LeaseSeen(j.now(), l, seq, at))
		return
	}
	shard, ok := strings.CutSuffix(subject, ".claim")
	id, err := strconv.Atoi(shard)
	if !ok || err != nil || id < 0 || id >= actors.Shards {
		return
	}
	c, err := decodeClaim(data)
	if err != nil {
		j.log.Error("a claim can't be read", "shard", id, "err", err)
		return
	}
	j.act(j.machine.ClaimSeen(j.now(), id, c, seq, at))
}

// act does what the machine asks. The lock is held; what blocks goes to a goroutine.
func (j *Journal) act(actions []ownership.Action) {
	for _, a := range actions {
		j.one(a)
	}
	j.until.Store(int64(j.machine.AnswerUntil()))
}

func (j *Journal) one(a ownership.Action) {
	l := &j.lanes[a.Shard]
	switch a.Kind {
	case ownership.ReadLease:
		j.done.Go(func() { j.readLease(a) })
	case ownership.WriteLease:
		sent := j.now()
		j.conditional("lease."+encodeName(a.Node), encodeLease(a.Lease), a.Expect, ownership.Repeat, func(seq uint64, o ownership.Outcome) {
			if a.Node == j.cfg.Node && o != ownership.Unknown && j.refuses.Swap(o == ownership.Busy) != (o == ownership.Busy) {
				j.log.Warn("whether the journal takes writes has changed", "refuses", o == ownership.Busy)
			}
			j.act(j.machine.LeaseWritten(j.now(), sent, a.Lease, seq, o))
		})
	case ownership.ReadClaim:
		j.done.Go(func() { j.readClaim(a) })
	case ownership.WriteClaim:
		j.conditional(strconv.Itoa(a.Shard)+".claim", encodeClaim(a.Claim), a.Expect, writeTimeout, func(seq uint64, o ownership.Outcome) {
			j.act(j.machine.ClaimWritten(j.now(), a.Shard, a.Claim, seq, o, time.Now()))
		})
	case ownership.Replay:
		j.done.Go(func() { j.replay(a) })
	case ownership.Open:
		// The shard was opened with its records by replay.
	case ownership.Resume:
		l.reopen(a.Claim, a.Expect)
		j.shards.Resume(a.Shard, j.claim(a.Claim))
		j.send(l)
	case ownership.Pause:
		l.open, l.spent, l.notify = false, true, false
		j.shards.Pause(a.Shard)
	case ownership.Drop:
		if l.open || l.spent {
			j.serving.Add(-1)
		}
		l.close()
		j.shards.Drop(a.Shard, actors.ErrNotMine)
	case ownership.Refuse:
		j.cfg.Fatal(fmt.Errorf("another live process is node %q (incarnation %s): stop it, or start this one with another --node", a.Node, a.Lease.Incarnation))
	}
}

func (j *Journal) claim(c ownership.Claim) actors.Claim {
	return actors.Claim{Generation: c.Generation, Epoch: j.store.created}
}

// conditional writes a lease or claim if expect is still its subject's last sequence.
func (j *Journal) conditional(subject string, data []byte, expect uint64, within time.Duration, done func(uint64, ownership.Outcome)) {
	m := &nats.Msg{Subject: j.store.subject + subject, Data: data,
		Header: nats.Header{"Nats-Expected-Last-Subject-Sequence": []string{strconv.FormatUint(expect, 10)}}}
	j.store.publish(m, within, func(seq uint64, err error) {
		o := ownership.Busy
		switch {
		case err == nil:
			o = ownership.Accepted
		case errors.Is(err, errFenced):
			o = ownership.Refused
		case errors.Is(err, errUnknown):
			o = ownership.Unknown
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		done(seq, o)
	})
}

func (j *Journal) readLease(a ownership.Action) {
	ctx, cancel := context.WithTimeout(j.ctx, 2*time.Second)
	defer cancel()
	data, seq, _, err := j.store.atLeader(ctx, "lease."+encodeName(a.Node))
	var l ownership.Lease
	if err == nil {
		l, err = decodeLease(data)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ctx.Err() == nil {
		j.act(j.machine.LeaseRead(j.now(), l, seq, err == nil || errors.Is(err, errMissing)))
	}
}

func (j *Journal) readClaim(a ownership.Action) {
	ctx, cancel := context.WithTimeout(j.ctx, 2*time.Second)
	defer cancel()
	data, seq, at, err := j.store.atLeader(ctx, strconv.Itoa(a.Shard)+".claim")
	var c ownership.Claim
	if err == nil {
		c, err = decodeClaim(data)
	}
	ok := err == nil || errors.Is(err, errMissing)
	if !ok { // not at once again
		select {
		case <-time.After(50 * time.Millisecond):
		case <-j.ctx.Done():
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ctx.Err() == nil {
		j.act(j.machine.ClaimRead(j.now(), a.Shard, c, seq, at, ok))
	}
}

// replay reads a shard until the answer covers the claim, and opens it.
func (j *Journal) replay(a ownership.Action) {
	select {
	case j.readers <- struct{}{}:
		defer func() { <-j.readers }()
	case <-j.ctx.Done():
		return
	}
	for j.ctx.Err() == nil {
		records, claim, seq, err := j.readShard(a.Shard)
		j.mu.Lock()
		ok, newer := j.machine.Covers(a.Claim, a.Expect, claim, seq)
		if err == nil && ok {
			for _, act := range j.machine.Replayed(j.now(), a.Shard, a.Claim) {
				l := &j.lanes[a.Shard]
				l.reopen(act.Claim, act.Expect)
				j.serving.Add(1)
				j.shards.Open(a.Shard, j.claim(act.Claim), records, act.Since, act.All)
			}
			j.mu.Unlock()
			return
		}
		j.mu.Unlock()
		if err == nil && newer {
			return // the stream will show whose it is
		}
		if err != nil {
			j.log.Warn("a shard can't be read yet", "shard", a.Shard, "err", err)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-j.ctx.Done():
		}
	}
}

// readShard reads a shard's records together with its claim: whole if it is small, else by its 16 buckets.
func (j *Journal) readShard(shard int) (records []actors.Stored, claim ownership.Claim, seq uint64, err error) {
	ctx, cancel := context.WithTimeout(j.ctx, 10*time.Second)
	defer cancel()
	base := strconv.Itoa(shard) + "."
	filters := [][]string{{base + "claim", base + "*.*.*"}}
	found, err := j.store.read(ctx, filters[0]...)
	if errors.Is(err, errTooMany) {
		found, err = nil, nil
		for b := range 16 {
			part, perr := j.bucket(ctx, base, b)
			if perr != nil {
				return nil, claim, 0, perr
			}
			found = append(found, part...)
		}
	}
	if err != nil {
		return nil, claim, 0, err
	}
	claims := 0
	for _, m := range found {
		subject, at, stamp := stored(m)
		name := strings.TrimPrefix(subject, j.store.subject+base)
		if name == "claim" {
			c, cerr := decodeClaim(m.Data)
			if cerr != nil {
				return nil, claim, 0, cerr
			}
			if claims == 0 || at < seq { // of several parts, the oldest claim says what all of them cover
				claim, seq = c, at
			}
			claims++
			continue
		}
		if len(name) > 4 && name[1] == '.' && name[3] == '.' {
			records = append(records, actors.Stored{Kind: presence.Kind(name[2]), Data: m.Data, At: stamp})
		}
	}
	return records, claim, seq, nil
}

// bucket reads one of the 16 buckets of a shard, in pages if even that is too much for one answer.
func (j *Journal) bucket(ctx context.Context, base string, b int) ([]*nats.Msg, error) {
	filter := base + strconv.FormatInt(int64(b), 16) + ".*.*"
	found, err := j.store.read(ctx, base+"claim", filter)
	if errors.Is(err, errTooMany) {
		if found, err = j.store.pages(ctx, filter); err != nil {
			return nil, err
		}
		claim, cerr := j.store.read(ctx, base+"claim") // last: what was read before is at least as new as this claim
		return append(found, claim...), cerr
	}
	return found, err
}

// Reload implements actors.Journal.
func (j *Journal) Reload(shard int, give func([]actors.Stored, error)) {
	j.done.Go(func() {
		records, _, _, err := j.readShard(shard)
		give(records, err)
	})
}

// Close gives all shards up, so that the next owner need not wait, and stops.
func (j *Journal) Close(ctx context.Context) error {
	if j.stop == nil {
		return nil
	}
	err := j.drain(ctx)
	j.stop()
	j.done.Wait()
	j.store.close()
	return err
}

func (j *Journal) drain(ctx context.Context) error {
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	leaving := false
	for {
		j.mu.Lock()
		idle := j.inFlight == 0
		for i := range j.lanes {
			idle = idle && len(j.lanes[i].pending) == 0
		}
		if idle && !leaving {
			leaving = true
			j.act(j.machine.Leave(j.now()))
		}
		left := j.machine.Left()
		j.mu.Unlock()
		if left {
			return nil
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return fmt.Errorf("journal: %w before all shards were given up; the next start takes them over", ctx.Err())
		}
	}
}

// encodeName makes a node's name one token of a subject.
func encodeName(s string) string {
	return strings.NewReplacer("%", "%25", ".", "%2E", " ", "+", "*", "%2A", ">", "%3E").Replace(s)
}

type metrics struct{ unknown, fenced, busy prometheus.Counter }

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "lamplight_journal_" + name, Help: help})
		r.MustRegister(c)
		return c
	}
	return &metrics{unknown: counter("unknown_total", "Writes without an answer; each spends a claim."),
		fenced: counter("fenced_total", "Groups of writes refused because the claim is another's."),
		busy:   counter("busy_total", "Groups of writes that the journal refused for now.")}
}
