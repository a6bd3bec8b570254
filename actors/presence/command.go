package presence

import (
	"fmt"
	"slices"
)

// manual is the manual state, which the API sets.
type manual struct {
	state   State  // None: none is set
	at      int64  // µs, when it was set
	unknown string // the record's fields of a newer release
	schema  uint8  // of the record
}

// manualKey is the key of the manual state's record.
const manualKey = "m"

// ParseManual reads a manual state: "early", "confirmed" or "terminated", in lower case. ok is false for all else.
func ParseManual(s string) (state State, ok bool) {
	state, ok = ParseState(s)
	return state, ok && state.manual()
}

// manual says whether the API may set this state.
func (s State) manual() bool { return slices.Contains(ManualStates[:], s) }

// errManual is the error for a state that can't be set.
func errManual(s State) error {
	return fmt.Errorf("%w: the manual state is %q; it must be %s", ErrInvalid, s, StateNames(ManualStates[:]))
}

// setManual sets the manual state, or removes it with Terminated.
func (e *Extension) setManual(eff *Effects, state State, now int64) error {
	if !state.manual() {
		return errManual(state)
	}
	if e.putManual(eff, state, now) {
		e.changed(eff, "manual", now)
	}
	return nil
}

// putManual sets the manual state or, with None or Terminated, removes it. It says whether that changed anything.
func (e *Extension) putManual(eff *Effects, state State, now int64) bool {
	if state == Terminated {
		state = None
	}
	if e.more == nil && state == None || e.more != nil && e.more.manual.state == state {
		return false
	}
	m := e.open()
	if state == None {
		m.manual = manual{}
		gone := now + e.tombstoneLife()
		e.bury(eff, KindManual, manualKey, appendNum(e.appendHead(nil, 0, manualKey), recGone, uint64(gone)), gone, now)
		return true
	}
	m.manual.state, m.manual.at, m.manual.schema = state, now, max(m.manual.schema, e.rules.writes())
	e.keep(eff, KindManual, manualKey, e.encodeManual(&m.manual), 0, now)
	return true
}

// reset ends all calls, registers and the lamps of mailboxes, puts then in the place of the manual state, and tells all watchers again, in one
// step.
func (e *Extension) reset(eff *Effects, then State, now int64) error {
	if then != None && !then.manual() {
		return errManual(then)
	}
	e.buryAll(eff, now)
	if m := e.more; m != nil {
		m.mailboxes = slices.DeleteFunc(m.mailboxes, func(b *mailbox) bool {
			if b.key != ownCounts { // the counts stay; the lamp is lit again by the next news of the mailbox
				e.buryMailbox(eff, b, now)
			}
			return b.key != ownCounts
		})
	}
	e.putManual(eff, then, now)
	e.view = e.rebuild(eff, "reset", now)
	e.renotify(eff, "", now)
	return nil
}

// buryAll makes every call and register a tombstone, so that late news of them can't light the lamp again. Publications stay and report
// nothing, so that the refresh of one does not light it either.
func (e *Extension) buryAll(eff *Effects, now int64) {
	if e.more == nil {
		return
	}
	for _, c := range e.more.calls {
		if c.state != Terminated {
			c.end()
			c.until = now + e.tombstoneLife()
			e.keepCall(eff, c, now)
		}
	}
	for _, p := range e.more.published {
		if len(p.reports) > 0 {
			p.reports = nil
			e.keepPublication(eff, p, now)
		}
	}
	for _, r := range e.more.registers {
		if r.off() && r.at >= now {
			continue
		}
		if !r.off() {
			r.since = now
		}
		r.state = Terminated
		if r.key[0] == 'b' {
			r.state = Online
		}
		r.at, r.lease, r.until, r.call = max(r.at, now), 0, now+e.tombstoneLife(), nil
		e.keepRegister(eff, r, now)
	}
}

// renotify tells the watchers behind an edge, or with "" all, the present state at once, whatever their rate.
func (e *Extension) renotify(eff *Effects, edge string, now int64) {
	var told batch
	for _, s := range e.watchers {
		if edge == "" || s.Edge() == edge {
			told.add(s)
			e.tell(s, true, now)
		}
	}
	told.into(eff, e.view, "")
}

// end ends every subscription and forgets all else.
func (e *Extension) end(eff *Effects, reason string, now int64) {
	if reason == "" {
		reason = "noresource"
	}
	e.buryAll(eff, now)
	e.putManual(eff, None, now)
	if m := e.more; m != nil {
		for _, b := range m.mailboxes {
			e.buryMailbox(eff, b, now)
		}
		for _, p := range m.published {
			e.buryPublication(eff, p, now)
		}
		m.mailboxes, m.published = nil, nil
	}
	last := e.endWatchers(eff, "", now)
	e.view = e.rebuild(eff, "end", now)
	last.into(eff, e.view, reason)
}

// endWatchers ends the subscriptions that are behind an edge and tied to a connection, with "" all. It returns the watchers, which the
// caller must tell so.
func (e *Extension) endWatchers(eff *Effects, edge string, now int64) (last batch) {
	e.watchers = slices.DeleteFunc(e.watchers, func(s *Subscription) bool {
		if tied, _ := Tied(s.ProxyRoute); edge != "" && (s.Edge() != edge || !tied) {
			return false
		}
		last.add(s)
		e.endOne(eff, s, byLapse, now)
		return true
	})
	if len(e.watchers) == 0 {
		e.watchers = nil
	}
	return last
}
