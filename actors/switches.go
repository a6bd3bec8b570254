package actors

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"lamplight/actors/presence"
)

// Bounds of the end of a switch's calls.
const (
	departTurn     = 50     // extensions of a shard in one turn, so that other requests are not held up
	departParallel = 16     // shards that are asked at a time
	maxDeparted    = 10_000 // switches that are remembered
	maxSettling    = 4      // ends of the calls of silent sources at a time
)

// EndSwitchTime is how long the end of a switch's calls may take on all nodes. A large switch has some 100,000 of them.
const EndSwitchTime = 30 * time.Second

// departed are the switches that were declared gone a short time ago. News of their calls from before that moment comes late and must
// not light a lamp again, also when it is about a call of which nothing is known (presence.Rules.Gone). Any goroutine may use it.
//
// It is one for all shards of a node: that a switch was gone at a moment is true for all of them. Shards keep it in the journal, for their next
// owners.
type departed struct {
	any atomic.Bool // most of the time none is
	mu  sync.Mutex
	at  map[string]presence.Gone
}

// note remembers that a switch was declared gone.
func (d *departed) note(g presence.Gone, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, old := range d.at {
		if old.Until.Before(now) {
			delete(d.at, name)
		}
	}
	if len(d.at) >= maxDeparted {
		return // it is kept in the journal; only late news of calls that nobody knew finds nothing
	}
	if old, known := d.at[g.Switch]; g.Until.After(now) && (!known || old.Before.Before(g.Before)) {
		d.at[g.Switch] = g
	}
	d.any.Store(len(d.at) > 0)
}

// before implements presence.Rules.Gone.
func (d *departed) before(name string) int64 {
	if !d.any.Load() {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if g, known := d.at[name]; known {
		return g.Before.UnixMicro()
	}
	return 0
}

// departure asks a shard to end the calls of a switch. It comes once for every departTurn extensions.
type departure struct {
	caller
	presence.SwitchGone
	opened uint64       // the generation under which the shard began it; 0: it has not begun
	left   []*extension // that are still to be asked
	ended  int
}

// depart ends the calls of a switch on some extensions, and answers when that is durable. First of all it writes down that the switch is
// gone, so that what comes next finds it, here and at the shard's next owner.
func (s *shard) depart(d *departure, now time.Time) {
	switch {
	case !s.open || s.flushing, d.opened != 0 && d.opened != s.opened:
		err := ErrNotMine
		if d.opened != 0 {
			err = ErrUnknown
		}
		d.answer(Answer{Err: err})
		return
	case s.standing() == CutOff:
		d.answer(Answer{Err: ErrUnavailable})
		return
	case d.opened == 0:
		d.opened = s.opened
		g := s.sys.goneOf(d.SwitchGone, now)
		s.sys.departed.note(g, now)
		s.write(Address{}, []presence.Record{g.Record(now)}, false)
		for x := range s.switches.names[d.Switch].of {
			d.left = append(d.left, x)
		}
	}
	turn := d.left[:min(departTurn, len(d.left))]
	d.left = d.left[len(turn):]
	for _, x := range turn {
		if s.extensions[x.address()] == x && !x.broken {
			d.ended += s.apply(x, d.SwitchGone, nil, now).Ended
		}
	}
	if len(d.left) > 0 {
		s.sys.tell(s.id, d)
		return
	}
	s.enqueue(entry{ticket: s.issued, wrote: true, at: now, caller: &d.caller, answer: Answer{Ended: d.ended}}, now)
}

// EndSwitch ends the calls of a switch that were last heard of before a moment, in the shards of only. It returns when all of them have
// answered or the context ends. Extensions of the result is the number of calls that have ended. To repeat it does no harm.
//
// It asks only the shards that have calls of the switch, and a few more that keep in the journal that the switch was gone. For the others it is
// enough that this node remembers it.
func (s *System) EndSwitch(ctx context.Context, gone presence.SwitchGone, only *ShardSet, deadline time.Time) (c Commanded) {
	now := time.Now()
	before := s.generations()
	s.departed.note(s.goneOf(gone, now), now)
	w := switchEnd{sys: s, gone: gone, deadline: deadline, replies: make(chan switchReply, Shards), c: &c}
	for shard := 0; shard < Shards; shard += rememberEach {
		if only.Has(shard) && !w.ask(ctx, shard) {
			return c
		}
	}
	for range 2 { // a call that came while the first shards were asked may have begun before
		with := s.switches.of(gone.Switch)
		for _, shard := range with.List() {
			if only.Has(shard) && !w.ask(ctx, shard) {
				return c
			}
		}
		if !w.collect(ctx, 0) {
			return c
		}
	}
	after := s.generations()
	vouched := after
	stale := s.cfg.Journal.Vouch(&vouched)
	for _, shard := range only.List() {
		if !w.asked.Has(shard) && before[shard] != 0 && before[shard] == after[shard] && vouched[shard] != 0 && !stale {
			c.Done.Add(shard)
		}
	}
	return c
}

// rememberEach says which shards keep in the journal that a switch was gone although they have no calls of it: each of this many. A node that is
// started again takes many shards over, and so learns it.
const rememberEach = 16

// switchEnd is an EndSwitch under way.
type switchEnd struct {
	sys      *System
	gone     presence.SwitchGone
	deadline time.Time
	asked    ShardSet
	open     ShardSet // those that have not answered
	inFlight int
	replies  chan switchReply
	c        *Commanded
}

// switchReply is the answer of a shard.
type switchReply struct {
	shard int
	a     Answer
}

// ask asks a shard once. It returns false when the context has ended.
func (w *switchEnd) ask(ctx context.Context, shard int) bool {
	if w.asked.Has(shard) {
		return true
	}
	if !w.collect(ctx, departParallel-1) {
		return false
	}
	w.asked.Add(shard)
	w.open.Add(shard)
	w.inFlight++
	w.sys.tell(shard, &departure{caller: caller{done: func(a Answer) { w.replies <- switchReply{shard, a} }, deadline: w.deadline}, SwitchGone: w.gone})
	return true
}

// collect takes answers until no more than most are missing. It returns false when the context ends first: it is not known then what the shards do
// that have not answered.
func (w *switchEnd) collect(ctx context.Context, most int) bool {
	for w.inFlight > most {
		select {
		case r := <-w.replies:
			w.inFlight--
			w.open.Remove(r.shard)
			switch {
			case r.a.Err == nil:
				w.c.Done.Add(r.shard)
				w.c.Extensions += r.a.Ended
			case errors.Is(r.a.Err, ErrUnknown):
				w.c.Unknown.Add(r.shard)
			}
		case <-ctx.Done():
			w.c.Unknown.Merge(&w.open)
			return false
		}
	}
	return true
}

// goneOf is what is remembered of a switch that is gone.
func (s *System) goneOf(gone presence.SwitchGone, now time.Time) presence.Gone {
	return presence.Gone{Switch: gone.Switch, Before: gone.Before, Until: now.Add(2 * s.cfg.Rules.TombstoneLife)}
}

// Switches returns the number of calls on each switch of which this node holds calls.
func (s *System) Switches() map[string]int { return s.switches.totals() }
