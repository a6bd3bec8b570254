package shadow

import (
	"cmp"
	"time"

	"lamplight/actors/presence"
)

// begin notes that a side was asked for a listing: the running system for its subscriptions, Lamplight for its lamps.
func (b *book) begin(s side, now time.Time) {
	b.lists[s].round++
	b.lists[s].asked, b.lists[s].rows = now, 0
}

// lit notes a lamp of Lamplight's listing.
func (b *book) lit(user string, state presence.State, since, now time.Time) {
	e := b.of(user)
	if e == nil {
		return
	}
	l := &b.lists[lamplight]
	e.litRound = l.round
	if e.lamps[lamplight].heard.After(l.asked) || e.lamps[lamplight].state == state {
		return
	}
	e.lamps[lamplight] = lamp{state: state, since: b.clocks[lamplight].here(since, now)}
	b.compare(e, lamplight, false, now)
}

// allLit notes the end of Lamplight's listing. Of one that is not complete, what it does not list means nothing.
func (b *book) allLit(complete bool, now time.Time) {
	l := &b.lists[lamplight]
	if !complete {
		return
	}
	l.complete()
	for _, e := range b.extensions {
		ours := &e.lamps[lamplight]
		if e.litRound == l.round || ours.state == presence.Terminated || ours.heard.After(l.asked) {
			continue
		}
		dark := lamp{state: presence.Terminated}
		if ours.state != presence.None {
			dark.since = now
		}
		*ours = dark
		b.compare(e, lamplight, false, now)
	}
}

// row is a subscription of the running system's listing.
type row struct {
	user, eventPackage, watcher string
	state                       presence.State // None: the listing does not say what the watcher was told
	call                        string         // of the dialog that decides
	at                          time.Time      // when it was told, by the clock of the running system; zero: it does not say
	code                        int
}

// watched notes a row of the running system's listing.
func (b *book) watched(r row, now time.Time) {
	l := &b.lists[running]
	l.rows++
	e := b.of(r.user)
	if e == nil {
		return
	}
	b.subscribedTo(e, r.eventPackage, r.watcher, running, l, r.code, now)
	e.looked = cmp.Or(e.looked, l.asked)
	first := e.rowRound != l.round
	e.rowRound = l.round
	if first {
		e.row = lamp{}
	}
	// The newest NOTIFY says what the running system has. Of two in the same second, that which agrees with Lamplight counts.
	if r.state != presence.None && (e.row.state == presence.None || r.at.After(e.row.sent) || r.at.Equal(e.row.sent) && r.state == e.lamps[lamplight].state) {
		e.row, e.rowCall = lamp{state: r.state, sent: r.at}, short(r.call)
	}
}

// allWatched notes the end of the running system's listing. Of one that is not complete, what it does not list means nothing.
func (b *book) allWatched(complete bool, now time.Time) {
	l := &b.lists[running]
	if complete {
		l.complete()
	}
	for user, e := range b.extensions {
		if e.rowRound == l.round {
			b.listed(e, now)
		} else if complete {
			b.unlistedNow(e, now)
		}
		if complete {
			b.settle(e, now)
		}
		if complete && e.rowRound != l.round && !isLit(e.lamps[lamplight].state) && e.lamps[running].state == presence.None && len(e.subscriptions) == 0 {
			delete(b.extensions, user)
			delete(b.unequal, e)
		}
	}
}

// listed takes over what the listing says of an extension.
func (b *book) listed(e *extension, now time.Time) {
	l := &b.lists[running]
	if e.present.IsZero() {
		e.present = l.asked
	}
	theirs := &e.lamps[running]
	if theirs.heard.After(l.asked) || e.row.state == presence.None {
		return
	}
	e.looked = l.asked
	if e.row.state == theirs.state {
		theirs.sent = e.row.sent
		return
	}
	since := e.row.sent
	if since.IsZero() {
		since = now
	} else {
		if theirs.state != presence.None { // it changed since the last listing
			b.clocks[running].sample(since, now)
		}
		since = b.clocks[running].here(since, now)
	}
	e.note(event{at: since, kind: told, state: e.row.state, call: e.rowCall})
	*theirs = lamp{state: e.row.state, since: since, sent: e.row.sent}
	b.compare(e, running, false, now)
}

// unlistedNow notes that a complete listing has no watcher of an extension.
func (b *book) unlistedNow(e *extension, now time.Time) {
	asked := b.lists[running].asked
	if e.lamps[running].heard.After(asked) {
		return
	}
	e.lastAbsent, e.present = asked, time.Time{}
	if e.lamps[running].state != presence.None {
		e.lamps[running] = lamp{}
		b.compare(e, running, false, now)
	}
}
