package presence

import (
	"fmt"
	"time"
)

const (
	second = int64(time.Second / time.Microsecond)
	minute = 60 * second
)

// moment is the time of µs since 1970; 0 is the zero time.
func moment(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// Extension is one extension (presentity): its watchers and all that its lamp depends on.
type Extension struct {
	realm    string
	user     string
	rules    *Rules
	watchers []*Subscription // sorted by key
	view     *View
	more     *details // nil as long as there is nothing but watchers
	next     int64    // µs, not later than the next thing that time does; 0: nothing
}

// details is what most extensions do not have most of the time.
type details struct {
	calls       []*call     // sorted by key, tombstones too
	registers   []*register // sorted by key, tombstones too
	mailboxes   []*mailbox  // sorted by key
	ended       []ended     // tombstones of subscriptions, sorted by key
	manual      manual
	transitions []Transition // oldest first
}

// Idle is the View of every extension of which nothing is known. Not to be changed.
var Idle = &View{State: Terminated}

// New makes an extension that holds nothing. Both names are lower case; rules are shared.
func New(realm, user string, rules *Rules) *Extension {
	return &Extension{realm: realm, user: user, rules: rules, view: Idle}
}

// Realm is its realm, in lower case.
func (e *Extension) Realm() string { return e.realm }

// User is its name in the realm, in lower case.
func (e *Extension) User() string { return e.user }

// Address is its name, which no event changes.
func (e *Extension) Address() Address { return Address{Realm: e.realm, User: e.user} }

// View is the extension as it is.
func (e *Extension) View() *View { return e.view }

// Subscriptions are all subscriptions, sorted by package, then Call-ID. Not to be changed or kept.
func (e *Extension) Subscriptions() []*Subscription { return e.watchers }

// Transitions are the remembered changes of the lamp, oldest first. Not to be changed or kept.
func (e *Extension) Transitions() []Transition {
	if e.more == nil {
		return nil
	}
	return e.more.transitions
}

// Next is when the next Tick is due; zero: never.
func (e *Extension) Next() time.Time { return moment(e.next) }

// Empty says that nothing is held, not even a tombstone.
func (e *Extension) Empty() bool {
	m := e.more
	return len(e.watchers) == 0 && (m == nil ||
		len(m.calls)+len(m.registers)+len(m.mailboxes)+len(m.ended) == 0 && m.manual.state == None)
}

// Apply lets an event happen. An error says that it was refused, and nothing has changed.
func (e *Extension) Apply(ev Event, now time.Time) (Effects, error) {
	var eff Effects
	var err error
	us := now.UnixMicro()
	switch ev := ev.(type) {
	case Subscribe:
		err = e.subscribe(&eff, &ev, us)
	case CallEvent:
		err = e.callEvent(&eff, &ev, us)
	case RegisterEvent:
		err = e.registerEvent(&eff, &ev, us)
	case MailboxEvent:
		err = e.mailboxEvent(&eff, &ev, us)
	case Notified:
		err = e.notified(&ev)
	case SetManual:
		err = e.setManual(&eff, ev.State, us)
	case Reset:
		err = e.reset(&eff, ev.Then, us)
	case Renotify:
		e.renotify(&eff, ev.Edge, us)
	case End:
		e.end(&eff, ev.Reason, us)
	case EndSubscriptions:
		last := e.endWatchers(&eff, us)
		last.into(&eff, e.view, ev.Reason)
	case Tick:
		e.tick(&eff, us)
	default:
		err = fmt.Errorf("%w: %T", ErrInvalid, ev)
	}
	if err != nil {
		return Effects{}, err
	}
	return eff, nil
}

// open makes sure that there are details.
func (e *Extension) open() *details {
	if e.more == nil {
		e.more = &details{}
	}
	return e.more
}

// due asks for a Tick at us or earlier.
func (e *Extension) due(us int64) {
	if e.next == 0 || us < e.next {
		e.next = max(us, 1)
	}
}

// tombstoneLife is how long a tombstone stays, in µs.
func (e *Extension) tombstoneLife() int64 { return e.rules.TombstoneLife.Microseconds() }

// keep adds a record that is swept then; 0: it stays until it is replaced. The owner's timer ends things, the TTL only
// sweeps. Nothing may be swept before what it replaced would have been: a NATS server that was killed finds that one
// again, and with it a call that has ended or a subscription that is gone.
func (e *Extension) keep(eff *Effects, kind Kind, key string, data []byte, sweep, now int64) {
	eff.Records = append(eff.Records, Record{Kind: kind, Key: key, Data: data, TTL: ttl(sweep, now)})
}

// bury adds a tombstone's record.
func (e *Extension) bury(eff *Effects, kind Kind, key string, data []byte, sweep, now int64) {
	eff.Records = append(eff.Records, Record{Kind: kind, Key: key, Data: data, TTL: ttl(sweep, now), Tombstone: true})
}

// swept is when a record is swept at the earliest whose lease ends then: a minute later.
func swept(leaseEnd int64) int64 { return leaseEnd + minute }

// ttl is in whole seconds, and never less than one.
func ttl(sweep, now int64) time.Duration {
	if sweep == 0 {
		return 0
	}
	return time.Duration((max(sweep-now, 1)+second-1)/second) * time.Second
}

// roomForNew refuses what is new while too much has just ended. What exists may always end: so
// there are never more tombstones than the bound and what was alive.
func (e *Extension) roomForNew(now int64) error {
	m, most := e.more, e.rules.MaxTombstones
	if m == nil || most <= 0 || len(m.calls)+len(m.registers)+len(m.ended) < most {
		return nil
	}
	n := 0
	for _, c := range m.calls {
		if !c.visible(now) {
			n++
		}
	}
	for _, r := range m.registers {
		if !r.visible(now) {
			n++
		}
	}
	for _, t := range m.ended {
		if t.until > now {
			n++
		}
	}
	if n >= most {
		return fmt.Errorf("%w: %d", ErrTooManyTombstones, n)
	}
	return nil
}

// stamp is the time that an event counts from: its own, or its arrival when it has none or one
// that can't be (docs/contract/nats.md, "Calls").
func stamp(t time.Time, now int64) int64 {
	if t.IsZero() {
		return now
	}
	us := t.UnixMicro()
	if us > now+minute {
		return now
	}
	return max(us, 1)
}

// LongestLease is the longest lease, in seconds, that news of a call or register may ask for: a year.
const LongestLease = 365 * 24 * 3600

// fits refuses a lease or a text out of bounds.
func fits(expires, most int, texts ...string) error {
	if expires < 0 || expires > most {
		return fmt.Errorf("%w: expires %d", ErrInvalid, expires)
	}
	for _, s := range texts {
		if len(s) > MaxText {
			return fmt.Errorf("%w: a field of %d bytes", ErrInvalid, len(s))
		}
	}
	return nil
}
