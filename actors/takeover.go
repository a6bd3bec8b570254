package actors

import (
	"time"

	"lamplight/actors/presence"
)

// load opens the shard: it makes extensions of the records and serves the requests that waited.
func (s *shard) load(m *Opening, now time.Time) {
	s.drop(0)
	s.open, s.paused, s.flushing, s.flushed = true, false, false, false
	s.claim, s.opened = m.Claim, m.Claim.Generation
	s.claims++
	s.issued, s.durable, s.highest = 0, 0, 0
	s.restoreOwn(m.Records, now)
	changed := map[*presence.Extension]time.Time{} // when the newest record of each extension was written
	states := s.restore(m.Records, func(state *presence.Extension, at time.Time) {
		if at.After(changed[state]) {
			changed[state] = at
		}
	})
	for a, state := range states {
		state.Loaded(now)
		if state.Empty() {
			continue
		}
		x := s.adopt(a, state)
		s.countAll(x)
		s.countAllOf(x, 1)
		s.timers.set(x, state.Next())
		hold := state.LongestHold()
		// Of what ended during a long hold the journal may have no record any more.
		untold := m.All || hold > s.sys.cfg.Rules.TombstoneLife/2 || !changed[state].Before(m.Since.Add(-hold))
		if untold && len(state.Subscriptions()) > 0 {
			s.backlog = append(s.backlog, renotify{x: x})
		}
	}
	s.generation.Store(s.opened) // not before all extensions are in the index of realms: a listing then finds them
	if m.End {
		s.endAll(now)
	}
	s.serveWaiting(now)
}

// serveWaiting serves the requests that waited for the shard to open.
func (s *shard) serveWaiting(now time.Time) {
	waiting := s.waiting
	s.waiting = nil
	for _, c := range waiting {
		s.request(c, now)
	}
}

// refuseWaiting answers the requests that wait for the shard to open: it is another node's, and the router asks that node.
func (s *shard) refuseWaiting() {
	for _, c := range s.waiting {
		c.answer(Answer{Err: ErrNotMine})
	}
	s.waiting = nil
}

// resume goes on under a new claim of this node. The shard keeps its memory.
func (s *shard) resume(m *resumed, now time.Time) {
	s.claim, s.paused, s.flushing, s.flushed, s.highest = m.claim, false, false, false, 0
	s.claims++
	s.generation.Store(s.opened)
	s.release(now)
	if m.end {
		s.endAll(now)
	}
	s.serveWaiting(now)
}

// endAll ends all subscriptions, so that phones subscribe anew, because the shard's numbers have come to their end
// (docs/contract/journal.md, rule 8). The shard then takes nothing until it is resumed.
func (s *shard) endAll(now time.Time) {
	for _, x := range s.extensions {
		if len(x.state.Subscriptions()) > 0 && !x.broken {
			s.apply(x, presence.EndSubscriptions{Reason: presence.Deactivated}, nil, now)
		}
	}
	s.flushing = true
}

// restore makes extensions of the records of extensions, and passes each with the time of each of its records to seen. It logs and skips a
// record that can't be read.
func (s *shard) restore(records []Stored, seen func(*presence.Extension, time.Time)) map[Address]*presence.Extension {
	states := map[Address]*presence.Extension{}
	for i := range records {
		r := &records[i]
		if r.Kind == presence.KindGone || r.Kind == presence.KindSource {
			continue
		}
		realm, user, err := presence.ParseAddress(r.Data)
		var x *presence.Extension
		if err == nil {
			if x = states[Address{Realm: string(realm), User: string(user)}]; x == nil {
				a := intern(Address{Realm: string(realm), User: string(user)})
				x = presence.New(a.Realm, a.User, &s.sys.cfg.Rules)
				states[a] = x
			}
			err = x.Load(r.Kind, r.Data)
		}
		if err != nil {
			s.unreadable(r, err)
			continue
		}
		seen(x, r.At)
	}
	return states
}

// unreadable logs a record that can't be read.
func (s *shard) unreadable(r *Stored, err error) {
	s.sys.cfg.Log.Error("a record of the journal can't be read; this node serves without it and leaves it in the journal; a newer release may have written it", "shard", s.id, "kind", string(rune(r.Kind)), "err", err)
}

// restoreOwn takes the records that are of the shard, and not of an extension.
func (s *shard) restoreOwn(records []Stored, now time.Time) {
	for i := range records {
		r := &records[i]
		var err error
		switch r.Kind {
		case presence.KindGone:
			var g presence.Gone
			if g, err = presence.ReadGone(r.Data); err == nil {
				_, err = s.sys.departed.note(g, now)
			}
		case presence.KindSource:
			err = s.loadSource(r.Data, now)
		}
		if err != nil {
			s.unreadable(r, err)
		}
	}
}

// drop closes the shard and forgets its memory. See System.Drop for doubt.
func (s *shard) drop(doubt uint64) {
	if !s.open {
		return
	}
	s.open, s.flushing = false, false
	s.generation.Store(0)
	for i := range s.queue {
		e := &s.queue[i]
		if e.wrote && e.ticket <= doubt {
			e.caller.answer(Answer{Err: ErrUnknown})
		} else {
			e.caller.answer(Answer{Err: ErrNotMine})
		}
	}
	s.queue, s.backlog = nil, nil
	s.suspects, s.unanswered = nil, nil
	s.showBehind(nil)
	s.unansweredBy.Store(nil)
	s.edges.clear()
	s.switches.clear()
	s.sources = nil
	for _, x := range s.extensions {
		for _, w := range x.waits {
			w.caller.answer(w.answer)
		}
		x.waits = nil
		s.forget(x)
	}
	s.waits = 0
	s.timers.heap = nil
}

// reloaded is the message that brings the shard's records, which were read again because of one extension.
type reloaded struct {
	x       *extension
	records []Stored
	err     error
	durable uint64 // the highest durable ticket when the reading began
	again   bool   // it brings nothing: the records are to be read once more
}

// panicked handles a panic in an extension. Its memory may be half changed, so the shard refuses requests to it until it
// has been made anew from its records. All other extensions go on.
func (s *shard) panicked(x *extension, t *step) {
	s.sys.metrics.panics.Inc()
	s.sys.cfg.Log.Error("an extension panicked; it is unavailable until it has been read again from the journal; please report this with the stack", "extension", x.address().String(), "reason", t.reason, "stack", string(t.stack))
	x.broken = true
	s.timers.set(x, time.Time{})
	s.reload(x)
}

// reload has the journal read the shard's records again.
func (s *shard) reload(x *extension) {
	before := s.durable
	s.sys.cfg.Journal.Reload(s.id, func(records []Stored, err error) {
		s.sys.tell(s.id, &reloaded{x: x, records: records, err: err, durable: before})
	})
}

// mend makes an extension anew from its records, and tells its watchers. It reads them once more while a write of the
// extension was still in flight when the reading began: the records may lack it.
func (s *shard) mend(m *reloaded, now time.Time) {
	x := m.x
	if s.extensions[x.address()] != x {
		return // the shard was dropped meanwhile
	}
	if m.again {
		s.reload(x)
		return
	}
	if m.err != nil || x.ticket > m.durable {
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
	s.countAll(fresh)
	s.countAllOf(fresh, 1)
	s.timers.set(fresh, state.Next())
	s.backlog = append(s.backlog, renotify{x: fresh})
}
