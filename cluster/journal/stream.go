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
	"github.com/nats-io/nats.go/jetstream"

	"lamplight/actors"
	"lamplight/cluster/ownership"
	"lamplight/cluster/subject"
)

// stream drives the rules of one stream of the journal. Streams share nothing but the Journal's table of holders.
//
// Messages are published with mu held, which may wait for NATS's client. Whatever waits for an answer of NATS runs on a
// goroutine of its own, without mu.
type stream struct {
	j      *Journal
	number int

	mu          sync.Mutex // guards all fields up to unreadable, and store.created
	store       *store     // never replaced
	machine     *ownership.Machine
	lanes       []lane        // of the ranges that live here
	waitForRoom []*lane       // lanes with writes that did not fit under maxSending, in order
	sending     int           // messages without an answer
	inFlight    int           // records in them
	maxMessage  int           // bytes
	latency     time.Duration // how long a write takes, smoothed
	clock       int64         // the latest time that the stream has shown, in µs since 1970
	tickets     []uint64      // scratch, one for each shard of a range
	envelope    nats.Msg      // scratch
	namer       namer
	replays     []ownership.Action // ranges that are to be read
	replaying   int                // the number of goroutines that read ranges
	taken       taken
	cursor      map[string]uint64    // by subject.AnyLease and AnyClaim: the sequence up to which they have been read
	synced      bool                 // all leases and claims have been read once
	lastLeases  map[string]lastLease // by other node
	unreadable  map[string]uint64    // by subject of a lease or claim: the sequence of the last one that could not be read

	answerUntil atomic.Int64  // what ownership.Machine.AnswerUntil returned last
	ticked      atomic.Int64  // when tick ran last
	awakeSince  atomic.Int64  // since when pass has run without a pause of stallTime
	refuses     atomic.Bool   // NATS answers and takes no heartbeat: its disk is full, or the stream has no leader
	readSlots   chan struct{} // bounds the claims that are read at a time, so that each gets its answer in time
	lookSignal  chan struct{} // asks watch to look at leases and claims now
}

const (
	maxReplays = 4  // ranges of a stream that are read at a time
	maxReads   = 32 // claims of a stream that are read at its leader at a time
)

func newStream(j *Journal, st *store, number, of int) *stream {
	s := &stream{j: j, number: number, store: st, cursor: map[string]uint64{}, lastLeases: map[string]lastLease{}, unreadable: map[string]uint64{},
		lookSignal: make(chan struct{}, 1), readSlots: make(chan struct{}, maxReads), namer: newNamer()}
	s.maxMessage = min(maxMessage, int(j.cfg.Conn.MaxPayload())/2)
	s.tickets = make([]uint64, actors.Shards)
	s.envelope.Header = nats.Header{jetstream.ExpectedLastSubjSeqHeader: {""}, jetstream.ExpectedLastSubjSeqSubjHeader: {""}}
	var ranges []int
	for id := number; id < st.layout.ranges(); id += of {
		ranges = append(ranges, id)
		l := lane{id: id, claim: st.subject + subject.Claim(id), slots: st.subject + subject.Slots(id)}
		s.lanes = append(s.lanes, l)
	}
	for shard, at := range j.places {
		if at.of%of == number {
			l := s.lane(at.of)
			l.shards = append(l.shards, shard)
		}
	}
	for i := range s.lanes {
		s.lanes[i].issued, s.lanes[i].parts = make([]uint64, len(s.lanes[i].shards)), make([]uint64, len(s.lanes[i].shards))
	}
	s.machine = ownership.New(ownership.Config{Node: j.cfg.Node, Ranges: ranges, Epoch: st.created.UnixNano(), Quiet: j.cfg.Quiet,
		Random: random, Owner: j.cfg.Owner})
	return s
}

// lane returns the lane of a range that lives here.
func (s *stream) lane(id int) *lane { return &s.lanes[id/s.store.layout.streams] }

// now reads the clock of the rules, which also counts while the machine is suspended.
func (s *stream) now() ownership.Time { return boottime() }

// pass tells the rules that time passes, and gives up writes without an answer. It also notes when it runs: a pause shows that the process
// was frozen. It returns how long it need not be called again.
func (s *stream) pass() time.Duration {
	s.store.expire(time.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.now()
	if at > time.Duration(s.ticked.Load())+stallTime {
		s.awakeSince.Store(int64(at))
	}
	s.ticked.Store(int64(at))
	s.act(s.machine.Tick(at))
	return s.machine.Rest(at)
}

// act carries out the machine's Actions. The caller holds s.mu; an Action that waits for an answer goes to a goroutine.
func (s *stream) act(actions []ownership.Action) {
	for _, a := range actions {
		s.actOne(a)
	}
	s.answerUntil.Store(int64(s.machine.AnswerUntil()))
}

// actOne carries out one Action. The caller holds s.mu.
func (s *stream) actOne(a ownership.Action) {
	switch a.Kind {
	case ownership.ReadLease:
		s.j.done.Go(func() { s.readLease(a) })
		return
	case ownership.WriteLease:
		s.writeLease(a)
		return
	case ownership.BeginAnew:
		s.j.log.Error("the journal's stream lost the newest messages that this node knew of, for example by a power "+
			"cut of its NATS server; those changes are gone, and all its shards are claimed and loaded anew",
			"stream", s.store.name)
		s.beginAnew()
		return
	case ownership.Refuse:
		s.j.cfg.Fatal(fmt.Errorf("another live process serves as node %q (incarnation %s): stop it, or start this one "+
			"with another --node", a.Node, a.Lease.Incarnation))
		return
	}
	l := s.lane(a.Range)
	defer s.updateHolder(a.Range)
	switch a.Kind {
	case ownership.ReadClaim:
		s.j.done.Go(func() { s.readClaim(a) })
	case ownership.WriteClaim:
		if !a.Claim.Released && l.generation == 0 && l.claimed.IsZero() {
			l.claimed, l.why = time.Now(), s.whyClaimed(a.Range)
		}
		s.writeClaim(a)
	case ownership.Replay:
		s.replays = append(s.replays, a)
		if s.replaying < maxReplays {
			s.replaying++
			s.j.done.Go(s.replayer)
		}
	case ownership.Open:
		// Only Replayed asks for it, and replay carries it out, because it has the records.
	case ownership.Resume:
		l.Resume(a.Expect)
		l.flushing, l.flushedUnder = len(l.shards), a.Claim.Generation
		for _, shard := range l.shards {
			s.j.shards.Resume(shard, s.claimOf(a), a.End)
		}
		s.send(l)
	case ownership.Pause:
		l.Pause()
		for _, shard := range l.shards {
			s.j.shards.Pause(shard)
		}
	case ownership.Flush:
		s.j.log.Debug("a range of shards is being handed over", "range", a.Range, "to", a.Node)
		l.flushing = len(l.shards)
		for _, shard := range l.shards {
			s.j.shards.Flush(shard)
		}
	case ownership.Drop:
		s.drop(l)
	}
}

// drop takes a range from this node. The caller holds s.mu.
func (s *stream) drop(l *lane) {
	s.j.opened[l.id].Store(0)
	l.generation, l.claimed, l.ring, l.message = 0, time.Time{}, nil, nil
	doubt := s.tickets[:len(l.shards)]
	copy(doubt, l.parts)
	for _, w := range l.Close() {
		doubt[w.index] = max(doubt[w.index], w.ticket)
	}
	for i, shard := range l.shards {
		s.j.shards.Drop(shard, doubt[i])
	}
}

// whyClaimed says why a range that this node does not hold is claimed. The caller holds s.mu.
func (s *stream) whyClaimed(id int) string {
	before, sequence := s.machine.Claim(id)
	switch {
	case sequence == 0:
		return "no node held them before"
	case before.Unreadable:
		return "their claims can't be read"
	case before.Released:
		return "they were handed over by " + before.Node
	case before.Node == s.j.cfg.Node:
		return "this node held them before it was started again or expelled"
	}
	return before.Node + " was expelled, was started again, or has left"
}

// taken is the takeovers since the last line of the log about them.
type taken struct {
	begun time.Time      // when the first of them began
	why   map[string]int // their number by reason
}

// logTaken logs the takeovers when no shard waits to be read any more. The caller holds s.mu.
func (s *stream) logTaken() {
	if s.replaying > 0 {
		return
	}
	for why, shards := range s.taken.why {
		s.j.log.Info("this node has taken shards over", "shards", shards, "reason", why, "took", time.Since(s.taken.begun).Round(time.Millisecond), "stream", s.store.name)
	}
	s.taken = taken{}
}

// claimOf returns what a shard is told of the claim under which it is opened or goes on.
func (s *stream) claimOf(a ownership.Action) actors.Claim {
	return actors.Claim{Generation: a.Claim.Generation, Epoch: s.store.created}
}

// updateHolder makes known to Holder and Mine, which take no lock, what the machine says of a range. The caller holds
// s.mu.
func (s *stream) updateHolder(id int) {
	s.j.holders[id].Store(&holder{node: s.machine.Holder(id), mine: s.machine.Mine(id)})
}

// writeLease carries out the Action WriteLease. The caller holds s.mu.
func (s *stream) writeLease(a ownership.Action) {
	data := encodeLease(s.j.cfg.Writes(), a.Lease)
	s.conditional(subject.Lease(a.Node), data, a.Expect, ownership.Retry, func(seq uint64, o ownership.Outcome) {
		if a.Node == s.j.cfg.Node && o != ownership.Unknown {
			s.noteRefusal(o == ownership.Busy)
		}
		if o == ownership.Accepted {
			s.announce(subject.Lease(a.Node), data, seq)
			if a.Lease.Expelled {
				s.j.metrics.expelled.Inc()
				s.j.log.Warn("this node expelled a node whose lease was silent; the other nodes take its shards over",
					"node", a.Node, "incarnation", a.Lease.Incarnation, "stream", s.store.name)
			}
		}
		s.act(s.machine.LeaseWritten(s.now(), a.Sent, a.Lease, seq, o))
	})
}

// noteRefusal notes whether NATS refuses our heartbeats in this stream, and logs when that changes.
func (s *stream) noteRefusal(refuses bool) {
	if s.refuses.Swap(refuses) == refuses {
		return
	}
	if refuses {
		s.j.log.Warn("the journal no longer accepts writes in a stream: its NATS server is out of space, or the stream "+
			"has no leader; free disk space on the NATS server, or find out why the stream has no leader; until then "+
			"writes are answered 503", "stream", s.store.name)
	} else {
		s.j.log.Warn("the journal accepts writes again", "stream", s.store.name)
	}
}

// writeClaim carries out the Action WriteClaim. The caller holds s.mu.
func (s *stream) writeClaim(a ownership.Action) {
	name, data := subject.Claim(a.Range), encodeClaim(s.j.cfg.Writes(), a.Claim)
	s.conditional(name, data, a.Expect, s.answerTimeout(), func(seq uint64, o ownership.Outcome) {
		if o == ownership.Accepted {
			s.announce(name, data, seq)
			if !a.Claim.Released {
				s.j.metrics.claims.Inc()
			}
		}
		s.act(s.machine.ClaimWritten(s.now(), a.Range, a.Claim, seq, o))
		s.updateHolder(a.Range)
	})
}

// conditional writes a lease or claim if expect is still the last sequence of its subject. The caller holds s.mu.
// done is called later, with s.mu held, or not at all if the stream is another one by then.
func (s *stream) conditional(name string, data []byte, expect uint64, within time.Duration, done func(uint64, ownership.Outcome)) {
	m := &nats.Msg{Subject: s.store.subject + name, Data: data,
		Header: nats.Header{jetstream.ExpectedLastSubjSeqHeader: []string{strconv.FormatUint(expect, 10)}}}
	created := s.store.created
	s.store.publish(m, within, func(seq uint64, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case !s.store.created.Equal(created):
		case errors.Is(err, errNoLeader):
			done(seq, ownership.Unknown) // so that the rules read what stands
		default:
			done(seq, outcome(err))
		}
	})
}

// atLeader reads a lease or claim at the stream's leader, and checks that the stream is still the same. If it is another
// one, the rules are told so; otherwise give is called, with s.mu held, unless the journal has stopped. atLeader
// blocks.
func (s *stream) atLeader(name string, give func(data []byte, sequence uint64, at time.Time, err error)) {
	s.mu.Lock()
	within, known := 2*s.answerTimeout(), s.store.created
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(s.j.ctx, within)
	defer cancel()
	created, data, sequence, at, err := s.store.atLeader(ctx, name)
	if !created.IsZero() && !created.Equal(known) {
		if _, restoring := Exists(ctx, s.j.cfg); restoring != nil { // nobody may write to it before the restore has ended
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
		ok := err == nil
		if ok && seq > 0 {
			l, ok = s.readableLease(a.Node, data, seq, at)
		}
		s.act(s.machine.LeaseRead(s.now(), l, seq, at, ok))
	})
}

func (s *stream) readClaim(a ownership.Action) {
	s.readSlots <- struct{}{}
	defer func() { <-s.readSlots }()
	s.atLeader(subject.Claim(a.Range), func(data []byte, seq uint64, at time.Time, err error) {
		var c ownership.Claim
		ok := err == nil
		if ok && seq > 0 {
			c, ok = s.readableClaim(a.Range, data, seq, at)
		}
		if ok {
			s.act(s.machine.ClaimRead(s.now(), a.Range, c, seq, at, true))
			s.updateHolder(a.Range)
			return
		}
		time.AfterFunc(50*time.Millisecond, func() { // the machine asks again at once, so it is told only after a pause
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.j.ctx.Err() == nil {
				s.act(s.machine.ClaimRead(s.now(), a.Range, c, 0, at, false))
			}
		})
	})
}

// recreated begins anew in another stream of the same name (rule 10). The caller holds s.mu.
func (s *stream) recreated(created time.Time) {
	s.j.log.Error("the journal's stream was deleted and made again; all that it held is gone, and all its shards are "+
		"claimed anew; restore a backup if that was not intended", "stream", s.store.name)
	s.store.created = created
	s.beginAnew()
}

// beginAnew drops all shards and begins anew in the stream that is there. The caller holds s.mu.
func (s *stream) beginAnew() {
	clear(s.cursor)
	s.store.forgetAcknowledged()
	clear(s.unreadable)
	s.synced, s.clock = false, 0
	s.act(s.machine.Recreated(s.now(), s.store.created.UnixNano()))
	s.lookNow()
}
