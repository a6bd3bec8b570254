package actors

import (
	"time"

	"lamplight/actors/presence"
)

// load takes a shard over: its records become extensions, and who waited is served.
func (s *shard) load(m *Opening, now time.Time) {
	s.drop(0)
	s.open, s.paused, s.flushing, s.flushed = true, false, false, false
	s.claim, s.life = m.Claim, m.Claim.Generation
	s.claims++
	s.issued, s.durable, s.highest = 0, 0, 0
	recent := map[*presence.Extension]bool{}
	states := s.restore(m.Records, func(state *presence.Extension, at time.Time) {
		if m.All || !at.Before(m.Since) {
			recent[state] = true
		}
	})
	for a, state := range states {
		state.Loaded(now)
		if state.Empty() {
			continue
		}
		x := s.adopt(a, state)
		s.sys.metrics.watchers.Add(float64(len(state.Subscriptions())))
		s.timers.set(x, state.Next())
		if recent[state] && len(state.Subscriptions()) > 0 {
			s.backlog = append(s.backlog, renotify{x: x})
		}
	}
	s.generation.Store(s.life) // from here on, what it holds is in the index of realms
	if m.End {
		s.endAll(now)
	}
	s.serveWaiting(now)
}

// serveWaiting serves who waited for the shard.
func (s *shard) serveWaiting(now time.Time) {
	waiting := s.waiting
	s.waiting = nil
	for _, c := range waiting {
		s.request(c, now)
	}
}

// turnAway sends who waits for the shard to open elsewhere.
func (s *shard) turnAway() {
	for _, c := range s.waiting {
		c.answer(Answer{Err: ErrNotMine})
	}
	s.waiting = nil
}

// resume goes on under a new claim of this node.
func (s *shard) resume(m *resumed, now time.Time) {
	s.claim, s.paused, s.flushing, s.flushed, s.highest = m.claim, false, false, false, 0
	s.claims++
	s.generation.Store(s.life)
	s.release(now)
	if m.end {
		s.endAll(now)
	}
	s.serveWaiting(now)
}

// endAll ends all subscriptions, so that phones begin anew: the shard's numbers come to their end (JOURNAL.md rule 8).
func (s *shard) endAll(now time.Time) {
	for _, x := range s.extensions {
		if len(x.state.Subscriptions()) > 0 && !x.broken {
			s.step(x, presence.EndSubscriptions{Reason: "deactivated"}, nil, now)
		}
	}
	s.flushing = true
}

// restore builds extensions from records. A record that can't be read costs only itself, and is logged.
func (s *shard) restore(records []Stored, seen func(*presence.Extension, time.Time)) map[Address]*presence.Extension {
	states := map[Address]*presence.Extension{}
	for i := range records {
		r := &records[i]
		realm, user, err := presence.ParseAddress(r.Data)
		var x *presence.Extension
		if err == nil {
			if x = states[Address{Realm: string(realm), User: string(user)}]; x == nil {
				a := Address{Realm: string(realm), User: string(user)}.own()
				x = presence.New(a.Realm, a.User, &s.sys.cfg.Rules)
				states[a] = x
			}
			err = x.Load(r.Kind, r.Data)
		}
		if err != nil {
			s.sys.cfg.Log.Error("a record can't be read and is left as it is", "shard", s.id, "kind", string(rune(r.Kind)), "err", err)
			continue
		}
		seen(x, r.At)
	}
	return states
}

// drop forgets the shard's memory. Of writes up to the ticket doubt it is not known whether they are kept.
func (s *shard) drop(doubt uint64) {
	if !s.open {
		return
	}
	s.open, s.flushing = false, false
	s.generation.Store(0)
	for i := range s.queue {
		e := &s.queue[i]
		if e.wrote && e.ticket <= doubt {
			e.call.answer(Answer{Err: ErrUnknown})
		} else {
			e.call.answer(Answer{Err: ErrNotMine})
		}
	}
	s.queue, s.backlog = nil, nil
	clear(s.suspects)
	s.showBehind(0, 0)
	for _, x := range s.extensions {
		for _, w := range x.waits {
			w.call.answer(w.answer)
		}
		x.waits = nil
		s.forget(x)
	}
	s.waits = 0
	s.timers.heap = nil
}

// reloaded is the shard's records, read again because of one extension; with again set, they are to be read anew.
type reloaded struct {
	x       *extension
	records []Stored
	err     error
	durable uint64 // what was durable when the reading began
	again   bool
}

// panicked keeps a panic in one extension to that extension: its memory is thrown away and read again.
func (s *shard) panicked(x *extension, t *turn) {
	s.sys.metrics.panics.Inc()
	s.sys.cfg.Log.Error("panic in an extension; it is reloaded", "extension", x.address().String(), "reason", t.reason, "stack", string(t.stack))
	x.broken = true
	s.timers.set(x, time.Time{})
	s.reload(x)
}

func (s *shard) reload(x *extension) {
	before := s.durable
	s.sys.cfg.Journal.Reload(s.id, func(records []Stored, err error) {
		s.sys.tell(s.id, &reloaded{x: x, records: records, err: err, durable: before})
	})
}

func (s *shard) mend(m *reloaded, now time.Time) {
	x := m.x
	if s.extensions[x.address()] != x {
		return // the shard was dropped meanwhile
	}
	if m.again {
		s.reload(x)
		return
	}
	if m.err != nil || x.ticket > m.durable { // its own writes were still on their way
		time.AfterFunc(100*time.Millisecond, func() { s.sys.tell(s.id, &reloaded{x: x, again: true}) })
		return
	}
	s.forget(x)
	state := s.restore(m.records, func(*presence.Extension, time.Time) {})[x.address()]
	if state == nil {
		return
	}
	state.Loaded(now)
	fresh := s.adopt(x.address(), state)
	s.sys.metrics.watchers.Add(float64(len(state.Subscriptions())))
	s.timers.set(fresh, state.Next())
	s.backlog = append(s.backlog, renotify{x: fresh})
}
