package presence

import (
	"slices"
	"time"
)

// weight orders states by which one the lamp, and a phone that shows a single dialog, should show.
func weight(s State) int {
	switch s {
	case Early:
		return 3
	case Confirmed:
		return 2
	case Trying:
		return 1
	}
	return 0
}

// look computes the view from what is held.
func (e *Extension) look() *View {
	if len(e.calls)+len(e.registers)+len(e.mailboxes) == 0 && e.manual.state == None {
		return idle
	}
	v := &View{State: Terminated}
	feature := hexmd5(e.address())
	own := func(s State, source string, since, lease int64, to string) {
		v.Dialogs = append(v.Dialogs, DialogView{ID: feature, CallID: feature, State: s, Source: source,
			Since: fromMillis(since), Expires: fromMillis(lease), From: e.address(), To: to})
	}
	if e.manual.state != None {
		own(e.manual.state, "manual", e.manual.since, 0, e.address())
	}
	for _, r := range e.registers {
		switch {
		case r.state == Offline && r.until == 0:
			v.Closed = true
		case r.until == 0 && (r.state == Early || r.state == Confirmed || r.state == Trying):
			to := r.to
			if to == "" {
				to = e.address()
			}
			own(r.state, "register", r.since, r.lease, to)
		}
	}
	for _, m := range e.mailboxes {
		switch {
		case !m.lamp:
			v.Messages, v.HasMessages = m.messages, true
		case m.messages.New > 0:
			own(Confirmed, "mailbox", m.since, 0, m.source)
		}
	}
	for _, c := range e.calls {
		if c.until == 0 {
			v.Dialogs = append(v.Dialogs, c.dialog(e))
		}
	}
	slices.SortStableFunc(v.Dialogs, func(a, b DialogView) int {
		if d := weight(b.State) - weight(a.State); d != 0 {
			return d
		}
		if d := a.Since.Compare(b.Since); d != 0 {
			return d
		}
		return compareStrings(a.ID, b.ID, a.Source, b.Source)
	})
	if len(v.Dialogs) > 0 && weight(v.Dialogs[0].State) > 1 {
		v.State = v.Dialogs[0].State
	}
	return v
}

// sameFor says whether the documents of a package are the same for two views.
func sameFor(p Package, a, b *View) bool {
	switch {
	case a == b:
		return true
	case a == nil || b == nil:
		return false
	case p == Dialog:
		return slices.EqualFunc(a.Dialogs, b.Dialogs, func(x, y DialogView) bool {
			x.Expires, y.Expires = time.Time{}, time.Time{} // not in the document
			return x == y
		})
	case p == Presence:
		return a.State == b.State && a.Closed == b.Closed
	}
	return a.Messages == b.Messages && a.HasMessages == b.HasMessages
}

// changed looks again after an event and tells those whose document changed; with anew, everyone.
func (e *Extension) changed(source string, anew bool, now time.Time, fx *Effects) {
	old := e.view
	v := old
	if len(fx.Records) > 0 {
		v = e.look()
		if v.State == old.State && slices.Equal(v.Dialogs, old.Dialogs) && sameFor(Presence, v, old) && sameFor(MessageSummary, v, old) {
			v = old
		}
	}
	e.view = v
	if v.State != old.State {
		fx.Lamp = &LampChange{State: v.State, Previous: old.State, View: v, At: now, Source: source}
		if n := e.rules.Transitions; n > 0 {
			if len(e.transitions) >= n {
				e.transitions = slices.Delete(e.transitions, 0, 1)
			}
			e.transitions = append(e.transitions, Transition{State: v.State, At: now, Source: source})
		}
	}
	if anew {
		e.renotify("", now, fx)
		return
	}
	if v != old {
		e.tellChange(old, now, fx)
	}
}

// tellChange tells each watcher whose document changed, or holds that back where it was told too lately.
func (e *Extension) tellChange(old *View, now time.Time, fx *Effects) {
	ms := millis(now)
	e.eachPackage(fx, "", func(s *Subscription) bool {
		if sameFor(s.Package, old, e.view) {
			return false
		}
		if s.next > ms {
			if s.behind == 0 {
				s.behind = ms
			}
			e.wakeAt(s.next)
			return false
		}
		e.tell(s, now)
		s.next = ms + s.interval(e.rules)
		return true
	})
}

// heldBack tells those whose turn has come again.
func (e *Extension) heldBack(now time.Time, fx *Effects) {
	ms := millis(now)
	e.eachPackage(fx, "", func(s *Subscription) bool {
		if s.behind > 0 && s.next <= ms && sameFor(s.Package, s.told, e.view) {
			s.behind = 0 // it came back to what the watcher knows
		}
		if !(s.behind > 0 && s.next <= ms) && !(s.due > 0 && s.due <= ms) {
			return false
		}
		e.tell(s, now)
		s.next = ms + s.interval(e.rules)
		return true
	})
}

func (e *Extension) renotify(edge string, now time.Time, fx *Effects) {
	e.eachPackage(fx, "", func(s *Subscription) bool {
		if edge != "" && s.Edge() != edge {
			return false
		}
		e.tell(s, now)
		s.next = millis(now) + s.interval(e.rules)
		return true
	})
}

// tell notes that the watcher is about to be told the present view.
func (e *Extension) tell(s *Subscription, now time.Time) {
	s.told, s.behind, s.due = e.view, 0, 0
	if s.MinRate > 0 { // RFC 6446 §5
		s.due = millis(now) + max(1_000_000/int64(s.MinRate), 1000)
		e.wakeAt(s.due)
	}
}

// eachPackage makes one Notice per package of the watchers that pick chooses.
func (e *Extension) eachPackage(fx *Effects, end string, pick func(*Subscription) bool) {
	for i := 0; i < len(e.watchers); {
		p, n := e.watchers[i].Package, len(fx.Notices)
		for ; i < len(e.watchers) && e.watchers[i].Package == p; i++ {
			if !pick(e.watchers[i]) {
				continue
			}
			if len(fx.Notices) == n {
				fx.Notices = append(fx.Notices, Notice{Package: p, View: e.view, End: end})
			}
			fx.Notices[n].Watchers = append(fx.Notices[n].Watchers, e.watchers[i])
		}
	}
}

// ParseState is the inverse of String; "proceeding" is read as Trying.
func ParseState(s string) (State, bool) {
	if s == "proceeding" {
		return Trying, true
	}
	for st := Trying; st <= Offline; st++ {
		if st.String() == s {
			return st, true
		}
	}
	return None, false
}

// ParsePackage is the inverse of String.
func ParsePackage(s string) (Package, bool) {
	for p := Dialog; p <= MessageSummary; p++ {
		if p.String() == s {
			return p, true
		}
	}
	return Dialog, false
}
