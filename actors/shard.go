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

// caller is one who waits for an answer of the shard, to a call or to a page. It is answered exactly once.
type caller struct {
	done     func(Answer) // nil once it was answered
	deadline time.Time
	wait     time.Duration // how long it also waits for the watchers' replies; 0: it does not
}

// call is a Request that its shard has not answered yet.
type call struct {
	caller
	to      Address
	message Message
	origin  presence.Origin
	at      time.Time // when it came to this node
}

// answer answers the caller, if there is one and it has not been answered.
func (c *caller) answer(a Answer) {
	if c != nil && c.done != nil {
		c.done(a)
		c.done = nil
	}
}

// shard is the actor of one shard: its extensions, their timers, and the entries that wait for a commit. Whoever holds
// running has the shard's turn: protoactor with a message of the mailbox, or a caller that lends its goroutine for one
// message. Only then may the fields be used that are not atomic.
type shard struct {
	running  sync.Mutex
	id       int
	sys      *System
	pid      *actor.PID
	child    *actor.Props // of the extensions' actors
	adopting *extension   // the extension whose actor is being made

	open     bool
	opened   uint64 // the generation of the claim that the shard was opened under; Resume does not change it
	paused   bool   // nothing leaves that follows a write, and no notification, until Resume
	flushing bool   // the shard takes nothing more until it is dropped or resumed
	flushed  bool   // it has said so to the journal
	claim    Claim  // the present one
	claims   uint32 // counts Open and Resume; an extension's counter belongs to one of them
	highest  uint32 // the highest counter of any extension under the present claim

	extensions map[Address]*extension
	edges      shardCounts // the watchers behind each edge
	switches   shardCounts // the calls on each switch
	sources    map[string]*source
	timers     timers
	ticked     time.Time // when the last tick ran
	queue      []entry
	issued     uint64  // the ticket of the last write
	durable    uint64  // the ticket up to which all writes are durable
	waiting    []*call // calls that wait for the shard to open
	backlog    []renotify
	waits      int // the number of waiters of all extensions

	suspects map[*extension]struct{} // extensions whose watchers may be behind
	behind   int                     // the number of watchers that were behind at the last count
	counted  time.Time               // when that was

	unanswered     map[*extension]struct{} // extensions with watchers that have not answered yet, of edges that report answers
	answersCounted time.Time               // when those that do not answer were last counted

	step     step               // the one that runs
	reserved int                // subscriptions that are counted in already and that the step may add
	body     []byte             // the buffer of the document that is sent
	looked   []SubscriptionView // the buffer of look

	// Others read these without the turn.
	wanted       atomic.Bool                       // calls wait for the shard to open
	behindBy     atomic.Pointer[map[string]behind] // what the last count found of each edge; nil: no watcher was behind
	unansweredBy atomic.Pointer[map[string]int]    // how many watchers of each edge do not answer, by the last count; nil: none
	generation   atomic.Uint64                     // opened; 0: the shard is closed or takes nothing more
	depth        atomic.Int32                      // messages that wait for the shard
	ticking      atomic.Bool                       // a tick is on its way
}

// renotify is an extension whose watchers are to be told again: those behind the edge, or all if that is "". With ends, the
// subscriptions that are tied to connections of the edge are to end instead.
type renotify struct {
	x    *extension
	edge string
	ends bool
}

// event is what is to be applied.
func (r renotify) event() presence.Event {
	if r.ends {
		return presence.EndSubscriptions{Reason: presence.Deactivated, Edge: r.edge}
	}
	return presence.Renotify{Edge: r.edge}
}

// Receive implements actor.ReceiveFunc: protoactor calls it with each message of the mailbox.
func (s *shard) Receive(ctx actor.Context) {
	switch ctx.Message().(type) {
	case actor.SystemMessage, actor.AutoReceiveMessage: // protoactor's own
		return
	}
	s.running.Lock()
	defer s.running.Unlock()
	s.handle(ctx.Message(), time.Now())
}

// lend runs the shard's turn for a message in the sender's goroutine, if no turn runs. It says whether it did.
func (s *shard) lend(message any) bool {
	if !s.running.TryLock() {
		return false
	}
	defer s.running.Unlock()
	s.handle(message, time.Now())
	return true
}

// handle handles one message: it is the shard's turn. The caller holds running.
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
		s.refuseWaiting()
	case edgeWork:
		s.backlog = slices.DeleteFunc(s.backlog, func(r renotify) bool { return r.edge == m.edge && r.ends == m.ends })
		for x := range s.edges.names[m.edge].of {
			s.backlog = append(s.backlog, renotify{x, m.edge, m.ends})
		}
	case edgeAnswered:
		for x := range s.edges.names[m.edge].of {
			s.awaitAnswers(x)
		}
	case replies:
		for i := range m {
			if n, ok := m[i].Message.(presence.Notified); ok {
				s.reply(m[i].To, n, now)
			}
		}
	case *departure:
		s.depart(m, now)
	case settled:
		s.settle(m)
	case sourceListing:
		m <- s.listSources()
	case ledger:
		m <- s.ledger(now)
	case *page:
		s.page(m, now)
	case *reloaded:
		s.mend(m, now)
	}
	if s.flushing && !s.flushed && !s.paused && len(s.queue) == 0 && s.issued == s.durable {
		s.flushed = true
		s.sys.cfg.Journal.Flushed(s.id, s.claim.Generation)
	}
	s.wanted.Store(len(s.waiting) > 0)
	s.schedule(now)
}

// request serves a call, keeps it until the shard opens, or refuses it.
func (s *shard) request(c *call, now time.Time) {
	if !c.deadline.IsZero() && now.After(c.deadline) {
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
	if ev, ok := c.message.(presence.SourceUp); ok {
		s.sourceUp(ev, &c.caller, now)
		return
	}
	x := s.extensions[c.to]
	if x != nil && x.broken {
		c.answer(Answer{Err: ErrUnavailable})
		return
	}
	if show, ok := c.message.(Show); ok {
		s.enqueue(entry{x: x, caller: &c.caller, read: true, answer: s.show(x, show.Explain, now, nil)}, now)
		return
	}
	event, ok := c.message.(presence.Event)
	if !ok {
		c.answer(Answer{Err: fmt.Errorf("%w: %T", presence.ErrInvalid, c.message)})
		return
	}
	if reply, ok := event.(presence.Notified); (!ok || reply.Failed()) && s.standing() == CutOff { // other replies write nothing, and are noted in any case
		c.answer(Answer{Err: ErrUnavailable})
		return
	}
	if x == nil {
		x = s.adopt(c.to, nil)
	}
	if err := s.reserve(x, event); err != nil {
		c.answer(Answer{Err: err})
		s.retire(x)
		return
	}
	s.applyFrom(x, event, c.origin, &c.caller, now)
}

// reserve counts a subscription in that a SUBSCRIBE is to add, so that shards which take SUBSCRIBEs of one account at the same time do not
// take more than it may have. Whatever the node holds already, and what it takes over from another node, stays.
func (s *shard) reserve(x *extension, event presence.Event) error {
	ev, ok := event.(presence.Subscribe)
	if !ok || s.sys.cfg.Room == nil || !x.state.Adds(&ev) {
		return nil
	}
	if err := s.sys.cfg.Room(x.state.Realm(), s.sys.realms.count(x.state.Realm(), 1)); err != nil {
		s.sys.realms.count(x.state.Realm(), -1)
		return err
	}
	s.reserved = 1
	return nil
}

// countAllOf notes that the node holds all subscriptions of an extension, or with by -1 that it holds them no more.
func (s *shard) countAllOf(x *extension, by int) {
	n := x.state.ByPackage()
	for i := range n {
		n[i] *= int32(by)
	}
	s.count(x, by*len(x.state.Subscriptions()), n)
}

// count notes that an extension has more or fewer subscriptions, in all and to each event package.
func (s *shard) count(x *extension, by int, packages presence.ByPackage) {
	s.sys.metrics.watchers.Add(float64(by))
	for i, n := range packages {
		if n != 0 {
			s.sys.metrics.packages[i].Add(float64(n))
		}
	}
	if by -= s.reserved; by != 0 {
		s.sys.realms.count(x.state.Realm(), by)
	}
	s.reserved = 0
}

// apply is applyFrom for an event that comes from the owner itself.
func (s *shard) apply(x *extension, event presence.Event, by *caller, now time.Time) presence.Effects {
	return s.applyFrom(x, event, presence.Origin{}, by, now)
}

// applyFrom has an extension apply an event, hands its records to the journal, and queues its notifications and the answer to
// by. by is nil when no one waits for an answer. origin is who caused the event.
func (s *shard) applyFrom(x *extension, event presence.Event, origin presence.Origin, by *caller, now time.Time) presence.Effects {
	watchers := len(x.state.Subscriptions())
	s.step = step{event: event, origin: origin, now: now}
	begun := time.Now()
	s.sys.actors.Root.Send(x.pid, &s.step)
	t := s.step
	s.step = step{}
	applied := time.Now()
	s.sys.metrics.apply.Observe(applied.Sub(begun).Seconds())
	s.sys.metrics.events.Inc()
	s.count(x, len(x.state.Subscriptions())-watchers, t.fx.Packages)
	if t.fx.Coalesced > 0 {
		s.sys.metrics.coalesced.Add(float64(t.fx.Coalesced))
	}
	if t.reason != nil {
		s.panicked(x, &t)
		by.answer(Answer{Err: ErrUnavailable})
		return presence.Effects{}
	}
	if t.err != nil {
		by.answer(Answer{Err: t.err})
		s.retire(x)
		return presence.Effects{}
	}
	s.edges.add(x, t.fx.Edges)
	s.switches.add(x, t.fx.Switches)
	if t.fx.Lamp != nil && t.fx.Lamp.Source == "lease" {
		s.sys.metrics.leases.Inc()
	}
	if t.fx.Ignored != presence.IgnoredNot {
		s.sys.metrics.ignored[t.fx.Ignored].Inc()
	}
	e := entry{x: x, fx: t.fx, caller: by, answer: Answer{Former: t.fx.Former, Ignored: t.fx.Ignored}}
	if len(t.fx.Records) > 0 {
		s.write(x.address(), t.fx.Records)
		e.ticket, e.wrote, e.at = s.issued, true, applied
		x.ticket = s.issued
		e.fx.Records = nil
	}
	s.timers.set(x, x.state.Next())
	s.suspect(x)
	if n, ok := event.(presence.Notified); ok {
		s.replied(x, now)
		s.noteAnswer(x, &n)
	}
	if by == nil && !e.wrote && !e.tells() {
		s.retire(x)
		return t.fx
	}
	s.enqueue(e, now)
	return t.fx
}

// write hands records of one address to the journal. Its ticket is then s.issued.
func (s *shard) write(to Address, records []presence.Record) {
	s.issued++
	s.sys.cfg.Journal.Write(s.id, s.opened, to, records)
}

// mostLooked is how many subscriptions the buffer of look has room for. Each shard has one.
const mostLooked = 8

// look passes an extension to use, if it may be shown at once. The caller holds running.
func (s *shard) look(to Address, use func(*Answer)) bool {
	x := s.extensions[to]
	if !s.open || s.flushing || x != nil && (x.broken || x.ticket > s.durable) {
		return false
	}
	a := s.show(x, false, time.Time{}, s.looked[:0])
	defer func() {
		if cap(a.Subscriptions) <= mostLooked {
			clear(a.Subscriptions)
			if x != nil {
				s.looked = a.Subscriptions
			}
		}
	}()
	if s.standing() != Fresh {
		return false
	}
	use(&a)
	return true
}

// show is the answer to a Show; x is nil for an extension that holds nothing. rows is empty, and takes the subscriptions if there is room.
func (s *shard) show(x *extension, explain bool, now time.Time, rows []SubscriptionView) Answer {
	a := Answer{View: presence.Idle}
	var ex *Explanation
	if explain {
		ex = &Explanation{Node: s.sys.cfg.Node, Shard: s.id, Generation: s.claim.Generation}
	}
	if x != nil {
		a.View = x.state.View()
		a.Subscriptions = slices.Grow(rows, len(x.state.Subscriptions()))
		for _, w := range x.state.Subscriptions() {
			a.Subscriptions = s.view(a.Subscriptions, x, w, true)
			if ex != nil {
				ex.Watchers = append(ex.Watchers, WatcherState{CallID: w.CallID, Package: w.Package, From: w.From, Edge: w.Edge(),
					Sequence: w.Sequence(), Acked: w.Acked(), Reply: w.Reply(), Latency: w.Latency(), Behind: knowsLess(w)})
			}
		}
		if ex != nil {
			ex.Transitions, ex.Ended, ex.Findings = x.state.Transitions(), x.state.EndedWatchers(), x.state.Findings(now, func(edge string) presence.EdgeState { return s.sys.cfg.EdgeState(edge, now) })
		}
	}
	a.Explanation = ex
	return a
}

// adopt makes the actor of an extension; state is nil for one that holds nothing yet.
func (s *shard) adopt(a Address, state *presence.Extension) *extension {
	if state == nil {
		a = intern(a)
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

// forget stops an extension's actor and drops its memory.
func (s *shard) forget(x *extension) {
	s.timers.set(x, time.Time{})
	if x.broken || len(x.state.Subscriptions()) > 0 {
		s.edges.remove(x)
	}
	s.switches.remove(x)
	delete(s.extensions, x.address())
	delete(s.suspects, x)
	delete(s.unanswered, x)
	s.countAllOf(x, -1)
	s.sys.realms.remove(x.address())
	s.sys.actors.Root.Stop(x.pid)
	s.sys.metrics.extensions.Dec()
}
