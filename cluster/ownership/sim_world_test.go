package ownership

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"

	"lamplight/cluster/ring"
)

// sim plays one schedule: virtual time, two streams, three nodes, an edge, clients and faults. All chance comes from its
// seed, so that a seed can be played again.
type sim struct {
	now     Time
	rng     *rand.Rand
	off     simOff
	events  events
	count   uint64 // of events so far
	streams []*stream
	nodes   []*simNode
	calm    bool // there are no more faults
	check   checker
	nonce   uint64 // the id of the last write

	silentAtEnd bool     // a source falls silent before the end
	trace       []string // the story of the schedule, when tracing is on
	tracing     bool
}

// simOff switches rules off: those of the Machine, and those that its caller keeps.
type simOff struct {
	Off
	Ring        ring.Off // what package ring keeps
	Fence       bool     // rule 4: records are written without a condition
	SpendClaim  bool     // rule 5: an unknown outcome does not spend the claim
	CommitFirst bool     // rule 7: answers and NOTIFYs leave before the record is durable

	StaleCommands bool // rule 1: a command that changes nothing is acknowledged without NATS

	KeepFirst  bool // the shards that keep that a switch is gone are asked last, and not first
	Departed   bool // rule 6: a new owner does not learn which switches are gone
	AckEarly   bool // rule 7: what is said of calls, switches and sources is acknowledged before it is durable
	Moment     bool // a switch counts as gone at the moment at which that was heard
	LastMoment bool // of two moments at which a switch was gone that counts which was said last, and not the later one
	WholeTime  bool // a source does not have its whole time again when it could not be heard
}

// event is something that runs at a time; of several at one time, that with the lower n runs first.
type event struct {
	at  Time
	n   uint64
	run func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].n < e[j].n
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(v any)   { *e = append(*e, v.(event)) }
func (e *events) Pop() any {
	last := len(*e) - 1
	v := (*e)[last]
	(*e)[last] = event{}
	*e = (*e)[:last]
	return v
}

func (s *sim) at(t Time, run func()) {
	s.count++
	heap.Push(&s.events, event{max(t, s.now), s.count, run})
}

func (s *sim) after(d Time, run func()) { s.at(s.now+d, run) }

func (s *sim) run(until Time) {
	for len(s.events) > 0 && s.events[0].at <= until && s.check.err == nil {
		e := heap.Pop(&s.events).(event)
		s.now = e.at
		e.run()
	}
	s.now = max(s.now, until)
}

func (s *sim) log(format string, a ...any) {
	if s.tracing {
		s.trace = append(s.trace, fmt.Sprintf("%8.3f  ", s.now.Seconds())+fmt.Sprintf(format, a...))
	}
}

// chance says yes once in n times, never when all is calm.
func (s *sim) chance(n int) bool { return !s.calm && s.rng.IntN(n) == 0 }

func (s *sim) between(a, b Time) Time { return a + Time(s.rng.Int64N(int64(b-a)+1)) }

// wall returns the time of the streams' clock.
func (s *sim) wall() time.Time { return s.wallTime(s.now) }

func (s *sim) wallTime(t Time) time.Time { return time.Unix(1_700_000_000, 0).Add(t) }

// message is a record, a Lease or a Claim in a stream.
type message struct {
	seq     uint64
	subject string
	value   any
	at      time.Time
}

// stream is one stream of the journal as its leader has it. A follower has the stream as it was a while ago (past).
type stream struct {
	sim    *sim
	number int
	epoch  int64
	world  int // counts how often the stream was created
	log    []message
	last   map[string]int // by subject: the index in log
	down   Time           // the stream has no leader until then
	lag    Time           // how far behind followers are, at most

	refused      string // the stream is busy for writes on condition of this subject
	refusedUntil Time
}

// create makes the stream new and empty.
func (st *stream) create() {
	st.world++
	st.epoch = st.sim.wall().UnixNano()
	st.log, st.last = nil, map[string]int{}
}

func (st *stream) sequence(subject string) uint64 {
	if i, ok := st.last[subject]; ok {
		return st.log[i].seq
	}
	return 0
}

// apply does a conditional write at the leader.
func (st *stream) apply(subject string, value any, condition string, expect uint64) (uint64, Outcome) {
	if st.sequence(condition) != expect {
		return 0, Refused
	}
	m := message{uint64(len(st.log) + 1), subject, value, st.sim.wall()}
	if b, slot := value.([]byte); slot {
		st.sim.log("stream %d keeps %d bytes in %s as %d under %d", st.number, len(b), subject, m.seq, expect)
	}
	st.log = append(st.log, m)
	st.last[subject] = len(st.log) - 1
	for _, n := range st.sim.nodes {
		n.deliver(st, m)
	}
	return m.seq, Accepted
}

// past returns the last message of each subject as a follower that lags has it.
func (st *stream) past() map[string]message {
	until := st.sim.wall()
	if st.lag > 0 {
		until = until.Add(-st.sim.between(0, st.lag))
	}
	found := map[string]message{}
	for _, m := range st.log {
		if m.at.After(until) {
			break
		}
		found[m.subject] = m
	}
	return found
}

// faults makes one thing go wrong after the other, until all is calm.
func (s *sim) faults() {
	if s.calm {
		return
	}
	s.after(s.between(200*time.Millisecond, 1500*time.Millisecond), s.faults)
	n := s.nodes[s.rng.IntN(len(s.nodes))]
	st := s.streams[s.rng.IntN(len(s.streams))]
	switch s.rng.IntN(13) {
	case 0, 1:
		if n.alive {
			n.crash()
			s.after(s.between(50*time.Millisecond, 4*time.Second), n.start)
		}
	case 2, 3:
		if s.now >= n.frozen {
			d := s.between(100*time.Millisecond, 4*time.Second)
			s.log("freeze %s for %v", n.name, d)
			n.frozen = s.now + d
		}
	case 4, 5:
		d, other := s.between(200*time.Millisecond, 6*time.Second), s.rng.IntN(2) == 0
		s.log("cut %s from stream %d for %v, from the other one too: %v", n.name, st.number, d, other)
		n.cut[st.number] = max(n.cut[st.number], s.now+d)
		if other {
			n.cut[1-st.number] = max(n.cut[1-st.number], s.now+d)
		}
		if s.rng.IntN(2) == 0 {
			s.log("and from gossip")
			n.deaf = max(n.deaf, s.now+d)
		}
	case 6:
		d := s.between(200*time.Millisecond, 5*time.Second)
		s.log("cut %s from gossip for %v", n.name, d)
		n.deaf = s.now + d
	case 7:
		d := s.between(100*time.Millisecond, 3*time.Second)
		s.log("stream %d without leader for %v", st.number, d)
		st.down = s.now + d
	case 8:
		st.lag = s.between(0, 1500*time.Millisecond)
		s.log("followers of stream %d lag up to %v", st.number, st.lag)
	case 9:
		if n.alive && !n.leaving {
			n.leave()
		}
	case 10:
		if s.rng.IntN(6) == 0 {
			s.log("stream %d is re-created", st.number)
			st.create()
			s.check.forget(st.number)
		}
	case 11: // NATS is busy for a while: it takes a write for one that is still under way
		st.refused, st.refusedUntil = claimSubject(s.rng.IntN(simShards)), s.now+s.between(time.Second, 5*time.Second)
		if s.rng.IntN(3) == 0 {
			st.refused = "lease." + n.name
		}
		s.log("stream %d refuses writes on condition of %s for %v", st.number, st.refused, st.refusedUntil-s.now)
	case 12: // somebody writes what can't be read in the place of a lease or claim
		subject, value := "lease."+n.name, any(Lease{Node: n.name, Unreadable: true})
		if s.rng.IntN(2) == 0 {
			subject, value = claimSubject(st.number+2*s.rng.IntN(2)), Claim{Unreadable: true}
		}
		s.log("%s in stream %d can't be read any more", subject, st.number)
		st.apply(subject, value, subject, st.sequence(subject))
	}
}

// unreadable says whether a message is a lease or claim that can't be read.
func unreadable(value any) bool {
	l, _ := value.(Lease)
	c, _ := value.(Claim)
	return l.Unreadable || c.Unreadable
}

// heal begins no more faults. Those that have begun end by themselves within six seconds.
func (s *sim) heal() {
	s.calm = true
	s.log("calm")
	for _, st := range s.streams {
		st.lag = 0
	}
}
