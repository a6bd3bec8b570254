package actors

import (
	"time"

	"lamplight/actors/presence"
)

// entry is an answer or a notification, or both, on its way out of a shard. It leaves once every write before it is
// durable.
type entry struct {
	ticket uint64    // the write that it waits for
	wrote  bool      // that write is its own: the journal's fence has shown that the shard is ours, so it needs no fresh lease
	at     time.Time // when it wrote
	x      *extension
	fx     presence.Effects
	caller *caller // nil: no one waits for it
	read   bool    // its caller asked for a read
	answer Answer  // of a read: the extension as it was when the read came; later changes may not be durable when it leaves
}

// enqueue lets an entry leave at once if it shows nothing that is still in flight. Otherwise the entry waits in the queue.
func (s *shard) enqueue(e entry, now time.Time) {
	if !e.wrote {
		inFlight := e.x != nil && e.x.ticket > s.durable
		if !inFlight && !(e.tells() && (len(s.queue) > 0 || s.paused)) && s.ready(&e) && s.leave(e, now) {
			return
		}
		e.ticket = s.issued
	}
	s.queue = append(s.queue, e)
}

// ready says whether an entry may leave (docs/contract/journal.md, rule 1). One that wrote nothing needs a fresh lease. When
// NATS is out of reach, ready marks the answer to a read as stale and lets it leave. It refuses the caller of anything else,
// also of a command that changes nothing: the other side of a cut may have changed the state meanwhile. What such an entry
// tells stays in the queue until the lease is fresh.
func (s *shard) ready(e *entry) bool {
	if e.wrote {
		return true
	}
	standing := s.standing()
	if standing == CutOff && !e.read {
		e.caller.answer(Answer{Err: ErrUnavailable})
		return !e.tells()
	}
	e.answer.Stale = standing == CutOff
	return standing != Unsure
}

// tells says whether the entry has something to send besides its answer.
func (e *entry) tells() bool { return len(e.fx.Notices) > 0 || e.fx.Lamp != nil }

// standing says what this node may do with the shard now.
func (s *shard) standing() Standing { return s.sys.cfg.Journal.Standing(s.id, s.opened) }

// release lets the entries at the head of the queue leave, in order, up to the first that is not durable or may not leave.
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

// leave sends an entry's notifications and its lamp change, and answers its caller. It returns false when the shard gets no
// number for a notification: the entry then stays in the queue until Resume, and has forgotten the watchers that it has told.
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
		s.notify(e.x, n, sequence, e.fx.Request(), now)
		if e.caller != nil && e.caller.wait > 0 {
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
	if e.fx.Watched {
		s.sys.cfg.Notifier.Watched(e.x.address(), e.fx.Notices[0].Package)
	}
	switch {
	case e.caller == nil, e.caller.done == nil: // no one waits for it, or its deadline has passed
	case len(told) > 0:
		w := &waiter{caller: e.caller, answer: Answer{Notified: len(told)}, pending: told, deadline: now.Add(e.caller.wait)}
		e.x.waits = append(e.x.waits, w)
		s.waits++
	default:
		e.caller.answer(e.answer)
	}
	if e.x != nil {
		s.retire(e.x)
	}
	return true
}

// number draws the Sequence of the extension's next notification; false: the shard may not notify now.
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

// render renders a document of an extension into s.body, as its watchers are shown it.
func (s *shard) render(x *extension, of presence.Package, v *presence.View, sequence uint32) {
	if hides := s.sys.cfg.HidesParties; hides != nil && len(v.Dialogs) > 0 && hides(x.address()) {
		v = v.WithoutParties()
	}
	s.body = of.AppendDocument(s.body[:0], x.address(), v, sequence)
}

// notify renders one document and sends it to the watchers of a notice. request is the id of the request that caused it.
func (s *shard) notify(x *extension, n *presence.Notice, sequence uint32, request string, now time.Time) {
	for _, w := range n.Watchers {
		w.Told(sequence)
	}
	begun := time.Now()
	s.render(x, n.Package, n.View, sequence)
	s.sys.cfg.Notifier.Notify(Notification{Shard: s.id, Claim: s.claim, To: x.address(), Package: n.Package, State: n.View.State, View: n.View,
		Sequence: sequence, ContentType: n.Package.ContentType(), Body: s.body,
		End: n.End, Watchers: n.Watchers, Now: now, Request: request})
	if cap(s.body) > 16<<10 { // the rare large document must not keep its buffer
		s.body = nil
	}
	s.sys.metrics.tell.Observe(time.Since(begun).Seconds())
	s.sys.metrics.told.Add(float64(len(n.Watchers)))
	if s.sys.cfg.Told != nil {
		s.sys.cfg.Told(x.state.Realm(), len(n.Watchers))
	}
}

// replied answers the callers that waited for the replies of an extension's watchers, when all have come or the caller's
// time is over.
func (s *shard) replied(x *extension, now time.Time) {
	keep := x.waits[:0]
	for _, w := range x.waits {
		if w.replied() || now.After(w.deadline) {
			s.waits--
			w.caller.answer(w.answer)
			continue
		}
		keep = append(keep, w)
	}
	x.waits = keep
	if len(keep) == 0 {
		x.waits = nil
	}
}
