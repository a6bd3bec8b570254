package presence

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// mailbox is the count of messages of the extension's own mailbox, or of one that lights the extension's lamp. The news with the latest
// Timestamp wins. Of two counts with the same one that wins which compare puts last; of two lamps the last to arrive, because only counts
// that have won tell lamps. News without a Timestamp wins when it arrives.
type mailbox struct {
	key      string // ownCounts, or "l" and the mailbox that lights the lamp
	messages Messages
	extended string   // of the own mailbox: the user of the further extension that it lights; "": none
	former   []string // of the own mailbox: the users that it lit before extended, the newest last
	since    int64    // µs, when the new messages last changed between none and some
	at       int64    // µs, the Timestamp of the newest news; 0: none had one
	until    int64    // µs, of a lamp that newer news has put out: until when older news must find it; 0: it is not put out
	unknown  string   // the record's fields of a newer release
	schema   uint8    // of the record
}

// ownCounts is the key of the extension's own mailbox.
const ownCounts = "c"

// MailboxUpdate is a voicemail system's report of one mailbox (docs/contract/nats.md, "Mailboxes").
type MailboxUpdate struct {
	Mailbox  Address
	Extended string // a further extension of the mailbox's realm whose lamp it lights; "": none
	Messages Messages
	At       time.Time // when it was so; zero: when the report arrived
}

// Events returns the events that an update means, with the extensions that they go to. The mailbox's own extension gets the
// counts, for its watchers of message-summary; this is the first event. Two lamps follow the new messages: that of the
// extension *98 and the mailbox's user, which is the key that phones have for the mailbox, and that of the extended
// extension. The mailbox's extension remembers the extended one. Effects.Former of the first event are those that an earlier
// update named and this one does not: Lamps puts theirs out.
func (u MailboxUpdate) Events() []Addressed {
	m, source := u.Messages, u.Mailbox.String()
	counts := MailboxEvent{Source: source, New: m.New, Saved: m.Saved, UrgentNew: m.UrgentNew, UrgentSaved: m.UrgentSaved, Account: m.Account,
		Extended: u.Extended, Timestamp: u.At}
	lamp := MailboxEvent{Source: source, Lamp: true, New: m.New, Timestamp: u.At}
	key := Address{Realm: u.Mailbox.Realm, User: "*98" + u.Mailbox.User}
	events := []Addressed{{u.Mailbox, counts}, {key, lamp}}
	if u.Extended != "" && u.Extended != key.User {
		events = append(events, Addressed{Address{Realm: u.Mailbox.Realm, User: u.Extended}, lamp})
	}
	return events
}

// Lamps returns the Events but the first, which its extension has taken, with those that put out the lamps of former extended extensions.
// former is the Effects.Former of the first event. When that event was ignored, newer counts are known: then there are no Lamps to be told.
func (u MailboxUpdate) Lamps(former []string) []Addressed {
	lamps := u.Events()[1:]
	for _, user := range former {
		if !slices.ContainsFunc(lamps, func(lamp Addressed) bool { return lamp.To.User == user }) {
			lamps = append(lamps, Addressed{Address{Realm: u.Mailbox.Realm, User: user}, MailboxEvent{Source: u.Mailbox.String(), Lamp: true, Timestamp: u.At}})
		}
	}
	return lamps
}

// maxFormer is the number of former extended extensions that a mailbox remembers. All of them are put out at each update, so one
// that could not be reached once is put out by the next.
const maxFormer = 4

// follow notes which further extension the own mailbox lights now.
func (m *mailbox) follow(extended string) {
	if m.extended == extended {
		return
	}
	if m.former = append(slices.Clone(m.former), m.extended); m.extended == "" {
		m.former = m.former[:len(m.former)-1]
	}
	m.former = slices.DeleteFunc(m.former, func(user string) bool { return user == extended })
	m.former = slices.Delete(m.former, 0, max(len(m.former)-maxFormer, 0))
	m.extended = strings.Clone(extended)
}

// lit says whether the mailbox lights the extension's lamp.
func (m *mailbox) lit() bool { return m.key != ownCounts && m.messages.New > 0 }

// compare puts counts in an order that says nothing but which of two that were told of the same moment wins.
func (m *Messages) compare(o *Messages) int {
	return cmp.Or(cmp.Compare(m.New, o.New), cmp.Compare(m.Saved, o.Saved), cmp.Compare(m.UrgentNew, o.UrgentNew), cmp.Compare(m.UrgentSaved, o.UrgentSaved),
		strings.Compare(m.Account, o.Account))
}

// mailboxEvent takes the counts of a mailbox. A mailbox that lights the lamp is forgotten when it has no new messages, for a tombstone's life
// after news that has a Timestamp.
func (e *Extension) mailboxEvent(eff *Effects, ev *MailboxEvent, now int64) error {
	if err := fits(0, 0, ev.Source, ev.Account, ev.Extended); err != nil {
		return err
	}
	if len(ev.Extended) > MaxName || ev.Lamp && ev.Extended != "" || strings.Contains(ev.Extended, " ") {
		return fmt.Errorf("%w: %.60q is no user whose lamp a mailbox lights", ErrInvalid, ev.Extended)
	}
	key := ownCounts
	if ev.Lamp {
		key = "l" + ev.Source
	}
	messages := Messages{New: ev.New, Saved: ev.Saved, UrgentNew: ev.UrgentNew, UrgentSaved: ev.UrgentSaved, Account: ev.Account}
	var b *mailbox
	i, found := 0, false
	if e.more != nil {
		if i, found = searchMailbox(e.more.mailboxes, key); found {
			b = e.more.mailboxes[i]
		}
	}
	at := int64(0)
	switch {
	case !ev.Timestamp.IsZero():
		at = stamp(ev.Timestamp, now)
	case found && b.at != 0:
		at = max(now, b.at)
	}
	switch {
	case found && !ev.Timestamp.IsZero() && (at < b.at || at == b.at && !ev.Lamp && cmp.Or(messages.compare(&b.messages), strings.Compare(ev.Extended, b.extended)) < 0):
		eff.Ignored = IgnoredOvertaken
		return nil
	case found && b.messages == messages && b.extended == ev.Extended && (ev.Timestamp.IsZero() || at == b.at):
		eff.Former = b.former
		return nil
	case ev.Lamp && ev.New == 0 && at == 0:
		if !found {
			return nil
		}
		e.more.mailboxes = slices.Delete(e.more.mailboxes, i, i+1)
		e.buryMailbox(eff, b, now)
		e.changed(eff, "mailbox", now)
		return nil
	case !found:
		if err := e.roomForMailbox(); err != nil {
			if ev.Lamp && ev.New == 0 {
				return nil // it is out
			}
			return err
		}
		b = &mailbox{key: strings.Clone(key), since: now, schema: e.rules.writes()}
		m := e.open()
		m.mailboxes = slices.Insert(m.mailboxes, i, b)
	}
	if (b.messages.New > 0) != (ev.New > 0) {
		b.since = now
	}
	messages.Account = strings.Clone(ev.Account)
	b.messages, b.at = messages, at
	b.follow(ev.Extended)
	eff.Former = b.former
	if ev.Lamp && ev.New == 0 {
		b.until = now + e.tombstoneLife()
		e.due(b.until)
		e.bury(eff, KindMailbox, b.key, e.encodeMailbox(b), b.until, now)
	} else {
		b.until = 0
		e.keep(eff, KindMailbox, b.key, e.encodeMailbox(b), 0, now)
	}
	e.changed(eff, "mailbox", now)
	return nil
}

// roomForMailbox refuses a new mailbox when the bound is reached: MaxCalls that light the lamp, and the own one.
func (e *Extension) roomForMailbox() error {
	if most := e.rules.MaxCalls; most > 0 && e.more != nil && len(e.more.mailboxes) >= most+1 {
		return fmt.Errorf("%w: it has %d mailboxes, at most %d are allowed", ErrTooManyCalls, len(e.more.mailboxes), most+1)
	}
	return nil
}

// buryMailbox replaces the mailbox's record by a tombstone of which nothing stays in memory.
func (e *Extension) buryMailbox(eff *Effects, b *mailbox, now int64) {
	gone := now + e.tombstoneLife()
	e.bury(eff, KindMailbox, b.key, appendNum(e.appendHead(nil, b.schema, b.key), recGone, uint64(gone)), gone, now)
}

// searchMailbox finds a mailbox by its key, or the place where it belongs.
func searchMailbox(boxes []*mailbox, key string) (int, bool) {
	return slices.BinarySearchFunc(boxes, key, func(b *mailbox, key string) int { return strings.Compare(b.key, key) })
}
