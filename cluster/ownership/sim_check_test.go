package ownership

import (
	"fmt"
	"slices"
	"time"
)

// An object of the simulation is one extension: a list to which each write appends its id. A read returns the list. So one
// answer contradicts another exactly when neither is the beginning of the other, and old state shows as a list that is too
// short.
type object struct{ shard, ext int }

const (
	simShards     = 4
	simExtensions = 2
)

// checker compares every answer and every NOTIFY with those before it, and keeps the first contradiction.
type checker struct {
	switchHistory
	err     error
	objects map[object]*history
	edge    map[int]seenClaim // by shard: the newest claim from which the edge took a NOTIFY
	began   map[int]seenClaim // by shard: the newest claim under which all subscriptions ended
	acked   int               // writes that were acknowledged
	reads   int               // reads that were answered
	stale   int               // reads that were answered from memory, and marked so, without NATS
	noops   int               // commands that changed nothing and were acknowledged
	told    int               // NOTIFYs that the edge took
	carried int               // bytes that were carried on from older slots
	written int               // bytes of new records
}

// history is what was shown of one object.
type history struct {
	longest []int64 // the longest list that anyone was shown
	floor   int     // the length of a list that has surely been shown by now
	told    []int64 // the list in the last NOTIFY that the edge took
	number  uint32  // the Sequence of that NOTIFY
}

// seenClaim names a claim as an edge sees it.
type seenClaim struct {
	epoch      int64
	generation uint64
}

func newChecker() checker {
	c := checker{objects: map[object]*history{}, edge: map[int]seenClaim{}, began: map[int]seenClaim{}}
	for s := range simShards {
		for e := range simExtensions {
			c.objects[object{s, e}] = &history{}
		}
	}
	return c
}

// forget forgets the objects of a stream that was created again: what it held is gone.
func (c *checker) forget(stream int) {
	c.forgetSwitches(stream)
	for s := range simShards {
		if s%2 == stream {
			for e := range simExtensions {
				c.objects[object{s, e}] = &history{}
			}
		}
	}
}

func (c *checker) fail(format string, a ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, a...)
	}
}

// shown checks a list that someone was shown. floor is the length of a list that had surely been shown when the question
// was asked.
func (c *checker) shown(what string, o object, list []int64, floor int) {
	h := c.objects[o]
	n := min(len(list), len(h.longest))
	if !slices.Equal(list[:n], h.longest[:n]) {
		c.fail("%s of %v contradicts another answer: %v and %v", what, o, list, h.longest)
	}
	if len(list) < floor {
		c.fail("%s of %v is old: %v, though %v had been shown before", what, o, list, h.longest[:floor])
	}
	for i, id := range list {
		if slices.Contains(list[:i], id) {
			c.fail("%s of %v holds a write twice: %v", what, o, list)
		}
	}
	if len(list) > len(h.longest) {
		h.longest = slices.Clone(list)
	}
	h.floor = max(h.floor, len(list))
}

// notified checks a NOTIFY that arrives at the edge.
func (c *checker) notified(o object, epoch int64, generation uint64, number uint32, list []int64) {
	e := c.edge[o.shard]
	if epoch < e.epoch || epoch == e.epoch && generation < e.generation {
		return // an edge drops NOTIFYs of an older claim (rule 8)
	}
	h := c.objects[o]
	if epoch > e.epoch { // another stream: its numbers begin anew (rule 10)
		for x := range simExtensions {
			c.objects[object{o.shard, x}].number = 0
		}
	}
	if b := c.began[o.shard]; b.epoch == epoch && e.generation <= b.generation && generation > b.generation {
		for x := range simExtensions {
			c.objects[object{o.shard, x}].number = 0
		}
	}
	c.edge[o.shard] = seenClaim{epoch, generation}
	if number <= h.number {
		c.fail("Sequence of %v went from %d to %d", o, h.number, number)
	}
	if len(list) < len(h.told) && epoch == e.epoch {
		c.fail("NOTIFY of %v went from %v back to %v", o, h.told, list)
	}
	h.number, h.told = number, slices.Clone(list)
	c.shown("NOTIFY", o, list, 0)
	c.told++
}

// finish checks, after the faults have ended, that every shard has exactly one owner, which holds all that was ever shown
// and has told it.
func (s *sim) finish() {
	for shard := range simShards {
		var owner *simNode
		for _, n := range s.nodes {
			if sh := n.shards[shard]; sh.open {
				if owner != nil {
					s.check.fail("shard %d is open on %s and on %s", shard, owner.name, n.name)
				}
				owner = n
			}
		}
		if owner == nil {
			s.check.fail("shard %d has no owner", shard)
			return
		}
		if m := owner.machines[shard%2]; s.now >= m.AnswerUntil() && !s.off.LeaseCheck {
			s.check.fail("the owner of shard %d has no lease", shard)
		}
		for ext := range simExtensions {
			o := object{shard, ext}
			h, list := s.check.objects[o], owner.shards[shard].lists[ext]
			s.check.shown("the end", o, list, len(h.longest))
			if !slices.Equal(h.told, list) {
				s.check.fail("the last NOTIFY of %v holds %v, the end is %v", o, h.told, list)
			}
		}
	}
	s.finishSwitches()
}

// request is a client's request, on its way through the router.
type request struct {
	object
	id       int64 // of a write, or one of the kinds below
	floor    int   // history.floor when the client asked
	world    int   // stream.world when the client asked
	deadline Time
	done     bool // it was answered

	act   func(*simNode, *simShard) []record // what the owner does, and writes; nil: what id says
	acked func()                             // takes the answer of act
}

// The ids of requests that write nothing.
const (
	readIt    = 0
	tellAgain = -1 // tell the edge again
	confirmIt = -2 // a command that changes nothing: its answer says that the list is what the caller wants
	actIt     = -3 // what request.act does
)

// clients makes requests at random times.
func (s *sim) clients() {
	if s.calm {
		return
	}
	s.after(s.between(time.Millisecond, 60*time.Millisecond), s.clients)
	q := &request{object: object{s.rng.IntN(simShards), s.rng.IntN(simExtensions)}, deadline: s.now + 4*time.Second}
	switch s.rng.IntN(9) {
	case 0, 1:
	case 2:
		q.id = tellAgain
	case 3:
		q.id = confirmIt
	default:
		s.nonce++
		q.id = int64(s.nonce)
	}
	q.floor, q.world = s.check.objects[q.object].floor, s.streams[q.shard%2].world
	s.route(q)
}

// route takes a request through a random node to the node that this one takes for the holder.
func (s *sim) route(q *request) {
	if s.now >= q.deadline {
		return
	}
	at := s.nodes[s.rng.IntN(len(s.nodes))]
	for _, n := range s.nodes {
		if n.alive && q.id <= readIt && n.cutOff(q.shard%2) {
			at = n // the callers at a machine that is cut off ask their own node
		}
	}
	again := func() { s.after(s.between(5*time.Millisecond, 50*time.Millisecond), func() { s.route(q) }) }
	if !at.alive || s.now < at.frozen {
		again()
		return
	}
	holder := at.machines[q.shard%2].Holder(q.shard)
	for _, n := range s.nodes {
		if n.name == holder {
			if at != n && (s.now < n.cut[0] || s.now < at.cut[0]) || s.chance(50) {
				return // the request is lost, and its caller does not know it
			}
			n.post(s.between(0, 3*time.Millisecond), func() { n.request(q) })
			return
		}
	}
	again()
}

// answeredStale takes the answer to a request that was marked stale. Only of a read is it left out of the checks.
func (s *sim) answeredStale(q *request, list []int64) {
	if q.id != readIt {
		s.answered(q, list, true, false)
		return
	}
	q.done = true
	s.check.stale++
}

// answered takes the answer to a request. notMine says that surely nothing happened, so the router tries again.
func (s *sim) answered(q *request, list []int64, ok, notMine bool) {
	if q.done {
		return
	}
	if notMine {
		s.after(s.between(5*time.Millisecond, 50*time.Millisecond), func() { s.route(q) })
		return
	}
	q.done = true
	if !ok || q.world != s.streams[q.shard%2].world || s.now >= q.deadline {
		return
	}
	switch q.id {
	case tellAgain:
		return
	case actIt:
		q.acked()
		return
	case readIt:
		s.check.reads++
		s.check.shown("a read", q.object, list, q.floor)
		return
	case confirmIt:
		s.check.noops++
		s.check.shown("the answer to a command that changes nothing", q.object, list, q.floor)
		return
	}
	s.check.acked++
	if !slices.Contains(list, q.id) {
		s.check.fail("an answer without its own write: %d in %v", q.id, list)
	}
	s.check.shown("the answer to a write", q.object, list, q.floor)
}
