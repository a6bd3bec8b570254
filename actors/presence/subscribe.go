package presence

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"
)

// ended is the tombstone of a subscription: a late SUBSCRIBE must not bring the subscription back.
type ended struct {
	key      string // the subscription's
	until    int64  // µs, when the tombstone ends
	cseq     uint32 // SUBSCRIBEs with a lower CSeq are ignored
	replaced bool   // the phone has a new Call-ID: SUBSCRIBEs without CSeq are ignored too
	from     string // the watcher, if it was not the one that ended the subscription
	reply    uint16 // the SIP response that ended it; 0: none did
}

// LongestSubscription is the longest interval, in seconds, that a SUBSCRIBE may ask for.
const LongestSubscription = 24 * 3600

// Grace is how much longer than its Expires a subscription lives, as in Kazoo. Listings add it to the granted seconds.
const Grace = 20 * time.Second

// single holds the effects of one accepted SUBSCRIBE in one allocation.
type single struct {
	records  [1]Record
	notices  [1]Notice
	watchers [1]*Subscription
	edges    [1]CountChange
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
	if ev.HasCSeq && s.HasCSeq() && ev.CSeq < s.CSeq {
		eff.Ignored = IgnoredOvertaken
		return nil
	}
	if ev.HasCSeq {
		s.setCSeq(ev.CSeq)
	}
	if ev.Expires == 0 {
		e.watchers = slices.Delete(e.watchers, i, i+1)
		e.endOne(eff, s, byWatcher, now)
		var last batch
		last.add(s)
		last.into(eff, e.view, "timeout")
		return nil
	}
	before := s.Edge()
	if ev.InDialog {
		ev.ProxyRoute = refreshed(s.ProxyRoute, ev.ProxyRoute)
	}
	s.take(ev, e.near(i))
	e.accept(eff, s, now)
	if edge := s.Edge(); edge != before {
		eff.Edges = []CountChange{{before, -1}, {edge, 1}}
	}
	return nil
}

// UnnamedCallID returns the Call-ID for the subscription of a SUBSCRIBE that brings none. A watcher has one such subscription
// to each event package of an extension. from is the watcher, user@realm.
func UnnamedCallID(to Address, from string) string {
	sum := md5.Sum([]byte(to.String() + "\x00" + strings.ToLower(from)))
	return hex.EncodeToString(sum[:])
}

// checkSubscribe refuses a SUBSCRIBE with a field that is missing or past its bound.
func checkSubscribe(ev *Subscribe) error {
	if ev.Package > LastPackage || ev.CallID == "" {
		return fmt.Errorf("%w: a SUBSCRIBE needs an event package and a Call-ID", ErrInvalid)
	}
	return fits(ev.Expires, LongestSubscription, ev.CallID, ev.From, ev.FromTag, ev.ToTag, ev.Contact,
		ev.ProxyRoute, ev.UserAgent, ev.SubscriptionID, ev.ServerID, ev.Queue)
}

// create adds a subscription at i, unless its tombstone says that the SUBSCRIBE is a late one. It ends the subscription that
// the new one replaces. It refuses a subscription to an event package that not all nodes read yet. A refresh
// does not call create, so a subscription that exists is kept when a node of an older release joins.
func (e *Extension) create(eff *Effects, ev *Subscribe, i int, now int64) error {
	at, dead := e.findEnded(ev.Package, ev.CallID)
	if dead {
		t := &e.more.ended[at]
		late := ev.HasCSeq && ev.CSeq < t.cseq || !ev.HasCSeq && t.replaced
		if late && t.until > now {
			eff.Ignored = IgnoredOvertaken
			return nil
		}
	}
	if ev.Expires == 0 && dead && e.more.ended[at].until > now && !(ev.HasCSeq && ev.CSeq > e.more.ended[at].cseq) {
		return nil // the end of the subscription once more
	}
	if ev.InDialog {
		return ErrNoSubscription
	}
	if ev.Expires == 0 {
		e.fetch(eff, ev, now)
		return nil
	}
	if least, all := packages[ev.Package].schema, e.rules.writes(); all < least {
		return fmt.Errorf("%w: %s needs schema %d, and all nodes read %d", ErrTooNew, ev.Package, least, all)
	}
	s := &Subscription{Package: ev.Package, schema: e.rules.writes()}
	if ev.HasCSeq {
		s.setCSeq(ev.CSeq)
	}
	s.take(ev, e.near(i))
	old := e.leftBehind(s)
	if most := e.rules.MaxWatchers; most > 0 && len(e.watchers)-len(old) >= most {
		return fmt.Errorf("%w: it has %d, at most %d are allowed", ErrTooManyWatchers, len(e.watchers), most)
	}
	if err := e.roomForNew(now); err != nil {
		return err
	}
	if dead {
		e.more.ended = slices.Delete(e.more.ended, at, at+1)
	}
	e.watchers = slices.Insert(e.watchers, i, s)
	one := e.accept(eff, s, now)
	one.edges[0] = CountChange{s.Edge(), 1}
	eff.Edges = one.edges[:]
	eff.Packages[ev.Package]++
	eff.Watched = len(e.of(ev.Package)) == 1 // with those that it replaces, it is not the first
	for _, o := range old {
		j, _ := e.find(o.Package, o.CallID)
		e.watchers = slices.Delete(e.watchers, j, j+1)
		e.endOne(eff, o, bySuccess, now)
	}
	return nil
}

// Adds says whether a SUBSCRIBE would add to the number of the extension's subscriptions, if it is accepted: it refreshes none, and takes the
// place of none.
func (e *Extension) Adds(ev *Subscribe) bool {
	if _, found := e.find(ev.Package, ev.CallID); found || ev.Expires == 0 || ev.InDialog {
		return false
	}
	return len(e.leftBehind(&Subscription{Package: ev.Package, CallID: ev.CallID, From: ev.From, Contact: ev.Contact, ServerID: ev.ServerID, who: identity(ev.From, ev.Contact)})) == 0
}

// fetch tells a watcher the full state once, for a SUBSCRIBE that begins no subscription (RFC 6665 §4.4.3). It keeps nothing.
func (e *Extension) fetch(eff *Effects, ev *Subscribe, now int64) {
	s := &Subscription{Package: ev.Package, renewed: now}
	s.take(ev, nil)
	e.tell(s, false, now)
	eff.Notices = []Notice{{Package: s.Package, View: e.view, Watchers: []*Subscription{s}, End: "timeout"}}
}

// accept adds the subscription's record to the effects, and a NOTIFY with the full state at once, whatever its rate
// (RFC 6665 §4.2.1.2, RFC 6446 §4.3).
func (e *Extension) accept(eff *Effects, s *Subscription, now int64) *single {
	s.renewed, s.first = now, 0
	end := e.lapse(s)
	e.due(end)
	one := &single{}
	one.records[0] = Record{Kind: KindSubscription, Key: s.key(), Data: e.encodeSubscription(s), Life: life(end, now)}
	one.watchers[0] = s
	one.notices[0] = Notice{Package: s.Package, View: e.view, Watchers: one.watchers[:]}
	eff.Records, eff.Notices = one.records[:], one.notices[:]
	e.tell(s, false, now)
	return one
}

// lapse is when a subscription ends if it is not refreshed, in µs.
func (e *Extension) lapse(s *Subscription) int64 {
	return s.renewed + int64(s.expires)*second + Grace.Microseconds()
}

// end says how a subscription ends.
type end uint8

const (
	byWatcher end = iota // the watcher ended it
	byReply              // its response to a NOTIFY did
	byLapse              // it was not refreshed in time, or this side ended it
	bySuccess            // a new subscription of the same phone takes its place
)

// endOne makes the tombstone of a subscription that the caller has taken from the watchers.
func (e *Extension) endOne(eff *Effects, s *Subscription, how end, now int64) {
	t := ended{key: s.key(), until: now + e.tombstoneLife(), replaced: how == bySuccess}
	if how == byReply || how == byLapse {
		t.from = strings.Clone(s.From)
	}
	if how == byReply {
		t.reply = s.reply
	}
	if s.HasCSeq() {
		t.cseq = s.CSeq
		if t.replaced && t.cseq < ^uint32(0) {
			t.cseq++ // a copy of its last SUBSCRIBE must not end the new subscription
		}
	}
	s.held = false
	eff.Edges = append(eff.Edges, CountChange{s.Edge(), -1})
	eff.Packages[s.Package]--
	e.entomb(t)
	e.bury(eff, KindSubscription, t.key, e.encodeEnded(&t), t.until, now)
}

// entomb adds a subscription's tombstone.
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

// findEnded finds the tombstone of a subscription, or the place where it belongs.
func (e *Extension) findEnded(pkg Package, callID string) (int, bool) {
	if e.more == nil || len(e.more.ended) == 0 {
		return 0, false
	}
	key := subscriptionKey(pkg, callID)
	return slices.BinarySearchFunc(e.more.ended, key, func(x ended, key string) int { return strings.Compare(x.key, key) })
}

// leftBehind returns the subscriptions that a phone had before it rebooted and came with a new Call-ID: those of the same
// watcher on the same device to the same package (docs/contract/sip.md, "Subscription state"). Two phones that share one
// login differ in their Contact.
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

// identity returns a hash of a watcher and its device; 0 when one of them is not known.
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

// device returns the +sip.instance of a Contact (RFC 5626 §4.1), else its URI.
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

// repliers yields the places of the watchers that a reply may be from: one for each event package if the reply names none. A watcher behind another edge
// than the one that passed the reply on is none of them.
func (e *Extension) repliers(reply *Notified) iter.Seq[int] {
	return func(yield func(int) bool) {
		for pkg := range LastPackage + 1 {
			if reply.HasPackage && pkg != reply.Package {
				continue
			}
			i, found := e.find(pkg, reply.CallID)
			if !found {
				continue
			}
			if edge := e.watchers[i].Edge(); reply.Edge != "" && edge != "" && edge != reply.Edge {
				continue
			}
			if !yield(i) {
				return
			}
		}
	}
}

// notified notes a watcher's reply. It does not count if another edge than the watcher's says so, or if it answers no NOTIFY of
// this owner. To a NOTIFY that was sent since the last SUBSCRIBE, a final reply ends the subscription, and so does the last of
// maxFailures failures in a row (RFC 6665 §4.2.2).
func (e *Extension) notified(eff *Effects, ev *Notified, now int64) error {
	if ev.Reply < 0 || ev.Reply > 699 || ev.RetryAfter < 0 || ev.HasPackage && ev.Package > LastPackage {
		return fmt.Errorf("%w: the reply is %d, to event package %d, with a Retry-After of %d s; a reply is 0 to 699", ErrInvalid, ev.Reply, ev.Package, ev.RetryAfter)
	}
	var last batch
	for i := range e.repliers(ev) {
		s := e.watchers[i]
		if ev.Sequence > s.sequence || ev.Sequence != 0 && ev.Sequence < s.acked || s.sequence == 0 {
			continue
		}
		repeated := ev.Sequence <= s.acked
		s.acked = max(s.acked, ev.Sequence)
		if ev.Sequence == 0 || ev.Sequence == s.sequence {
			if s.reply == 0 && ev.Reply != 0 && s.leaving == 0 {
				s.took = scale(now - s.noticedAt)
			}
			s.reply = uint16(ev.Reply)
		}
		ends := false
		switch {
		case s.first == 0 || ev.Sequence < s.first: // of before the last SUBSCRIBE
		case ev.Final():
			ends = true
			last.add(s)
		case ev.Failed():
			ends = !repeated && e.failed(s, ev, now)
		case ev.Reply >= 200 && s.rare != nil:
			s.recovered()
		}
		if ends {
			s.reply = uint16(ev.Reply)
			e.watchers = slices.Delete(e.watchers, i, i+1)
			e.endOne(eff, s, byReply, now)
		}
	}
	last.into(eff, e.view, "timeout")
	return nil
}

// maxFailures is how many NOTIFYs in a row must fail for the subscription to end.
const maxFailures = 3

// retryWaits are how long after each failure a watcher is told again, in µs. The first wait is short for what is over soon. The
// second leaves a phone time to come back that has lost its connection, or restarts.
var retryWaits = [maxFailures - 1]int64{5 * second, minute}

// longestRetry bounds the Retry-After of a phone, in µs.
const longestRetry = 10 * minute

// failed notes that a NOTIFY did not reach a watcher, or that the watcher can't take NOTIFYs now. It has the watcher told again
// later, if nothing newer is on its way. A failure that comes before that time does not count, whatever else the watcher was told
// meanwhile: three changes within a second, told over a connection that is gone, are one failure. failed returns true when the
// subscription must end.
func (e *Extension) failed(s *Subscription, ev *Notified, now int64) bool {
	r := s.getRare()
	r.countFrom = min(r.countFrom, now+longestRetry) // a clock that was put back must not keep the subscription for ever
	if now >= r.countFrom {
		if r.failures++; r.failures >= maxFailures {
			return true
		}
		wait := retryWaits[r.failures-1]
		if ev.RetryAfter != 0 {
			wait = int64(min(ev.RetryAfter, int(longestRetry/second))) * second
		}
		r.countFrom = now + wait
	}
	if ev.Sequence == s.sequence && s.leaving == 0 {
		r.retryAt = r.countFrom
		e.due(r.retryAt)
	}
	s.setRare(r)
	return false
}

// recovered notes that a watcher has taken a NOTIFY: failures count anew.
func (s *Subscription) recovered() {
	r := *s.rare
	r.failures, r.countFrom, r.retryAt = 0, 0, 0
	s.setRare(r)
}
