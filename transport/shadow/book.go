package shadow

import (
	"slices"
	"strings"
	"time"

	"lamplight/actors/presence"
)

// side is one of the two that are compared.
type side int

const (
	lamplight side = iota
	running        // the running system
)

// names are the names of the sides, as metrics have them.
var names = [2]string{"lamplight", "running_system"}

const (
	maxExtensions    = 1_000_000
	maxSubscriptions = 4_000_000
	maxOpen          = 10_000 // differences that are followed until they are over; more are only counted
	maxName          = 64     // bytes of a Call-ID or watcher that are remembered
	maxEvents        = 8      // of one extension that are remembered
	maxExplaining    = 8      // questions to Lamplight under way
)

// lamp is what a side says of an extension.
type lamp struct {
	state presence.State // None: it says nothing
	since time.Time      // on this machine's clock
	heard time.Time      // when it was last told as it happened; zero: it only stood in a listing
	sent  time.Time      // when the running system says that it sent that, by its own clock; zero: it does not say
}

// kind is what an event of the running system was.
type kind uint8

const (
	told     kind = iota // it sent a NOTIFY, and its watcher answered
	document             // it was sent a document of a call
)

// event is something that the running system did or was sent.
type event struct {
	at    time.Time
	kind  kind
	state presence.State
	code  int    // of a NOTIFY: the answer; 0: none is known
	call  string // what the dialog is called; "": the NOTIFY has none
	to    string // of a NOTIFY: the watcher; "": that is not known
}

// extension is what is known of one extension. Only extensions that are lit, or that the running system has watchers for, are kept.
type extension struct {
	user    string
	lamps   [2]lamp
	unequal time.Time // since when the lamps differ; zero: they do not
	looked  time.Time // when the running system was last seen to say what it says
	asking  bool      // Lamplight is asked why its lamp is as it is
	again   time.Time // when it may be asked again, because it did not answer
	open    *Difference
	events  []event // oldest first
	uri     string  // the Switch-URI of the newest document

	dead time.Time // when Lamplight took the switch of its last call for gone, if that is why the lamps differ

	lastAbsent time.Time // the last complete listing of the running system that had no watcher; zero: none had
	present    time.Time // since when it has one again; zero: it has none, or has had one since before the first listing

	row           lamp // the newest NOTIFY of the listing under way
	rowCall       string
	rowRound      int
	litRound      int
	subscriptions map[subscriptionKey]*subscription
}

// subscriptionKey names a subscription to an extension at both sides. Their Call-IDs differ when a phone has subscribed at both.
type subscriptionKey struct{ eventPackage, watcher string }

// subscription is one that at least one side has.
type subscription struct {
	round  [2]int       // the last listing of each side that had it
	had    [2]time.Time // when that was
	one    time.Time    // since when only one side has it; zero: both have it
	code   int          // what the watcher last answered a NOTIFY of the running system
	codeAt time.Time
	open   *Difference
}

// listing is a side's listing under way, or its last one.
type listing struct {
	round int
	asked time.Time
	rows  int

	full      time.Time // when the last complete one was asked for
	fullRound int       // its number; 0: there was none
}

// complete notes that the listing under way is complete.
func (l *listing) complete() { l.full, l.fullRound = l.asked, l.round }

// has says whether the last complete listing, or the one under way, has what was in a listing last in this round.
func (l *listing) has(round int) bool { return l.fullRound > 0 && round >= l.fullRound }

// book holds what both sides say, and finds the differences. It has no clock and does no I/O; one goroutine has it.
type book struct {
	realm string
	grace time.Duration
	only  map[string]bool // the extensions that are compared; nil: all of the realm

	extensions    map[string]*extension
	unequal       map[*extension]bool
	lists         [2]listing // Lamplight's is of its lamps
	subscribed    listing    // Lamplight's listing of its subscriptions
	ours          int        // the subscriptions of that
	subscriptions int        // that are kept
	clocks        [2]clock
	later         [2]*later

	explaining int
	number     int // of the last difference
	openNow    int
	causes     map[string]int
	unlisted   int // differences past maxOpen
	unkept     int // extensions and subscriptions past their bounds

	report Reporter
}

func newBook(realm string, grace time.Duration, r Reporter) *book {
	return &book{realm: realm, grace: grace, extensions: map[string]*extension{}, unequal: map[*extension]bool{}, later: [2]*later{newLater(), newLater()},
		causes: map[string]int{}, report: r}
}

// of returns an extension, which is made when it is new; nil: there are too many.
func (b *book) of(user string) *extension {
	e := b.extensions[user]
	if e != nil {
		return e
	}
	if b.only != nil && !b.only[user] || user == "" {
		return nil
	}
	if len(b.extensions) >= maxExtensions {
		b.unkept++
		return nil
	}
	e = &extension{user: user, subscriptions: map[subscriptionKey]*subscription{}}
	if !b.lists[lamplight].full.IsZero() { // what it does not list is dark
		e.lamps[lamplight] = lamp{state: presence.Terminated}
	}
	e.lastAbsent = b.lists[running].full
	b.extensions[user] = e
	return e
}

// change notes that one side reported a change of a lamp when it happened, and not in a listing. since is the time of the change by that side's
// clock; zero: now.
func (b *book) change(s side, user string, state presence.State, since, now time.Time) {
	e := b.of(user)
	if e == nil {
		return
	}
	if since.IsZero() {
		since = now
	} else {
		b.clocks[s].sample(since, now)
		since = b.clocks[s].here(since, now)
	}
	if s == running && e.present.IsZero() {
		e.present = now
	}
	if s == running {
		e.looked = now
	}
	if e.lamps[s].state == state { // said again
		e.lamps[s].heard = now
		return
	}
	e.lamps[s] = lamp{state: state, since: since, heard: now}
	b.compare(e, s, true, now)
}

// notify is a NOTIFY of the running system, of one watcher.
type notify struct {
	user, eventPackage, watcher string
	state                       presence.State // None: it is about no lamp
	call                        string         // of the dialog that decides
	code                        int            // what the watcher answered; 0: that is not known
	sent                        time.Time      // by the clock of the running system; zero: it does not say
}

// told notes that the running system sent a NOTIFY.
func (b *book) told(n notify, now time.Time) {
	e := b.of(n.user)
	if e == nil {
		return
	}
	if s := e.subscriptions[subscriptionKey{n.eventPackage, n.watcher}]; s != nil && n.code != 0 {
		s.code, s.codeAt = n.code, now
	}
	if !n.sent.IsZero() {
		b.clocks[running].sample(n.sent, now)
	}
	if n.state == presence.None || !n.sent.IsZero() && n.sent.Before(e.lamps[running].sent) { // it was told before, and its watcher answered late
		return
	}
	e.note(event{at: now, kind: told, state: n.state, call: n.call, code: n.code, to: n.watcher})
	b.change(running, n.user, n.state, time.Time{}, now)
	e.lamps[running].sent = n.sent
}

// document notes that the running system was sent a document of a call.
func (b *book) document(user, callID, switchURI string, state presence.State, now time.Time) {
	if e := b.of(user); e != nil {
		e.note(event{at: now, kind: document, state: state, call: callID})
		if switchURI != "" {
			e.uri = switchURI
		}
	}
}

// unknown notes that it is not known any more what the running system says of an extension.
func (b *book) unknown(user string, now time.Time) {
	if e := b.extensions[user]; e != nil {
		e.lamps[running] = lamp{}
		b.compare(e, running, false, now)
	}
}

// note remembers an event. Of NOTIFYs to many watchers that say the same, it remembers the first, and those that failed.
func (e *extension) note(ev event) {
	for i := len(e.events) - 1; i >= 0 && ev.code < 300; i-- {
		if old := &e.events[i]; old.kind == ev.kind {
			if old.state == ev.state && old.call == ev.call {
				return
			}
			break
		}
	}
	if len(e.events) >= maxEvents {
		e.events = slices.Delete(e.events, 0, len(e.events)-maxEvents+1)
	}
	ev.call, ev.to = short(ev.call), short(ev.to)
	e.events = append(e.events, ev)
}

// short cuts a name that comes from outside.
func short(text string) string {
	return strings.ToValidUTF8(strings.Clone(text[:min(len(text), maxName)]), "?")
}

// compare compares the lamps of an extension after one of them has changed. live says that the change was heard as it happened.
func (b *book) compare(e *extension, mover side, live bool, now time.Time) {
	ours, theirs := &e.lamps[lamplight], &e.lamps[running]
	switch {
	case ours.state == theirs.state || ours.state == presence.None || theirs.state == presence.None:
		if e.unequal.IsZero() {
			return
		}
		other := e.lamps[1-mover]
		if live && !other.heard.IsZero() && ours.state == theirs.state && e.open == nil {
			b.later[mover].add(now.Sub(other.heard))
		}
		e.unequal, e.dead = time.Time{}, time.Time{}
		delete(b.unequal, e)
		b.over(&e.open, now)
	case e.unequal.IsZero():
		e.unequal = now
		b.unequal[e] = true
	}
}

// due returns the extensions whose lamps have differed for longer than the grace time, and of which Lamplight is to be asked why its lamp is
// as it is. alive says that the running system tells every change, so that what it said last is what it says.
func (b *book) due(alive bool, now time.Time) (users []string) {
	for e := range b.unequal {
		end := e.unequal.Add(b.grace)
		if e.asking || e.open != nil || now.Before(end) || now.Before(e.again) || !alive && e.looked.Before(end) {
			continue
		}
		if b.explaining >= maxExplaining {
			break
		}
		if b.openNow >= maxOpen {
			b.unlisted++
			e.open = &Difference{} // it is counted, and not followed
			continue
		}
		e.asking = true
		b.explaining++
		users = append(users, e.user)
	}
	return users
}

// explained takes what Lamplight answered.
func (b *book) explained(user string, x *explanation, now time.Time) {
	b.explaining--
	e := b.extensions[user]
	if e == nil {
		return
	}
	e.asking = false
	if e.unequal.IsZero() {
		return
	}
	if x.err != nil { // Lamplight is not reached, so what it was last known to say means nothing
		e.again = now.Add(b.grace)
		return
	}
	if ours := &e.lamps[lamplight]; x.state != ours.state && ours.heard.Before(x.asked) { // the feed has missed a change
		*ours = lamp{state: x.state, since: now}
		b.compare(e, lamplight, false, now)
		return
	}
	for i := range x.transitions {
		x.transitions[i].at = b.clocks[lamplight].here(x.transitions[i].at, now)
	}
	c, because := b.likely(e, x)
	d := &Difference{Kind: "lamp", Extension: e.user + "@" + b.realm, Since: e.unequal, Cause: c, Because: because,
		Lamplight: e.lamps[lamplight].said(), Running: e.lamps[running].said()}
	for _, t := range x.transitions {
		d.Events.Lamplight = append(d.Events.Lamplight, Seen{At: t.at, What: t.state + " (" + t.source + ")"})
	}
	for i := range e.events {
		d.Events.Running = append(d.Events.Running, e.events[i].seen())
	}
	e.open = d
	b.found(d)
}

// found reports a difference.
func (b *book) found(d *Difference) {
	b.number++
	b.openNow++
	b.causes[d.Cause]++
	d.ID = b.number
	b.report.Found(d)
}

// over ends a difference, if there is one.
func (b *book) over(open **Difference, now time.Time) {
	d := *open
	*open = nil
	if d == nil || d.ID == 0 {
		return
	}
	b.openNow--
	d.Over, d.Lasted = now, now.Sub(d.Since).Seconds()
	b.report.Over(d)
}
