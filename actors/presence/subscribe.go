package presence

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// ended is the tombstone of a subscription: late news of it must not revive it.
type ended struct {
	key      string
	until    int64  // µs
	cseq     uint32 // SUBSCRIBEs below this are ignored
	replaced bool   // the phone gave the Call-ID up: SUBSCRIBEs without CSeq are ignored too
}

// LongestSubscription is the longest interval, in seconds, that a SUBSCRIBE may ask for.
const LongestSubscription = 24 * 3600

// single holds what one accepted SUBSCRIBE gives, in one allocation.
type single struct {
	records  [1]Record
	notices  [1]Notice
	watchers [1]*Subscription
}

// subscribe creates, refreshes or ends a subscription (RFC 6665 §4.2.1).
func (e *Extension) subscribe(eff *Effects, ev *Subscribe, now int64) error {
	if err := checkSubscribe(ev); err != nil {
		return err
	}
	i, found := e.find(ev.Package, ev.CallID)
	if !found {
		return e.create(eff, ev, i, now)
	}
	s := e.watchers[i]
	if ev.HasCSeq && s.HasCSeq && ev.CSeq < s.CSeq {
		return nil // overtaken by a newer SUBSCRIBE
	}
	if ev.HasCSeq {
		s.CSeq, s.HasCSeq = ev.CSeq, true
	}
	if ev.Expires == 0 {
		e.watchers = slices.Delete(e.watchers, i, i+1)
		e.endOne(eff, s, false, now)
		var last batch
		last.add(s)
		last.into(eff, e.view, "timeout")
		return nil
	}
	s.take(ev, e.near(i))
	e.accept(eff, s, now)
	return nil
}

// UnnamedCallID names the subscription of a SUBSCRIBE that brings no Call-ID: the watcher has one such subscription for
// each extension and event package. from is the watcher, user@realm.
func UnnamedCallID(to Address, from string) string {
	sum := md5.Sum([]byte(to.String() + "\x00" + strings.ToLower(from)))
	return hex.EncodeToString(sum[:])
}

func checkSubscribe(ev *Subscribe) error {
	if ev.Package > LastPackage || ev.CallID == "" {
		return fmt.Errorf("%w: a SUBSCRIBE needs an event package and a Call-ID", ErrInvalid)
	}
	return fits(ev.Expires, LongestSubscription, ev.CallID, ev.From, ev.FromTag, ev.ToTag, ev.Contact,
		ev.ProxyRoute, ev.UserAgent, ev.SubscriptionID, ev.ServerID, ev.Queue)
}

// create adds a subscription at i, unless it has ended a moment ago.
func (e *Extension) create(eff *Effects, ev *Subscribe, i int, now int64) error {
	at, dead := e.findEnded(ev.Package, ev.CallID)
	if dead {
		t := &e.more.ended[at]
		late := ev.HasCSeq && ev.CSeq < t.cseq || !ev.HasCSeq && t.replaced
		if late && t.until > now {
			return nil
		}
	}
	if ev.Expires == 0 {
		return nil
	}
	s := &Subscription{Package: ev.Package, HasCSeq: ev.HasCSeq, schema: e.rules.writes()}
	if ev.HasCSeq {
		s.CSeq = ev.CSeq
	}
	s.take(ev, e.near(i))
	old := e.leftBehind(s)
	if most := e.rules.MaxWatchers; most > 0 && len(e.watchers)-len(old) >= most {
		return fmt.Errorf("%w: %d", ErrTooManyWatchers, len(e.watchers))
	}
	if err := e.roomForNew(now); err != nil {
		return err
	}
	if dead {
		e.more.ended = slices.Delete(e.more.ended, at, at+1)
	}
	e.watchers = slices.Insert(e.watchers, i, s)
	e.accept(eff, s, now)
	for _, o := range old {
		j, _ := e.find(o.Package, o.CallID)
		e.watchers = slices.Delete(e.watchers, j, j+1)
		e.endOne(eff, o, true, now)
	}
	return nil
}

// accept keeps a subscription and tells it the full state at once, whatever its rate
// (RFC 6665 §4.2.1.2, RFC 6446 §4.3).
func (e *Extension) accept(eff *Effects, s *Subscription, now int64) {
	s.renewed = now
	end := e.lapse(s)
	e.due(end)
	s.sweptAt = max(s.sweptAt, swept(end))
	one := &single{}
	one.records[0] = Record{Kind: KindSubscription, Key: s.key(), Data: e.encodeSubscription(s), TTL: ttl(s.sweptAt, now)}
	one.watchers[0] = s
	one.notices[0] = Notice{Package: s.Package, View: e.view, Watchers: one.watchers[:]}
	eff.Records, eff.Notices = one.records[:], one.notices[:]
	e.tell(s, false, now)
}

// lapse is when a subscription ends by itself.
func (e *Extension) lapse(s *Subscription) int64 {
	return s.renewed + int64(s.expires)*second + e.rules.Grace.Microseconds()
}

// endOne leaves a subscription's tombstone; the caller has taken it from the watchers.
func (e *Extension) endOne(eff *Effects, s *Subscription, replaced bool, now int64) {
	t := ended{key: s.key(), until: now + e.tombstoneLife(), replaced: replaced}
	if s.HasCSeq {
		t.cseq = s.CSeq
		if replaced && t.cseq < ^uint32(0) {
			t.cseq++ // a copy of its last SUBSCRIBE must not put the new one out
		}
	}
	s.held = false
	e.entomb(t)
	e.bury(eff, KindSubscription, t.key, e.encodeEnded(&t), max(s.sweptAt, t.until), now)
}

func (e *Extension) entomb(t ended) {
	m := e.open()
	i, found := slices.BinarySearchFunc(m.ended, t.key, func(x ended, key string) int { return strings.Compare(x.key, key) })
	if found {
		m.ended[i] = t
	} else {
		m.ended = slices.Insert(m.ended, i, t)
	}
	e.due(t.until)
}

func (e *Extension) findEnded(pkg Package, callID string) (int, bool) {
	if e.more == nil || len(e.more.ended) == 0 {
		return 0, false
	}
	key := subscriptionKey(pkg, callID)
	return slices.BinarySearchFunc(e.more.ended, key, func(x ended, key string) int { return strings.Compare(x.key, key) })
}

// leftBehind are the subscriptions that the phone had before it rebooted with a new Call-ID: same
// watcher, same device, same package (docs/contract/sip.md, "Subscription state"). Two phones that share one login differ in Contact.
func (e *Extension) leftBehind(s *Subscription) (old []*Subscription) {
	if s.who == 0 {
		return nil
	}
	for _, o := range e.of(s.Package) {
		if o.who == s.who && o.CallID != s.CallID &&
			strings.EqualFold(o.From, s.From) && device(o.Contact) == device(s.Contact) {
			old = append(old, o)
		}
	}
	return old
}

// identity is a hash of a watcher on a device; 0: no device is known.
func identity(from, contact string) uint32 {
	d := device(contact)
	if d == "" || from == "" {
		return 0
	}
	h := uint32(2166136261) // FNV-1a
	for i := range len(from) {
		c := from[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		h = (h ^ uint32(c)) * 16777619
	}
	for i := range len(d) {
		h = (h ^ uint32(d[i])) * 16777619
	}
	return max(h, 1)
}

// device is the +sip.instance of a Contact (RFC 5626 §4.1), else its URI.
func device(contact string) string {
	const param = "+sip.instance="
	for i := 0; i+len(param) <= len(contact); i++ {
		if contact[i] == '+' && strings.EqualFold(contact[i:i+len(param)], param) {
			v := contact[i+len(param):]
			if rest, quoted := strings.CutPrefix(v, `"`); quoted {
				v, _, _ = strings.Cut(rest, `"`)
			} else {
				v, _, _ = strings.Cut(v, ";")
			}
			if v != "" {
				return v
			}
		}
	}
	if _, rest, found := strings.Cut(contact, "<"); found {
		uri, _, _ := strings.Cut(rest, ">")
		return uri
	}
	uri, _, _ := strings.Cut(contact, ";")
	return strings.TrimSpace(uri)
}

// notified notes what a watcher answered. What it answered before this owner came counts no more.
func (e *Extension) notified(ev *Notified) error {
	if ev.Reply < 0 || ev.Reply > 699 || ev.HasPackage && ev.Package > LastPackage {
		return fmt.Errorf("%w: reply %d", ErrInvalid, ev.Reply)
	}
	for pkg := range LastPackage + 1 {
		if ev.HasPackage && pkg != ev.Package {
			continue
		}
		i, found := e.find(pkg, ev.CallID)
		if !found {
			continue
		}
		s := e.watchers[i]
		if ev.Sequence > s.sequence || ev.Sequence != 0 && ev.Sequence < s.acked || s.sequence == 0 {
			continue
		}
		s.acked = max(s.acked, ev.Sequence)
		if ev.Sequence == 0 || ev.Sequence == s.sequence {
			s.reply = uint16(ev.Reply)
		}
	}
	return nil
}
