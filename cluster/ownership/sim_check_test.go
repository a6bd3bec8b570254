package ownership

import (
	"fmt"
	"slices"
	"time"
)

// An object of the simulation is one extension: a list that writes append their ids to. A read gives the list. So
// one answer contradicts another exactly when neither is the beginning of the other, and old state shows as a list
// that is too short.
type object struct{ shard, ext int }

const (
	simShards     = 4
	simExtensions = 2
)

// checker holds what was answered and told against the rules.
type checker struct {
	err     error
	objects map[object]*history
	edge    map[int]seenClaim // by shard: the newest that the edge accepted
	acked   int
	reads   int
	told    int
}

type history struct {
	longest []int64 // the longest list that anyone was shown
	floor   int     // how much of it was surely shown by now
	told    []int64 // what the edge was last told
	number  uint32  // its Sequence
}

type seenClaim struct {
	epoch      int64
	generation uint64
}

func newChecker() checker {
	c := checker{objects: map[object]*history{}, edge: map[int]seenClaim{}}
	for s := range simShards {
		for e := range simExtensions {
			c.objects[object{s, e}] = &history{}
		}
	}
	return c
}

// forget is for a stream that was re-created: what it held is gone with it.
func (c *checker) forget(stream int) {
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

// shown checks a list that someone was shown. floor is how much had surely been shown when the question was asked.
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

// notified is a NOTIFY at the edge.
func (c *checker) notified(o object, epoch int64, generation uint64, number uint32, list []int64) {
	e := c.edge[o.shard]
	if epoch < e.epoch || epoch == e.epoch && generation < e.generation {
		return // rule 8: an edge drops what is older
	}
	h := c.objects[o]
	if epoch > e.epoch { // another world: its numbers begin anew
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

// finish checks that all healed: every shard has its one owner, and all that was shown is there and was told.
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
}

// request is what a client asks; the router's part of it too.
type request struct {
	object
	id       int64 // 0: a read; -1: tell the edge again
	floor    int
	world    int // of the stream, when it was asked
	deadline Time
	done     bool
}

// clients ask through random nodes.
func (s *sim) clients() {
	if s.calm {
		return
	}
	s.after(s.between(time.Millisecond, 60*time.Millisecond), s.clients)
	q := &request{object: object{s.rng.IntN(simShards), s.rng.IntN(simExtensions)}, deadline: s.now + 4*time.Second}
	switch s.rng.IntN(8) {
	case 0, 1:
	case 2:
		q.id = -1
	default:
		s.nonce++
		q.id = int64(s.nonce)
	}
	q.floor, q.world = s.check.objects[q.object].floor, s.streams[q.shard%2].world
	s.route(q)
}

// route takes a request to the holder as a random node sees it.
func (s *sim) route(q *request) {
	if s.now >= q.deadline {
		return
	}
	at := s.nodes[s.rng.IntN(len(s.nodes))]
	again := func() { s.after(s.between(5*time.Millisecond, 50*time.Millisecond), func() { s.route(q) }) }
	if !at.alive || s.now < at.frozen {
		again()
		return
	}
	holder := at.machines[q.shard%2].Holder(q.shard)
	for _, n := range s.nodes {
		if n.name == holder {
			if at != n && (s.now < n.cut[0] || s.now < at.cut[0]) || s.chance(50) {
				return // lost on its way; the caller can't know
			}
			n.post(s.between(0, 3*time.Millisecond), func() { n.request(q) })
			return
		}
	}
	again()
}

// answered is what the caller hears. notMine: surely nothing happened.
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
	if q.id < 0 {
		return
	}
	if q.id == 0 {
		s.check.reads++
		s.check.shown("a read", q.object, list, q.floor)
		return
	}
	s.check.acked++
	if !slices.Contains(list, q.id) {
		s.check.fail("an answer without its own write: %d in %v", q.id, list)
	}
	s.check.shown("the answer to a write", q.object, list, q.floor)
}
