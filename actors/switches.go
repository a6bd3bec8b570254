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
	departTurn     = 50 // extensions of a shard in one turn, so that other requests are not held up
	departParallel = 16 // shards that are asked at a time
)

// departed are the switches that were declared gone a short time ago. News of their calls from before that moment comes late and must
// not light a lamp again, also when it is about a call of which nothing is known (presence.Rules.Gone). Any goroutine may use it.
//
// It is one for all shards of a node: that a switch was gone at a moment is true for all of them. Each shard keeps it in the journal,
// for its next owner.
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
		g := presence.Gone{Switch: d.Switch, Before: d.Before, Until: now.Add(2 * s.sys.cfg.Rules.TombstoneLife)}
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
func (s *System) EndSwitch(ctx context.Context, gone presence.SwitchGone, only *ShardSet, deadline time.Time) (c Commanded) {
	type reply struct {
		shard int
		a     Answer
	}
	replies := make(chan reply, Shards)
	asked, inFlight := ShardSet{}, 0
	take := func() bool {
		select {
		case r := <-replies:
			inFlight--
			asked.Remove(r.shard)
			switch {
			case r.a.Err == nil:
				c.Done.Add(r.shard)
				c.Extensions += r.a.Ended
			case errors.Is(r.a.Err, ErrUnknown):
				c.Unknown.Add(r.shard)
			}
			return true
		case <-ctx.Done():
			return false
		}
	}
	for _, shard := range only.List() {
		for inFlight >= departParallel {
			if !take() {
				c.Unknown.Merge(&asked)
				return c
			}
		}
		inFlight++
		asked.Add(shard)
		s.tell(shard, &departure{caller: caller{done: func(a Answer) { replies <- reply{shard, a} }, deadline: deadline}, SwitchGone: gone})
	}
	for inFlight > 0 && take() {
	}
	c.Unknown.Merge(&asked)
	return c
}

// Switches returns the number of calls on each switch of which this node holds calls.
func (s *System) Switches() map[string]int { return s.switches.totals() }
