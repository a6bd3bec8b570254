package presence

import (
	"math"
	"slices"
	"time"
)

// LongestTurn is the longest time for which an account's budget holds a change back. An account with more watchers than its budget tells
// in that time tells them all the same. It is shorter than ownership.UntoldWindow: what a node held back when it was killed, the next owner
// tells (docs/contract/journal.md, rule 7).
const LongestTurn = 8 * time.Second

// leastPeriod is the least time between two NOTIFYs that a watcher's min-rate (RFC 6446 §5) causes, in µs.
const leastPeriod = second

// batch holds the watchers that are to be told, by event package.
type batch [len(packages)][]*Subscription

func (b *batch) add(s *Subscription) { b[s.Package] = append(b[s.Package], s) }

// into adds the notices for the batch's watchers to the effects. end is that of the Notice.
func (b *batch) into(eff *Effects, v *View, end string) {
	for pkg, watchers := range b {
		if len(watchers) > 0 {
			eff.Notices = append(eff.Notices, Notice{Package: Package(pkg), View: v, Watchers: watchers, End: end})
		}
	}
}

// tell notes that a watcher is told the present View. change says that the View has changed for it. A change counts for the
// watcher's rate; when the watcher asked for a max-rate itself, every NOTIFY counts (RFC 6446 §4.3).
func (e *Extension) tell(s *Subscription, change bool, now int64) {
	s.noticed, s.noticedAt = e.view, now
	s.held = false
	if s.rare != nil {
		s.rare.retryAt = 0
	}
	s.leaving = min(s.leaving, math.MaxUint8-1) + 1
	if change || s.MaxRate() != 0 {
		s.changedAt = now
	}
	if s.behind == 0 {
		s.behind = now
	}
	if s.MinRate() != 0 {
		e.due(now + e.period(s))
	}
}

// interval is the least time between two changes that are told to a watcher, in µs.
func (e *Extension) interval(s *Subscription) int64 {
	least := e.rules.NotifyInterval.Microseconds()
	if s.MaxRate() != 0 {
		least = max(least, 1000*second/int64(s.MaxRate()))
	}
	return least
}

// LongestHold returns for how long at most a change was held back for some watcher because of its rate. Nobody keeps which changes are held,
// so the next owner of the extension tells again what changed so shortly before its takeover.
func (e *Extension) LongestHold() (most time.Duration) {
	for _, s := range e.watchers {
		most = max(most, time.Duration(e.interval(s))*time.Microsecond)
	}
	return most
}

// period is the longest time between two NOTIFYs to a watcher that has a min-rate, in µs.
func (e *Extension) period(s *Subscription) int64 {
	return max(1000*second/int64(s.MinRate()), leastPeriod, e.interval(s))
}

// free is when a watcher may be told a change, in µs.
func (e *Extension) free(s *Subscription, now int64) int64 {
	if s.changedAt == 0 {
		return now
	}
	s.changedAt = min(s.changedAt, now) // a clock that was put back must not silence the watcher
	return s.changedAt + e.interval(s)
}

// rebuild makes the View of this moment, and adds a change of the lamp to the effects. The caller must store the View and
// tell the watchers. It returns the present View if nothing has changed.
func (e *Extension) rebuild(eff *Effects, source string, now int64) *View {
	v := e.build(now)
	if equal(e.view, v) {
		return e.view
	}
	if v.State != e.view.State {
		eff.Lamp = &LampChange{State: v.State, Previous: e.view.State, View: v, At: moment(now), Source: source}
		e.remember(eff, e.view)
	}
	return v
}

// changed rebuilds the View and tells each watcher that sees a difference, now or when its rate allows. source is what
// changed the extension.
func (e *Extension) changed(eff *Effects, source string, now int64) {
	before := e.view
	e.view = e.rebuild(eff, source, now)
	if e.view == before || len(e.watchers) == 0 {
		return
	}
	var told batch
	var k known
	for pkg := range LastPackage + 1 {
		if same(pkg, before, e.view) {
			continue
		}
		watchers := e.of(pkg)
		for i, s := range watchers {
			if s.held { // the change that is held will not be told on its own
				eff.Coalesced++
			}
			if e.pass(s, &k, now) {
				if told[pkg] == nil {
					told[pkg] = make([]*Subscription, 0, len(watchers)-i)
				}
				told.add(s)
			}
		}
	}
	e.tellAll(eff, &told, now)
}

// tellAll tells watchers that may be told a change now, as far as their own rates go. If the account's budget does not allow it, they are
// held until the extension's turn. All that changes until then is told with it, and uses the budget once.
func (e *Extension) tellAll(eff *Effects, b *batch, now int64) {
	n := 0
	for _, watchers := range b {
		n += len(watchers)
	}
	if n == 0 {
		return
	}
	at := e.turn
	if e.turn == 0 && e.rules.Tell != nil {
		at = e.rules.Tell(e.realm, n, moment(now)).UnixMicro()
	}
	at = min(at, now+LongestTurn.Microseconds()) // a clock that was put back must not silence the extension
	if e.turn = 0; at > now {
		e.turn = at
		e.due(at)
	}
	for _, watchers := range b {
		for _, s := range watchers {
			if at > now {
				e.hold(s, now)
			} else {
				e.tell(s, true, now)
			}
		}
	}
	if at <= now {
		b.into(eff, e.view, "")
	}
}

// hold notes that a change for a watcher waits.
func (e *Extension) hold(s *Subscription, now int64) {
	if s.behind == 0 {
		s.behind = now
	}
	s.held = true
}

// known remembers the last comparison of a View with the present one: most watchers were told the same View.
type known struct {
	view *View
	pkg  Package
	same bool
}

// pass says whether a watcher is to be told the present View now. If not, the watcher sees no difference to what it was told,
// or its rate holds the change back until a Tick. What the account's budget says is for tellAll.
func (e *Extension) pass(s *Subscription, k *known, now int64) bool {
	if k.view != s.noticed || k.pkg != s.Package || k.view == nil {
		*k = known{s.noticed, s.Package, same(s.Package, s.noticed, e.view)}
	}
	if k.same {
		s.held = false
		if s.leaving == 0 {
			s.behind = 0
		}
		return false
	}
	at := e.free(s, now)
	if at <= now {
		return true
	}
	e.hold(s, now)
	e.due(at)
	return false
}

// tick ends leases and subscriptions that are over, tells the changes that rates held back, and finds when the next Tick is
// due.
func (e *Extension) tick(eff *Effects, now int64) {
	if e.next == 0 || now < e.next {
		return
	}
	e.next = 0
	last := e.lapsed(eff, now)
	e.forgetOver(now)
	e.changed(eff, "lease", now)
	last.into(eff, e.view, "timeout")
	// A watcher that changed has just told is not held any more and is not told once more, and its min-rate counts from now.
	var late, held batch
	var k known
	for _, s := range e.watchers {
		e.due(e.lapse(s))
		if s.held && e.pass(s, &k, now) {
			held.add(s)
			continue
		}
		if r := s.rare; r == nil {
			continue
		} else if at := max(r.retryAt, e.free(s, now)); r.retryAt != 0 && at > now {
			e.due(at)
		} else if r.retryAt != 0 {
			late.add(s)
			e.tell(s, false, now)
		}
		if s.MinRate() == 0 {
			continue
		}
		if at := max(s.noticedAt, s.renewed) + e.period(s); at > now {
			e.due(at)
		} else {
			late.add(s)
			e.tell(s, false, now)
		}
	}
	e.tellAll(eff, &held, now)
	late.into(eff, e.view, "")
}

// lapsed ends the subscriptions whose time is over (RFC 6665 §4.2.2), and returns their watchers, which are to be told.
func (e *Extension) lapsed(eff *Effects, now int64) (last batch) {
	e.watchers = slices.DeleteFunc(e.watchers, func(s *Subscription) bool {
		if e.lapse(s) > now {
			return false
		}
		last.add(s)
		e.endOne(eff, s, byLapse, now)
		return true
	})
	return last
}

// forgetOver forgets all that need not be known any more, and asks for the Ticks that the rest needs.
func (e *Extension) forgetOver(now int64) {
	m, life := e.more, e.tombstoneLife()
	if m == nil {
		return
	}
	// over says whether a thing whose lease ends at ends is to be forgotten because forget has passed (both in µs; 0: never).
	// If not, it asks for a Tick at the earlier one that is still to come.
	over := func(ends, forget int64) bool {
		if forget != 0 && forget <= now {
			return true
		}
		if ends > now {
			e.due(ends)
		} else if forget != 0 {
			e.due(forget)
		}
		return false
	}
	m.calls = slices.DeleteFunc(m.calls, func(c *call) bool { return e.forgetCallAt(c) <= now })
	for _, c := range m.calls { // after all that are over have gone, because a presumed call changes when another one ends
		ends := e.whole(c).ends()
		if c.lost() {
			ends = 0 // it is forgotten before
		}
		over(ends, e.forgetCallAt(c))
	}
	m.registers = slices.DeleteFunc(m.registers, func(r *register) bool { return over(r.lease, r.forgetAt(life)) })
	m.mailboxes = slices.DeleteFunc(m.mailboxes, func(b *mailbox) bool { return over(0, b.until) })
	m.published = slices.DeleteFunc(m.published, func(p *publication) bool { return over(0, p.until) })
	m.ended = slices.DeleteFunc(m.ended, func(t ended) bool { return over(0, t.until) })
}

// shed frees the details when they hold nothing.
func (e *Extension) shed() {
	if m := e.more; m != nil && m.history == "" && len(m.switches) == 0 && m.manual.state == None &&
		len(m.calls)+len(m.registers)+len(m.ended)+len(m.mailboxes)+len(m.published) == 0 {
		e.more = nil
	}
}
