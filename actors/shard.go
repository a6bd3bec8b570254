package actors

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"lamplight/actors/presence"
)

// call is a request with the one who waits for its answer.
type call struct {
	req  Request
	done func(Answer)
	at   time.Time // when it came to this node
}

func (c *call) answer(a Answer) {
	if c != nil && c.done != nil {
		c.done(a)
		c.done = nil
	}
}

// entry is what leaves once everything written before it is durable.
type entry struct {
	ticket uint64    // the write that it waits for
	wrote  bool      // it wrote itself: the fence vouches for it, no fresh lease is needed to tell
	at     time.Time // when it wrote
	x      *extension
	fx     presence.Effects
	call   *call
	answer Answer // of a read: what stood there when it came, as later changes may not be kept yet
}

// shard is the actor of one shard: its extensions, their timers, and what waits for a commit. All that is not atomic is
// only touched by who holds running: its mailbox's turn, or a caller who lends its goroutine for one.
type shard struct {
	running    sync.Mutex
	id         int
	sys        *System
	pid        *actor.PID
	child      *actor.Props
	adopting   *extension
	open       bool
	life       uint64 // generation of the claim that it was opened under
	paused     bool
	flushing   bool // it takes nothing more until it is dropped or resumed
	flushed    bool
	wanted     atomic.Bool // someone waits for it to open
	claim      Claim
	claims     uint32 // counts Open and Resume; an extension's counter belongs to one of them
	highest    uint32 // counter of any extension under this claim
	extensions map[Address]*extension
	timers     timers
	ticked     time.Time // when it last looked at what time does
	queue      []entry
	issued     uint64
	durable    uint64
	waiting    []*call // for the shard to open
	backlog    []renotify
	waits      int
	suspects   map[*extension]struct{} // whose watchers may be behind
	behind     int                     // watchers, when they were counted last
	counted    time.Time
	oldest     atomic.Int64  // Unix ns since when the first of them is; 0: none is
	generation atomic.Uint64 // its life, for those outside of its turn; 0: it is closed or takes nothing more
	turn       turn          // the one that runs
	body       []byte        // the document that is told
	depth      atomic.Int32  // messages that wait for it
	due        atomic.Int64  // Unix ns of the next tick; 0: none
	ticking    atomic.Bool
}

type renotify struct {
	x    *extension
	edge string
}

// Receive is protoactor's entry.
func (s *shard) Receive(ctx actor.Context) {
	switch ctx.Message().(type) {
	case actor.SystemMessage, actor.AutoReceiveMessage: // of protoactor's own
		return
	}
	s.running.Lock()
	defer s.running.Unlock()
	s.handle(ctx.Message(), time.Now())
}

// lend handles a message in its sender's goroutine, if no turn runs. It says whether it did.
func (s *shard) lend(message any) bool {
	if !s.running.TryLock() {
		return false
	}
	defer s.running.Unlock()
	s.handle(message, time.Now())
	return true
}

func (s *shard) handle(message any, now time.Time) {
	s.depth.Add(-1)
	switch m := message.(type) {
	case *call:
		s.sys.metrics.queue.Observe(now.Sub(m.at).Seconds())
		s.request(m, now)
	case durable:
		s.durable = max(s.durable, uint64(m))
		s.release(now)
	case tick:
		s.ticking.Store(false)
		s.tick(now)
	case *Opening:
		s.load(m, now)
	case *resumed:
		s.resume(m, now)
	case paused:
		s.paused = true
	case flush:
		s.flushing = s.open
		s.generation.Store(0)
	case dropped:
		s.drop(m.doubt)
		s.turnAway()
	case edgeUp:
		s.backlog = slices.DeleteFunc(s.backlog, func(r renotify) bool { return r.edge == string(m) })
		for _, x := range s.extensions {
			for _, w := range x.state.Subscriptions() {
				if w.Edge() == string(m) {
					s.backlog = append(s.backlog, renotify{x, string(m)})
					break
				}
			}
		}
	case *page:
		s.page(m, now)
	case *reloaded:
		s.mend(m, now)
	}
	if s.flushing && !s.flushed && !s.paused && len(s.queue) == 0 && s.issued == s.durable {
		s.flushed = true
		s.sys.cfg.Journal.Flushed(s.id, s.life)
	}
	s.wanted.Store(len(s.waiting) > 0)
	s.schedule(now)
}

func (s *shard) request(c *call, now time.Time) {
	if !c.req.Deadline.IsZero() && now.After(c.req.Deadline) {
		c.answer(Answer{Err: ErrTimeout})
		return
	}
	if !s.open || s.flushing {
		if !s.sys.cfg.Journal.Mine(s.id) {
			c.answer(Answer{Err: ErrNotMine})
			return
		}
		if len(s.waiting) >= s.sys.cfg.Mailbox {
			c.answer(Answer{Err: ErrBusy})
			return
		}
		s.waiting = append(s.waiting, c)
		return
	}
	x := s.extensions[c.req.To]
	if x != nil && x.broken {
		c.answer(Answer{Err: ErrUnavailable})
		return
	}
	if show, ok := c.req.Message.(Show); ok {
		s.enqueue(entry{x: x, call: c, answer: s.show(c.req.To, x, show.Explain)}, now)
		return
	}
	event, ok := c.req.Message.(presence.Event)
	if !ok {
		c.answer(Answer{Err: fmt.Errorf("%w: %T", presence.ErrInvalid, c.req.Message)})
		return
	}
	if _, reply := event.(presence.Notified); !reply && s.standing() == CutOff {
		c.answer(Answer{Err: ErrUnavailable})
		return
	}
	if x == nil {
		x = s.adopt(c.req.To, nil)
	}
	s.step(x, event, c, now)
}

// step applies one event and sends what came of it on its way.
func (s *shard) step(x *extension, event presence.Event, c *call, now time.Time) {
	watchers := len(x.state.Subscriptions())
	s.turn = turn{event: event, now: now}
	begun := time.Now()
	s.sys.actors.Root.Send(x.pid, &s.turn)
	t := s.turn
	s.turn = turn{}
	applied := time.Now()
	s.sys.metrics.apply.Observe(applied.Sub(begun).Seconds())
	s.sys.metrics.events.Inc()
	s.sys.metrics.watchers.Add(float64(len(x.state.Subscriptions()) - watchers))
	if t.reason != nil {
		s.panicked(x, &t)
		c.answer(Answer{Err: ErrUnavailable})
		return
	}
	if t.err != nil {
		c.answer(Answer{Err: t.err})
		s.retire(x)
		return
	}
	e := entry{x: x, fx: t.fx, call: c}
	if len(t.fx.Records) > 0 {
		s.issued++
		e.ticket, e.wrote, e.at = s.issued, true, applied
		x.ticket = s.issued
		records := t.fx.Records
		e.fx.Records = nil
		_, whole := event.(presence.Reset) // a reset is one step; news may be repeated by its sender
		s.sys.cfg.Journal.Write(s.id, s.life, x.address(), records, whole)
	}
	s.timers.set(x, x.state.Next())
	s.suspect(x)
	if _, ok := event.(presence.Notified); ok {
		s.replied(x, now)
	}
	if c == nil && !e.wrote && e.fx.Lamp == nil && len(e.fx.Notices) == 0 {
		s.retire(x)
		return
	}
	s.enqueue(e, now)
}

// enqueue lets an entry leave at once if nothing that it may show is still in flight, else in its turn.
func (s *shard) enqueue(e entry, now time.Time) {
	if !e.wrote {
		inFlight := e.x != nil && e.x.ticket > s.durable
		tells := len(e.fx.Notices) > 0 || e.fx.Lamp != nil
		if !inFlight && !(tells && (len(s.queue) > 0 || s.paused)) && s.ready(&e) && s.leave(e, now) {
			return
		}
		e.ticket = s.issued
	}
	s.queue = append(s.queue, e)
}

// ready says whether the lease lets an entry leave that no write vouches for, and marks what is answered with NATS away
// (JOURNAL.md rule 1).
func (s *shard) ready(e *entry) bool {
	if e.wrote {
		return true
	}
	standing := s.standing()
	e.answer.Stale = standing == CutOff
	switch standing {
	case Fresh:
		return true
	case CutOff:
		return e.call != nil && len(e.fx.Notices) == 0
	}
	return false
}

func (s *shard) standing() Standing { return s.sys.cfg.Journal.Standing(s.id, s.life) }

// release lets leave what has become durable, in order.
func (s *shard) release(now time.Time) {
	n := 0
	for n < len(s.queue) && !s.paused {
		e := &s.queue[n]
		if e.ticket > s.durable || !s.ready(e) || !s.leave(*e, now) {
			break
		}
		s.queue[n] = entry{}
		n++
	}
	if n == len(s.queue) {
		s.queue = s.queue[:0]
		if cap(s.queue) > 1024 {
			s.queue = nil
		}
	} else {
		s.queue = s.queue[n:]
	}
}

// leave tells and answers. It says false when the claim's numbers are used up: the entry then waits for Resume.
func (s *shard) leave(e entry, now time.Time) bool {
	told := map[*presence.Subscription]uint32(nil)
	if e.wrote {
		s.sys.version.Add(1)
		s.sys.metrics.commit.Observe(now.Sub(e.at).Seconds())
	}
	for i := range e.fx.Notices {
		n := &e.fx.Notices[i]
		if len(n.Watchers) == 0 {
			continue
		}
		sequence, ok := s.number(e.x)
		if !ok {
			s.paused = true
			return false
		}
		s.notify(e.x, n, sequence, now)
		if e.call != nil && e.call.req.Wait > 0 {
			if told == nil {
				told = map[*presence.Subscription]uint32{}
			}
			for _, w := range n.Watchers {
				told[w] = sequence
			}
		}
		n.Watchers = nil
	}
	if e.fx.Lamp != nil {
		s.sys.cfg.Notifier.Lamp(LampNews{To: e.x.address(), Change: *e.fx.Lamp, Sequence: e.x.counter})
	}
	switch {
	case e.call == nil, e.call.done == nil: // no one waits, or not any more
	case len(told) > 0:
		w := &waiter{call: e.call, answer: Answer{Notified: len(told)}, pending: told, deadline: now.Add(e.call.req.Wait)}
		e.x.waits = append(e.x.waits, w)
		s.waits++
	default:
		e.call.answer(e.answer)
	}
	if e.x != nil {
		s.retire(e.x)
	}
	return true
}

func (s *shard) number(x *extension) (uint32, bool) {
	if x.claim != s.claims {
		x.counter, x.claim = s.highest, s.claims
	}
	sequence, next, ok := s.sys.cfg.Journal.Number(s.id, s.claim.Generation, x.counter)
	if ok {
		x.counter = next
		s.highest = max(s.highest, next)
	}
	return sequence, ok
}

func (s *shard) notify(x *extension, n *presence.Notice, sequence uint32, now time.Time) {
	for _, w := range n.Watchers {
		w.Told(sequence)
	}
	begun := time.Now()
	s.body = render(s.body[:0], x.address(), n.Package, n.View, sequence)
	s.sys.cfg.Notifier.Notify(Notification{Shard: s.id, Claim: s.claim, To: x.address(), Package: n.Package, State: n.View.State,
		Sequence: sequence, ContentType: contentType(n.Package), Body: s.body,
		End: n.End, Watchers: n.Watchers, Now: now})
	if cap(s.body) > 16<<10 {
		s.body = nil
	}
	s.sys.metrics.tell.Observe(time.Since(begun).Seconds())
	s.sys.metrics.told.Add(float64(len(n.Watchers)))
}

func (s *shard) show(to Address, x *extension, explain bool) Answer {
	a := Answer{View: presence.Idle}
	var ex *Explain
	if explain {
		ex = &Explain{Node: s.sys.cfg.Node, Shard: s.id, Generation: s.claim.Generation}
	}
	if x != nil {
		a.View = x.state.View()
		a.Subscriptions = make([]SubscriptionView, 0, len(x.state.Subscriptions()))
		for _, w := range x.state.Subscriptions() {
			a.Subscriptions = s.view(a.Subscriptions, x, w, true)
			if ex != nil {
				ex.Watchers = append(ex.Watchers, WatcherState{CallID: w.CallID, Package: w.Package, From: w.From, Edge: w.Edge(),
					Sequence: w.Sequence(), Acked: w.Acked(), Reply: w.Reply(), Behind: !w.Behind().IsZero() || w.Acked() < w.Sequence()})
			}
		}
		if ex != nil {
			ex.Transitions = append(ex.Transitions, x.state.Transitions()...)
		}
	}
	a.Explain = ex
	return a
}

// replied answers the callers that waited for what the watchers say.
func (s *shard) replied(x *extension, now time.Time) {
	keep := x.waits[:0]
	for _, w := range x.waits {
		if w.replied() || now.After(w.deadline) {
			s.waits--
			w.call.answer(w.answer)
			continue
		}
		keep = append(keep, w)
	}
	x.waits = keep
	if len(keep) == 0 {
		x.waits = nil
	}
}

// adopt makes the actor of an extension; state is nil for one of which nothing is known.
func (s *shard) adopt(a Address, state *presence.Extension) *extension {
	if state == nil {
		a = a.own()
		state = presence.New(a.Realm, a.User, &s.sys.cfg.Rules)
	}
	x := &extension{state: state, timer: -1}
	s.adopting = x
	x.pid = s.sys.actors.Root.Spawn(s.child)
	s.adopting = nil
	s.extensions[a] = x
	s.sys.realms.add(a)
	s.sys.metrics.extensions.Inc()
	return x
}

// retire stops an extension that holds nothing and waits for nothing.
func (s *shard) retire(x *extension) {
	if x.broken || !x.state.Empty() || x.ticket > s.durable || len(x.waits) > 0 || s.extensions[x.address()] != x {
		return
	}
	s.forget(x)
}

func (s *shard) forget(x *extension) {
	s.timers.set(x, time.Time{})
	delete(s.extensions, x.address())
	delete(s.suspects, x)
	s.sys.realms.remove(x.address())
	s.sys.actors.Root.Stop(x.pid)
	s.sys.metrics.extensions.Dec()
	s.sys.metrics.watchers.Sub(float64(len(x.state.Subscriptions())))
}
