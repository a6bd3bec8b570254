package actors

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"lamplight/actors/presence"
)

// Bounds of the end of a switch's calls.
const (
	departTurn     = 16    // extensions of a shard in one turn, so that other requests are not held up
	departParallel = 8     // shards that are asked at a time
	maxDeparted    = 1_000 // switches that are remembered: a direct get of NATS returns 1,024 of their records at most
	maxSettling    = 4     // ends of the calls of silent sources at a time
)

// EndSwitchTime is how long the end of a switch's calls may take on all nodes. A large switch has some 100,000 of them.
const EndSwitchTime = 30 * time.Second

// departed are the switches that were declared gone a short time ago. News of their calls from before that moment comes late and must
// not light a lamp again, also when it is about a call of which nothing is known (presence.Rules.Gone). Any goroutine may use it.
//
// It is one for all shards of a node: that a switch was gone at a moment is true for all of them. The first shard of each stream keeps it in the
// journal, and every shard is opened with what that one keeps.
type departed struct {
	any atomic.Bool // most of the time none is
	mu  sync.Mutex
	at  map[string]presence.Gone
}

// note remembers that a switch was declared gone, and returns what is remembered of it: of two moments the later one. It returns ErrBusy, and
// remembers nothing, when too many others are remembered.
func (d *departed) note(g presence.Gone, now time.Time) (presence.Gone, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	old, known := d.at[g.Switch]
	if !known {
		for name, other := range d.at {
			if other.Until.Before(now) {
				delete(d.at, name)
			}
		}
		if len(d.at) >= maxDeparted {
			return g, tooManyGone{}
		}
	}
	if old.Before.After(g.Before) {
		g.Before = old.Before
	}
	if old.Until.After(g.Until) {
		g.Until = old.Until
	}
	d.at[strings.Clone(g.Switch)] = g
	d.any.Store(true)
	return g, nil
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

// depart ends the calls of a switch on some extensions. It goes on with the next ones, or answers, when what the shard has written is durable: so
// there is never much of it on its way, and other changes need not wait long behind it. A shard that keeps which switches are gone writes that down
// first of all.
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
	}
	before := s.issued
	if d.opened == 0 {
		g, err := s.sys.departed.note(s.sys.goneOf(d.SwitchGone, now), now)
		if err != nil {
			d.answer(Answer{Err: err})
			return
		}
		d.opened = s.opened
		if s.id < s.sys.cfg.Journal.Streams() {
			s.write(Address{}, []presence.Record{g.Record(now)})
		}
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
	next := caller{deadline: d.deadline, done: func(a Answer) {
		if a.Err == nil && len(d.left) > 0 {
			s.sys.tell(s.id, d)
			return
		}
		d.answer(Answer{Ended: d.ended, Err: a.Err})
	}}
	// It waits for all writes of the shard, also when it wrote nothing: a call that has ended, or that was told again, may end or be told again in
	// a write that is not durable yet.
	s.queue = append(s.queue, entry{ticket: s.issued, wrote: s.issued > before, at: now, caller: &next})
	s.release(now)
}

// tooManyGone says that no more switches can be remembered. It is an ErrBusy.
type tooManyGone struct{}

func (tooManyGone) Error() string {
	return fmt.Sprintf("%d switches were declared gone in the last minutes; no more can be remembered before some are forgotten", maxDeparted)
}
func (tooManyGone) Unwrap() error { return ErrBusy }

// Depart remembers that a switch is gone, before its calls end (EndSwitch). The error wraps ErrBusy when too many are remembered.
func (s *System) Depart(gone presence.SwitchGone) error {
	now := time.Now()
	_, err := s.departed.note(s.goneOf(gone, now), now)
	return err
}

// Keepers are the shards that keep in the journal which switches are gone, each for all shards of its stream.
func (s *System) Keepers() (keepers ShardSet) {
	for shard := range s.cfg.Journal.Streams() {
		keepers.Add(shard)
	}
	return keepers
}

// EndSwitch ends the calls of a switch that were last heard of before a moment, in the shards of only. It returns when all of them have
// answered or the context ends. Extensions of the result is the number of calls that have ended. To repeat it does no harm.
//
// Call it for the Keepers first, on all nodes, and for the other shards when that is done. A shard that another node takes over in between
// would else be opened by a node that does not know that the switch is gone.
func (s *System) EndSwitch(ctx context.Context, gone presence.SwitchGone, only *ShardSet, deadline time.Time) (c Commanded) {
	w := switchEnd{sys: s, gone: gone, deadline: deadline, replies: make(chan switchReply, Shards), c: &c}
	for _, shard := range only.List() {
		if !w.ask(ctx, shard) {
			return c
		}
	}
	w.collect(ctx, 0)
	return c
}

// switchEnd is an EndSwitch under way.
type switchEnd struct {
	sys      *System
	gone     presence.SwitchGone
	deadline time.Time
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

// ask asks a shard. It returns false when the context has ended.
func (w *switchEnd) ask(ctx context.Context, shard int) bool {
	if !w.collect(ctx, departParallel-1) {
		return false
	}
	w.open.Add(shard)
	w.inFlight++
	w.sys.give(w.sys.shards[shard], &departure{caller: caller{done: func(a Answer) { w.replies <- switchReply{shard, a} }, deadline: w.deadline}, SwitchGone: w.gone}, true)
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
