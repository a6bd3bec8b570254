package presence

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// Extension is one presentity. See the package comment for how to use it.
type Extension struct {
	realm, user string
	rules       *Rules
	view        *View
	watchers    []*Subscription // by package, then Call-ID
	ended       []ended
	calls       []*call
	registers   []*register
	mailboxes   []*mailbox
	transitions []Transition
	manual      manual
	wake        int64 // Unix ms at which a Tick is due at the earliest; 0: never
}

// idle is the view of everything of which nothing is known.
var idle = &View{State: Terminated}

// New makes an extension that holds nothing. realm and user are lower case.
func New(realm, user string, rules *Rules) *Extension {
	return &Extension{realm: realm, user: user, rules: rules, view: idle}
}

// View is what the extension looks like now.
func (e *Extension) View() *View { return e.view }

// Subscriptions are the live ones by package and Call-ID. The caller must not change the slice.
func (e *Extension) Subscriptions() []*Subscription { return e.watchers }

// Transitions are the last changes of the lamp, oldest first. The caller must not change the slice.
func (e *Extension) Transitions() []Transition { return e.transitions }

// Next is when Apply wants a Tick; zero: never. It may be early, never late.
func (e *Extension) Next() time.Time { return fromMillis(e.wake) }

// Empty says that nothing is held, not even a tombstone.
func (e *Extension) Empty() bool {
	return len(e.watchers)+len(e.ended)+len(e.calls)+len(e.registers)+len(e.mailboxes) == 0 &&
		e.manual.state == None
}

func (e *Extension) address() string { return e.user + "@" + e.realm }

func (e *Extension) wakeAt(ms int64) {
	if ms > 0 && (e.wake == 0 || ms < e.wake) {
		e.wake = ms
	}
}

// Apply makes one event happen. On an error nothing has changed.
func (e *Extension) Apply(ev Event, now time.Time) (Effects, error) {
	var fx Effects
	var err error
	source, anew := "", false
	switch ev := ev.(type) {
	case Subscribe:
		return fx, e.subscribe(ev, now, &fx)
	case CallEvent:
		source, err = ev.Source, e.call(ev, now, &fx)
	case RegisterEvent:
		source, err = ev.Source, e.register(ev, now, &fx)
	case MailboxEvent:
		source, err = "mailbox", e.mailbox(ev, now, &fx)
	case SetManual:
		source, err = "set", e.setManual(ev.State, now, &fx)
	case Reset:
		source, anew, err = "reset", true, e.reset(ev, now, &fx)
	case Notified:
		e.notified(ev)
		return fx, nil
	case Renotify:
		e.renotify(ev.Edge, now, &fx)
		return fx, nil
	case End:
		e.finish(ev.Reason, now, &fx)
		source = "end"
	case Tick:
		source = "timer"
		e.tick(now, &fx)
	default:
		err = fmt.Errorf("%w: %T", ErrInvalid, ev)
	}
	if err == nil {
		e.changed(source, anew, now, &fx)
		if _, ok := ev.(Tick); ok {
			e.heldBack(now, &fx)
			e.rewake()
		}
	}
	return fx, err
}

func (e *Extension) reset(ev Reset, now time.Time, fx *Effects) error {
	if ev.Then != None && ev.Then != Early && ev.Then != Confirmed && ev.Then != Terminated {
		return ErrInvalid
	}
	for _, c := range e.calls {
		if c.until == 0 {
			e.bury(c, now, fx)
		}
	}
	for _, r := range e.registers {
		if r.until == 0 {
			e.dropRegister(r, now, fx)
		}
	}
	then := ev.Then
	if then == None {
		then = Terminated
	}
	return e.setManual(then, now, fx)
}

// finish ends everything: the account is gone.
func (e *Extension) finish(reason string, now time.Time, fx *Effects) {
	for len(e.watchers) > 0 {
		e.end(e.watchers[len(e.watchers)-1], reason, now, fx)
	}
	for _, m := range slices.Clone(e.mailboxes) {
		if !m.lamp { // becomes a lamp record's tombstone in all but name: sweep it by TTL
			until := millis(now.Add(e.rules.TombstoneLife))
			enc := e.newRecord(32)
			enc.time(fieldTombstone, until)
			enc.str(10, m.source)
			fx.Records = append(fx.Records, Record{Kind: KindMailbox, Key: mailboxKey(m.source, false), Data: enc.b, TTL: ttl(until, now), Tombstone: true})
			continue
		}
		_ = e.mailbox(MailboxEvent{Source: m.source, Lamp: true}, now, fx)
	}
	e.mailboxes = nil
	_ = e.reset(Reset{}, now, fx)
}

func (e *Extension) notified(ev Notified) {
	for _, s := range e.watchers {
		if s.CallID == ev.CallID && (!ev.HasPackage || s.Package == ev.Package) {
			if ev.Sequence > 0 {
				s.acked = max(s.acked, ev.Sequence)
				s.sequence = max(s.sequence, ev.Sequence)
			} else {
				s.acked = s.sequence
			}
			if ev.Reply > 0 {
				s.reply = int16(min(ev.Reply, 999))
			}
		}
	}
}

// tick ends what lapsed.
func (e *Extension) tick(now time.Time, fx *Effects) {
	ms := millis(now)
	for i := len(e.watchers) - 1; i >= 0; i-- {
		if s := e.watchers[i]; s.lapses(e.rules) <= ms {
			e.end(s, "timeout", now, fx)
		}
	}
	e.ended = slices.DeleteFunc(e.ended, func(t ended) bool { return t.until <= ms })
	if len(e.ended) == 0 {
		e.ended = nil
	}
	e.lapseCalls(now, fx)
	e.lapseRegisters(now, fx)
}

// rewake computes when the next Tick is due, after one ran.
func (e *Extension) rewake() {
	e.wake = 0
	for _, s := range e.watchers {
		e.wakeAt(s.lapses(e.rules))
		e.wakeAt(s.due)
		if s.behind > 0 {
			e.wakeAt(s.next)
		}
	}
	for _, t := range e.ended {
		e.wakeAt(t.until)
	}
	for _, c := range e.calls {
		e.wakeAt(max(c.lease, c.until))
	}
	for _, r := range e.registers {
		e.wakeAt(max(r.lease, r.until))
	}
}

// Load takes one record of the extension back, in any order with the others.
func (e *Extension) Load(kind Kind, data []byte) error {
	text := string(data)
	switch kind {
	case KindSubscription:
		s := new(Subscription)
		if err := s.parse(text); err != nil {
			return err
		}
		if s.CallID == "" {
			return ErrRecord
		}
		at, known := e.find(s.Package, s.CallID)
		if until := tombstone(text); until > 0 {
			e.ended = append(e.ended, ended{callID: s.CallID, cseq: s.CSeq, pkg: s.Package, hasCSeq: s.HasCSeq, until: until})
		} else if known {
			e.watchers[at] = s
		} else {
			e.watchers = slices.Insert(e.watchers, at, s)
		}
	case KindCall:
		c, err := parseCall(text)
		if err != nil {
			return err
		}
		e.calls = append(e.calls, c)
	case KindRegister:
		r, err := parseRegister(text)
		if err != nil {
			return err
		}
		e.registers = append(e.registers, r)
	case KindManual:
		m, err := parseManual(text)
		if err != nil {
			return err
		}
		e.manual = m
	case KindMailbox:
		m, gone, err := parseMailbox(text)
		if err != nil {
			return err
		}
		if !gone {
			e.mailboxes = append(e.mailboxes, m)
		}
	case KindPublication: // of a later release; carried by its record alone
	default:
		return ErrRecord
	}
	return nil
}

func tombstone(data string) (until int64) {
	_, _ = decode(data, func(f field) bool {
		if f.number == fieldTombstone {
			until = max(stamp(f.num), 1)
		}
		return true
	})
	return until
}

// Loaded is called once after the last Load. What lapsed meanwhile ends with its last NOTIFY on the next Tick.
func (e *Extension) Loaded(now time.Time) {
	slices.SortFunc(e.calls, func(a, b *call) int { return compareStrings(a.callID, b.callID, a.id, b.id) })
	slices.SortFunc(e.registers, func(a, b *register) int { return compareStrings(a.key(), b.key(), "", "") })
	slices.SortFunc(e.mailboxes, func(a, b *mailbox) int {
		return compareStrings(mailboxKey(a.source, a.lamp), mailboxKey(b.source, b.lamp), "", "")
	})
	e.view = e.look()
	for _, s := range e.watchers {
		s.told = nil
	}
	e.rewake()
}

func compareStrings(a, b, c, d string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	case c < d:
		return -1
	case c > d:
		return 1
	}
	return 0
}

func hexmd5(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}
