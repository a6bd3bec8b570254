package shadow

import (
	"fmt"
	"time"
)

// subscribedTo notes that a listing of a side has a subscription. code is what its watcher last answered; 0: that is not known.
func (b *book) subscribedTo(e *extension, eventPackage, watcher string, at side, l *listing, code int, now time.Time) {
	key := subscriptionKey{eventPackage, watcher}
	s := e.subscriptions[key]
	if s == nil {
		if b.subscriptions >= maxSubscriptions {
			b.unkept++
			return
		}
		b.subscriptions++
		s = &subscription{}
		e.subscriptions[key] = s
	}
	s.round[at], s.had[at] = l.round, l.asked
	if at == running && code != 0 && (code != s.code || s.codeAt.IsZero()) {
		s.code, s.codeAt = code, now
	}
}

// ownSubscription notes a subscription of Lamplight's listing.
func (b *book) ownSubscription(user, eventPackage, watcher string, now time.Time) {
	b.subscribed.rows++
	if e := b.of(user); e != nil {
		b.subscribedTo(e, eventPackage, watcher, lamplight, &b.subscribed, 0, now)
	}
}

// beginSubscriptions notes that Lamplight was asked for its subscriptions.
func (b *book) beginSubscriptions(now time.Time) {
	b.subscribed.round++
	b.subscribed.asked, b.subscribed.rows = now, 0
}

// allSubscriptions notes the end of Lamplight's listing of its subscriptions.
func (b *book) allSubscriptions(complete bool) {
	if complete {
		b.subscribed.complete()
		b.ours = b.subscribed.rows
	}
}

// settle compares the subscriptions of an extension after a complete listing of the running system. A subscription that both sides had, and that
// one of them has lost, is a difference. One that only ever one side had is counted alone: before the cut-over, most phones have subscribed at
// the running system only.
func (b *book) settle(e *extension, now time.Time) {
	theirs, ours := &b.lists[running], &b.subscribed
	for key, s := range e.subscriptions {
		has := [2]bool{ours.has(s.round[lamplight]), theirs.has(s.round[running])}
		if has[lamplight] == has[running] {
			s.one = time.Time{}
			b.over(&s.open, now)
			if !has[lamplight] && !has[running] {
				delete(e.subscriptions, key)
				b.subscriptions--
			}
			continue
		}
		if s.one.IsZero() {
			s.one = theirs.asked
		}
		if s.open == nil && !s.had[lamplight].IsZero() && !s.had[running].IsZero() && theirs.asked.Sub(s.one) >= b.grace && !ours.full.Before(s.one) {
			b.alone(e, key, s, has)
		}
	}
}

// alone reports a subscription that only one side has.
func (b *book) alone(e *extension, key subscriptionKey, s *subscription, has [2]bool) {
	if b.openNow >= maxOpen {
		b.unlisted++
		s.open = &Difference{}
		return
	}
	d := &Difference{Kind: "subscription", Extension: e.user + "@" + b.realm, Watcher: key.watcher, Package: key.eventPackage, Since: s.one, Cause: Unknown}
	for i, said := range []*Said{&d.Lamplight, &d.Running} {
		if said.State = "none"; has[i] {
			said.State = "subscribed"
		} else {
			said.Since = s.had[i]
		}
	}
	if s.code != 0 {
		d.Events.Running = []Seen{{At: s.codeAt, What: fmt.Sprintf("%s answered a NOTIFY with %d", key.watcher, s.code)}}
	}
	switch {
	case has[running]:
		d.Because = fmt.Sprintf("Lamplight last had it at %s; it does not say why it has ended", clockTime(s.had[lamplight]))
	case s.code >= 300:
		d.Cause = Dropped
		d.Because = fmt.Sprintf("the watcher answered a NOTIFY with %d at %s; the running system last listed it at %s, and Lamplight still has it", s.code, clockTime(s.codeAt), clockTime(s.had[running]))
	default:
		d.Because = fmt.Sprintf("the running system last listed it at %s; no NOTIFY was seen to fail before. The phone has perhaps moved to Lamplight", clockTime(s.had[running]))
	}
	s.open = d
	b.found(d)
}
