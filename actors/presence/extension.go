package presence

import (
	"fmt"
	"time"
)

const (
	second = int64(time.Second / time.Microsecond)
	minute = 60 * second
)

// moment is the time that is us microseconds after 1970; 0 is the zero time.
func moment(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// Extension is one extension (presentity): its watchers and all that its lamp depends on. It must be used by one goroutine at
// a time.
type Extension struct {
	realm    string
	user     string
	rules    *Rules
	watchers []*Subscription // sorted by package, then Call-ID
	view     *View
	more     *details // nil while the extension has nothing but watchers
	next     int64    // µs, when the next Tick is due, or earlier; 0: none is
	turn     int64    // µs, when its watchers may be told a change that their account's budget holds back; 0: it holds none back
}

// details holds what most extensions do not have most of the time.
type details struct {
	calls     []*call        // sorted by key, tombstones too
	registers []*register    // sorted by key, tombstones too
	mailboxes []*mailbox     // sorted by key
	published []*publication // sorted by key
	ended     []ended        // tombstones of subscriptions, sorted by key
	manual    manual
	history   history       // of the lamp
	bearer    bearer        // the record that carries it
	switches  []switchCalls // sorted by name
}

// Idle is the View of every extension of which nothing is known.
var Idle = &View{State: Terminated}

// New makes an extension that holds nothing. Both names must be in lower case. It keeps rules, which extensions share.
func New(realm, user string, rules *Rules) *Extension {
	return &Extension{realm: realm, user: user, rules: rules, view: Idle}
}

// Realm returns the extension's realm, in lower case.
func (e *Extension) Realm() string { return e.realm }

// User returns the extension's name in its realm, in lower case.
func (e *Extension) User() string { return e.user }

// Address returns the extension's name, which no event changes.
func (e *Extension) Address() Address { return Address{Realm: e.realm, User: e.user} }

// View returns the extension as it is.
func (e *Extension) View() *View { return e.view }

// Subscriptions returns all subscriptions, sorted by package, then Call-ID. The caller must not change the slice, nor use it
// after the next Apply.
func (e *Extension) Subscriptions() []*Subscription { return e.watchers }

// Next returns when the next Tick is due; the zero time: none is.
func (e *Extension) Next() time.Time { return moment(e.next) }

// Empty says that the extension holds nothing, not even a tombstone.
func (e *Extension) Empty() bool {
	m := e.more
	return len(e.watchers) == 0 && (m == nil ||
		len(m.calls)+len(m.registers)+len(m.mailboxes)+len(m.published)+len(m.ended) == 0 && m.manual.state == None)
}

// Apply applies an event at the time now. On an error the event was refused and the extension has not changed; it wraps one of
// the errors of this package. See the package's comment for what the caller must do with the Effects.
func (e *Extension) Apply(ev Event, now time.Time) (Effects, error) {
	return e.ApplyFrom(ev, Origin{}, now)
}

// ApplyFrom is Apply for an event of which it is known who caused it. The history of the lamp remembers that.
func (e *Extension) ApplyFrom(ev Event, origin Origin, now time.Time) (Effects, error) {
	eff := Effects{origin: origin}
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
	case Publish:
		err = e.publish(&eff, &ev, us)
	case Notified:
		err = e.notified(&eff, &ev, us)
	case SetManual:
		err = e.setManual(&eff, ev.State, us)
	case Reset:
		err = e.reset(&eff, ev.Then, us)
	case Renotify:
		e.renotify(&eff, ev.Edge, us)
	case End:
		e.end(&eff, ev.Reason, us)
	case EndSubscriptions:
		last := e.endWatchers(&eff, ev.Edge, us)
		last.into(&eff, e.view, ev.Reason)
	case Registration:
		err = e.registration(&eff, &ev, us)
	case SwitchGone:
		e.switchGone(&eff, &ev, us)
	case Tick:
		e.tick(&eff, us)
	default:
		err = fmt.Errorf("%w: %T", ErrInvalid, ev)
	}
	if err != nil {
		return Effects{}, err
	}
	e.countSwitches(&eff)
	e.carryHistory(&eff)
	e.shed()
	return eff, nil
}

// open returns the details, which it makes if there are none.
func (e *Extension) open() *details {
	if e.more == nil {
		e.more = &details{}
	}
	return e.more
}

// due asks for a Tick at us (µs) or earlier.
func (e *Extension) due(us int64) {
	if e.next == 0 || us < e.next {
		e.next = max(us, 1)
	}
}

// tombstoneLife is Rules.TombstoneLife in µs.
func (e *Extension) tombstoneLife() int64 { return e.rules.TombstoneLife.Microseconds() }

// keep adds the record of something that the owner forgets at forget (µs); 0: never. The owner's timers end things. The record's life only
// says when the journal may forget the record, and it may be shorter than that of the record before it, which never comes back
// (docs/contract/journal.md, "Slots").
func (e *Extension) keep(eff *Effects, kind Kind, key string, data []byte, forget, now int64) {
	eff.Records = append(eff.Records, Record{Kind: kind, Key: key, Data: data, Life: life(forget, now)})
}

// bury adds a tombstone's record, as keep does.
func (e *Extension) bury(eff *Effects, kind Kind, key string, data []byte, forget, now int64) {
	eff.Records = append(eff.Records, Record{Kind: kind, Key: key, Data: data, Life: life(forget, now), Tombstone: true})
}

// life is the Life of a record of something that the owner forgets at forget (µs; 0: never): a minute longer, because the clock of NATS may
// be ahead of the owner's.
func life(forget, now int64) time.Duration {
	if forget == 0 {
		return 0
	}
	return time.Duration(max(forget+minute-now, second)) * time.Microsecond
}

// roomForNew refuses to begin anything while the extension has too many tombstones. What exists may always end, so there are
// never more tombstones than the bound and the number of things that lived.
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
		return fmt.Errorf("%w: %d, at most %d are remembered", ErrTooManyTombstones, n, most)
	}
	return nil
}

// stamp is the time that an event counts from, in µs: its own, or that of its arrival when it has none or one that is more
// than a minute ahead (docs/contract/nats.md, "Calls").
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

// fits refuses an interval that is not 0 to most seconds, and texts that are longer than MaxText.
func fits(expires, most int, texts ...string) error {
	if expires < 0 || expires > most {
		return fmt.Errorf("%w: Expires is %d s; it must be 0 to %d", ErrInvalid, expires, most)
	}
	for _, s := range texts {
		if len(s) > MaxText {
			return fmt.Errorf("%w: a field has %d bytes; at most %d are allowed", ErrInvalid, len(s), MaxText)
		}
	}
	return nil
}
