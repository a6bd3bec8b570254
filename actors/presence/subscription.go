package presence

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Subscription is one watcher's subscription to one event package of the extension. Its strings are parts of
// one allocation: the record that it was read from.
type Subscription struct {
	CallID, From, FromTag, ToTag, Contact string
	ProxyRoute, UserAgent, SubscriptionID string
	ServerID, Queue                       string
	extra                                 string // fields of a newer release
	told                                  *View  // what the last NOTIFY showed
	renewed                               int64  // Unix ms of the last (re)subscription
	next                                  int64  // Unix ms before which a change is held back
	due                                   int64  // Unix ms at which MinRate wants a NOTIFY; 0: none
	behind                                int64  // Unix ms since when something is held back; 0: nothing
	CSeq, MaxRate, MinRate                uint32
	sequence, acked                       uint32
	expires                               uint32 // seconds, as granted
	reply                                 int16
	Package                               Package
	HasCSeq                               bool
}

// Edge is who sends the NOTIFYs.
func (s *Subscription) Edge() string { return cmp.Or(s.ServerID, s.Queue) }

// Stalker is the name that listings show for who follows the subscription.
func (s *Subscription) Stalker() string { return cmp.Or(s.SubscriptionID, s.ServerID, s.Queue) }

// Expires is the granted interval in seconds.
func (s *Subscription) Expires() int { return int(s.expires) }

// Renewed is the time of the last (re)subscription.
func (s *Subscription) Renewed() time.Time { return fromMillis(s.renewed) }

// Left is how many seconds of the granted interval are left (RFC 6665 §4.1.3), never negative.
func (s *Subscription) Left(now time.Time) int {
	return int(max(0, (s.renewed+int64(s.expires)*1000-millis(now)+999)/1000))
}

// Sequence is the CSeq of the last NOTIFY, 0 before the first since this owner took over.
func (s *Subscription) Sequence() uint32 { return s.sequence }

// Acked is the highest Sequence that the watcher answered.
func (s *Subscription) Acked() uint32 { return s.acked }

// Reply is the watcher's last answer, 0 before the first.
func (s *Subscription) Reply() int { return int(s.reply) }

// View is what the last NOTIFY showed; nil before the first.
func (s *Subscription) View() *View { return s.told }

// Told notes that a NOTIFY with this Sequence left.
func (s *Subscription) Told(sequence uint32) { s.sequence = sequence }

// Behind says since when the watcher should know more than it was told; zero: it does not.
func (s *Subscription) Behind() time.Time { return fromMillis(s.behind) }

func (s *Subscription) lapses(r *Rules) int64 {
	return s.renewed + int64(s.expires)*1000 + r.Grace.Milliseconds()
}

func (s *Subscription) interval(r *Rules) int64 {
	if s.MaxRate > 0 { // RFC 6446 §4
		return max(1_000_000/int64(s.MaxRate), r.NotifyInterval.Milliseconds())
	}
	return r.NotifyInterval.Milliseconds()
}

// ended is the tombstone of a subscription: it keeps a late SUBSCRIBE from reviving it.
type ended struct {
	callID  string
	until   int64
	cseq    uint32
	pkg     Package
	hasCSeq bool
}

func subscriptionKey(p Package, callID string) string { return string(rune('0'+p)) + callID }

func (e *Extension) find(p Package, callID string) (int, bool) {
	return slices.BinarySearchFunc(e.watchers, callID, func(s *Subscription, id string) int {
		if c := cmp.Compare(s.Package, p); c != 0 {
			return c
		}
		return strings.Compare(s.CallID, id)
	})
}

func (e *Extension) subscribe(ev Subscribe, now time.Time, fx *Effects) error {
	if ev.CallID == "" || ev.Expires < 0 || ev.Package > MessageSummary {
		return ErrInvalid
	}
	for _, t := range e.ended {
		if t.pkg == ev.Package && t.callID == ev.CallID && t.until > millis(now) &&
			ev.HasCSeq && t.hasCSeq && ev.CSeq <= t.cseq {
			return nil
		}
	}
	at, known := e.find(ev.Package, ev.CallID)
	if known && ev.HasCSeq && e.watchers[at].HasCSeq && ev.CSeq < e.watchers[at].CSeq {
		return nil // RFC 3261 §12.2.2: older than what was applied
	}
	if ev.Expires == 0 {
		if known {
			s := e.watchers[at]
			s.CSeq, s.HasCSeq = max(s.CSeq, ev.CSeq), s.HasCSeq || ev.HasCSeq
			e.end(s, "timeout", now, fx)
		}
		return nil
	}
	if !known {
		if old := e.replaced(ev); old != nil {
			e.end(old, "", now, fx)
			at, _ = e.find(ev.Package, ev.CallID)
		} else if len(e.watchers) >= e.rules.MaxWatchers {
			return ErrTooManyWatchers
		}
	}
	var s *Subscription
	if known {
		s = e.watchers[at]
	} else {
		s = new(Subscription)
		e.watchers = slices.Insert(e.watchers, at, s)
		e.forget(ev.Package, ev.CallID)
	}
	keep := s.extra
	s.Package, s.CSeq, s.HasCSeq = ev.Package, ev.CSeq, ev.HasCSeq
	s.expires, s.renewed, s.MaxRate, s.MinRate = uint32(ev.Expires), millis(now), ev.MaxRate, ev.MinRate
	s.CallID, s.From, s.FromTag, s.ToTag, s.Contact = ev.CallID, ev.From, ev.FromTag, ev.ToTag, ev.Contact
	s.ProxyRoute, s.UserAgent, s.SubscriptionID = ev.ProxyRoute, ev.UserAgent, ev.SubscriptionID
	s.ServerID, s.Queue, s.extra = ev.ServerID, ev.Queue, keep
	rec := e.subscriptionRecord(s, now)
	// Reading it back makes the strings parts of one allocation instead of ten of the document's.
	_ = s.parse(string(rec.Data))
	fx.Records = append(fx.Records, rec)
	e.tell(s, now)
	fx.Notices = append(fx.Notices, Notice{Package: s.Package, View: e.view, Watchers: []*Subscription{s}})
	e.wakeAt(s.lapses(e.rules))
	e.wakeAt(s.due)
	return nil
}

// replaced finds the subscription that a rebooted phone left behind: same AOR, same Contact, same package.
func (e *Extension) replaced(ev Subscribe) *Subscription {
	if ev.Contact == "" || ev.From == "" {
		return nil
	}
	device := instance(ev.Contact)
	for _, s := range e.watchers {
		if s.Package == ev.Package && strings.EqualFold(s.From, ev.From) &&
			(s.Contact == ev.Contact || device != "" && instance(s.Contact) == device) {
			return s
		}
	}
	return nil
}

// instance is the +sip.instance parameter of a Contact (RFC 5626 §4.1), "" without one.
func instance(contact string) string {
	i := strings.Index(strings.ToLower(contact), "+sip.instance=")
	if i < 0 {
		return ""
	}
	v := contact[i+len("+sip.instance="):]
	if v != "" && v[0] == '"' {
		if j := strings.IndexByte(v[1:], '"'); j >= 0 {
			return v[:j+2]
		}
	}
	v, _, _ = strings.Cut(v, ";")
	return v
}

// end turns a subscription into its tombstone and, with a reason, sends its last NOTIFY.
func (e *Extension) end(s *Subscription, reason string, now time.Time, fx *Effects) {
	at, ok := e.find(s.Package, s.CallID)
	if !ok {
		return
	}
	e.watchers = slices.Delete(e.watchers, at, at+1)
	t := ended{callID: s.CallID, cseq: s.CSeq, pkg: s.Package, hasCSeq: s.HasCSeq, until: millis(now.Add(e.rules.TombstoneLife))}
	if len(e.ended) >= e.rules.MaxTombstones {
		e.ended = slices.Delete(e.ended, 0, 1)
	}
	e.ended = append(e.ended, t)
	e.wakeAt(t.until)
	enc := e.newRecord(len(s.CallID) + 24)
	enc.time(fieldTombstone, t.until)
	enc.num(10, uint64(t.pkg))
	enc.str(11, t.callID)
	if t.hasCSeq {
		enc.num(21, uint64(t.cseq)+1)
	}
	fx.Records = append(fx.Records, Record{Kind: KindSubscription, Key: subscriptionKey(s.Package, s.CallID), Data: enc.b,
		TTL: ttl(t.until, now), Tombstone: true})
	if reason != "" {
		e.tell(s, now)
		fx.Notices = append(fx.Notices, Notice{Package: s.Package, View: e.view, Watchers: []*Subscription{s}, End: reason})
	}
}

func (e *Extension) forget(p Package, callID string) {
	e.ended = slices.DeleteFunc(e.ended, func(t ended) bool { return t.pkg == p && t.callID == callID })
}

func (e *Extension) subscriptionRecord(s *Subscription, now time.Time) Record {
	enc := e.newRecord(len(s.CallID) + len(s.From) + len(s.FromTag) + len(s.ToTag) + len(s.Contact) + len(s.ProxyRoute) +
		len(s.UserAgent) + len(s.SubscriptionID) + len(s.ServerID) + len(s.Queue) + len(s.extra) + 64)
	enc.num(10, uint64(s.Package))
	enc.str(11, s.CallID)
	enc.str(12, s.From)
	enc.str(13, s.FromTag)
	enc.str(14, s.ToTag)
	enc.str(15, s.Contact)
	enc.str(16, s.ProxyRoute)
	enc.str(17, s.UserAgent)
	enc.str(18, s.SubscriptionID)
	enc.str(19, s.ServerID)
	enc.str(20, s.Queue)
	if s.HasCSeq {
		enc.num(21, uint64(s.CSeq)+1)
	}
	enc.num(22, uint64(s.expires))
	enc.time(23, s.renewed)
	enc.num(24, uint64(s.MaxRate))
	enc.num(25, uint64(s.MinRate))
	enc.b = append(enc.b, s.extra...)
	return Record{Kind: KindSubscription, Key: subscriptionKey(s.Package, s.CallID), Data: enc.b, TTL: ttl(s.lapses(e.rules), now)}
}

// parse fills the durable fields from a record.
func (s *Subscription) parse(data string) error {
	unknown, err := decode(data, func(f field) bool {
		switch f.number {
		case fieldRealm, fieldUser, fieldTombstone:
		case 10:
			s.Package = number(f.num, MessageSummary)
		case 11:
			s.CallID = f.str
		case 12:
			s.From = f.str
		case 13:
			s.FromTag = f.str
		case 14:
			s.ToTag = f.str
		case 15:
			s.Contact = f.str
		case 16:
			s.ProxyRoute = f.str
		case 17:
			s.UserAgent = f.str
		case 18:
			s.SubscriptionID = f.str
		case 19:
			s.ServerID = f.str
		case 20:
			s.Queue = f.str
		case 21:
			s.CSeq, s.HasCSeq = number(f.num-1, ^uint32(0)), f.num > 0
		case 22:
			s.expires = number(f.num, uint32(1<<30))
		case 23:
			s.renewed = stamp(f.num)
		case 24:
			s.MaxRate = number(f.num, uint32(1<<30))
		case 25:
			s.MinRate = number(f.num, uint32(1<<30))
		default:
			return false
		}
		return true
	})
	s.extra = unknown
	return err
}
