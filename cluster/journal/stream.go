package journal

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/cluster/ownership"
	"lamplight/cluster/subject"
)

// stream is one stream of the journal with the rules that hold in it: a world of its own.
type stream struct {
	j *Journal

	mu         sync.Mutex // guards all below; nothing that blocks happens under it
	store      *store
	machine    *ownership.Machine
	lanes      []lane // of the shards that live here
	starved    []*lane
	inFlight   int
	latency    time.Duration // of a write, smoothed
	batches    int           // atomic ones in flight
	batchNames uint64        // made so far
	envelope   envelope
	replays    []ownership.Action
	replaying  int
	cursor     map[string]uint64 // up to where leases and claims have been read
	synced     bool
	alive      map[string]alive // the other nodes

	until   atomic.Int64  // AnswerUntil
	ticked  atomic.Int64  // when time passed last
	awake   atomic.Int64  // since when it has done so without a stall
	refuses atomic.Bool   // the journal answers, but takes no heartbeat: a full disk, a store without leader
	reads   chan struct{} // bounds claims that are read at a time, so that each gets its answer in time
	look    chan struct{} // asks for a look at leases and claims now
}

// How many shards of a stream are read at a time, and how many claims at its leader.
const (
	maxReplays = 4
	maxReads   = 32
)

func newStream(j *Journal, st *store, number, of int) *stream {
	s := &stream{j: j, store: st, cursor: map[string]uint64{}, alive: map[string]alive{}, look: make(chan struct{}, 1), reads: make(chan struct{}, maxReads)}
	var shards []int
	for id := number; id < actors.Shards; id += of {
		shards = append(shards, id)
		s.lanes = append(s.lanes, lane{shard: id, claim: st.subject + subject.Claim(id)})
	}
	s.machine = ownership.New(ownership.Config{Node: j.cfg.Node, Shards: shards, Epoch: st.created.UnixNano(), Quiet: j.cfg.Quiet,
		Random: random, Owner: j.cfg.Owner})
	return s
}

func (s *stream) lane(shard int) *lane { return &s.lanes[shard/len(s.j.streams)] }

// now is a clock that counts suspended time (docs/contract/journal.md, rule 1).
func (s *stream) now() ownership.Time { return boottime() }

// tick lets time pass until the journal stops.
func (s *stream) tick() {
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-s.j.ctx.Done():
			return
		case now := <-t.C:
			s.store.expire(now)
			s.mu.Lock()
			at := s.now()
			if at > time.Duration(s.ticked.Load())+stall {
				s.awake.Store(int64(at))
			}
			s.ticked.Store(int64(at))
			s.act(s.machine.Tick(at))
			s.mu.Unlock()
		}
	}
}

// act does what the machine asks. The lock is held; what blocks goes to a goroutine.
func (s *stream) act(actions []ownership.Action) {
	for _, a := range actions {
		s.one(a)
	}
	s.until.Store(int64(s.machine.AnswerUntil()))
}

func (s *stream) one(a ownership.Action) {
	switch a.Kind {
	case ownership.ReadLease:
		s.j.done.Go(func() { s.readLease(a) })
		return
	case ownership.WriteLease:
		s.writeLease(a)
		return
	case ownership.Anew:
		s.j.log.Error("the journal's stream holds less than it did; what it lost is gone, and its shards are claimed anew", "stream", s.store.name)
		s.anew()
		return
	case ownership.Refuse:
		s.j.cfg.Fatal(fmt.Errorf("another live process is node %q (incarnation %s): stop it, or start this one with another --node", a.Node, a.Lease.Incarnation))
		return
	}
	l := s.lane(a.Shard)
	defer s.note(a.Shard)
	switch a.Kind {
	case ownership.ReadClaim:
		s.j.done.Go(func() { s.readClaim(a) })
	case ownership.WriteClaim:
		s.writeClaim(a)
	case ownership.Replay:
		s.replays = append(s.replays, a)
		if s.replaying < maxReplays {
			s.replaying++
			s.j.done.Go(s.replayer)
		}
	case ownership.Open:
		// The shard was opened with its records by replay.
	case ownership.Resume:
		l.Resume(a.Expect)
		s.j.shards.Resume(a.Shard, s.claimOf(a), a.End)
		s.send(l)
	case ownership.Pause:
		l.Pause()
		s.j.shards.Pause(a.Shard)
	case ownership.Flush:
		s.j.log.Debug("a shard is handed over", "shard", a.Shard, "to", a.Node)
		s.j.shards.Flush(a.Shard)
	case ownership.Drop:
		s.j.opened[a.Shard].Store(0)
		l.life = 0
		s.j.shards.Drop(a.Shard, l.Close())
	}
}

func (s *stream) claimOf(a ownership.Action) actors.Claim {
	return actors.Claim{Generation: a.Claim.Generation, Epoch: s.store.created}
}

// note makes what the claims say of a shard known to those who ask without the lock.
func (s *stream) note(shard int) {
	s.j.holders[shard].Store(&holder{node: s.machine.Holder(shard), mine: s.machine.Mine(shard)})
}

func (s *stream) writeLease(a ownership.Action) {
	data := encodeLease(s.j.cfg.Writes(), a.Lease)
	s.conditional(subject.Lease(a.Node), data, a.Expect, ownership.Repeat, func(seq uint64, o ownership.Outcome) {
		if a.Node == s.j.cfg.Node && o != ownership.Unknown && s.refuses.Swap(o == ownership.Busy) != (o == ownership.Busy) {
			s.j.log.Warn("whether the journal takes writes has changed", "refuses", o == ownership.Busy)
		}
		if o == ownership.Accepted {
			s.tell(subject.Lease(a.Node), data, seq)
			if a.Lease.Expelled {
				s.j.metrics.expelled.Inc()
				s.j.log.Warn("a silent node is expelled", "node", a.Node, "incarnation", a.Lease.Incarnation)
			}
		}
		s.act(s.machine.LeaseWritten(s.now(), a.Sent, a.Lease, seq, o))
	})
}

func (s *stream) writeClaim(a ownership.Action) {
	name, data := subject.Claim(a.Shard), encodeClaim(s.j.cfg.Writes(), a.Claim)
	s.conditional(name, data, a.Expect, s.patience(), func(seq uint64, o ownership.Outcome) {
		if o == ownership.Accepted {
			s.tell(name, data, seq)
			if !a.Claim.Released {
				s.j.metrics.claims.Inc()
			}
		}
		s.act(s.machine.ClaimWritten(s.now(), a.Shard, a.Claim, seq, o))
		s.note(a.Shard)
	})
}

// conditional writes a lease or claim if expect is still its subject's last sequence. The lock is held when done is
// called.
func (s *stream) conditional(name string, data []byte, expect uint64, within time.Duration, done func(uint64, ownership.Outcome)) {
	m := &nats.Msg{Subject: s.store.subject + name, Data: data,
		Header: nats.Header{"Nats-Expected-Last-Subject-Sequence": []string{strconv.FormatUint(expect, 10)}}}
	created := s.store.created
	s.store.publish(m, within, func(seq uint64, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case !s.store.created.Equal(created):
		case errors.Is(err, errAbsent):
			done(seq, ownership.Unknown) // look at it again
		default:
			done(seq, outcome(err))
		}
	})
}

// atLeader reads a lease or claim at the stream's leader, and whether it is still the same stream. give is called
// with the lock held, unless the journal was stopped or the stream is another one.
func (s *stream) atLeader(name string, give func(data []byte, sequence uint64, at time.Time, err error)) {
	s.mu.Lock()
	within, known := 2*s.patience(), s.store.created
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(s.j.ctx, within)
	defer cancel()
	created, data, sequence, at, err := s.store.atLeader(ctx, name)
	if !created.IsZero() && !created.Equal(known) {
		if _, restoring := Restored(ctx, s.j.cfg); restoring != nil { // not to be touched before it is whole
			created, err = time.Time{}, restoring
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.j.ctx.Err() != nil:
	case !created.IsZero() && !created.Equal(s.store.created):
		s.recreated(created)
	default:
		give(data, sequence, at, err)
	}
}

func (s *stream) readLease(a ownership.Action) {
	s.atLeader(subject.Lease(a.Node), func(data []byte, seq uint64, at time.Time, err error) {
		var l ownership.Lease
		if seq > 0 {
			l, err = decodeLease(data)
		}
		s.act(s.machine.LeaseRead(s.now(), l, seq, at, err == nil))
	})
}

func (s *stream) readClaim(a ownership.Action) {
	s.reads <- struct{}{}
	defer func() { <-s.reads }()
	s.atLeader(subject.Claim(a.Shard), func(data []byte, seq uint64, at time.Time, err error) {
		var c ownership.Claim
		if seq > 0 {
			c, err = decodeClaim(data)
		}
		if err == nil {
			s.act(s.machine.ClaimRead(s.now(), a.Shard, c, seq, at, true))
			s.note(a.Shard)
			return
		}
		time.AfterFunc(50*time.Millisecond, func() { // not at once again
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.j.ctx.Err() == nil {
				s.act(s.machine.ClaimRead(s.now(), a.Shard, c, 0, at, false))
			}
		})
	})
}

// recreated begins anew in another stream of the same name (docs/contract/journal.md, rule 10). The lock is held.
func (s *stream) recreated(created time.Time) {
	s.j.log.Error("the journal's stream was re-created; all that it held is gone, and its shards are claimed anew", "stream", s.store.name)
	s.store.created = created
	s.anew()
}

// anew begins anew in the stream that is there. The lock is held.
func (s *stream) anew() {
	clear(s.cursor)
	s.synced = false
	s.act(s.machine.Recreated(s.now(), s.store.created.UnixNano()))
	s.lookNow()
}
