package presence

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"
)

// Subscription is one watcher's subscription to one event package of the extension. Its Call-ID names it. An extension may
// have many, so the strings are parts of one allocation; those that say the same as a neighbour's are parts of the
// neighbour's. A Subscription belongs to its Extension: use it in the same goroutine, and do not change it.
type Subscription struct {
	CallID, From, FromTag, ToTag, Contact string
	ProxyRoute, SubscriptionID            string
	ServerID, Queue, UserAgent            string

	rare    *rare // nil: it has nothing of that
	noticed *View // the View of the newest Notice; nil: not known, because the extension was loaded
	told    *View // the View of the last NOTIFY that was sent; nil: none was

	renewed   int64 // µs, when the last SUBSCRIBE came
	noticedAt int64 // µs, when the newest Notice was made
	changedAt int64 // µs, when the newest Notice was made that counts for the rate
	behind    int64 // µs, since when the watcher should know more than it was told; 0: it was told everything

	CSeq            uint32 // of the newest SUBSCRIBE
	expires         uint32 // s, as granted
	sequence, acked uint32
	first           uint32 // the Sequence of the first NOTIFY that was sent since the last SUBSCRIBE; 0: none was
	who             uint32 // identity of the watcher and its device; 0: not known
	reply           uint16
	took            uint8 // from the newest Notice until its reply, as scale writes it; 0: not known
	Package         Package
	marks           uint8 // hasCSeq, isQuotable
	schema          uint8 // of the record
	leaving         uint8 // the number of Notices that were made and have not been sent
	held            bool  // a change waits for the watcher's rate
}

// The marks of a Subscription. They share a byte, because a Subscription must not have more than 256.
const (
	hasCSeq    = 1 << iota
	isQuotable // see Quotable
)

// HasCSeq says whether CSeq is known.
func (s *Subscription) HasCSeq() bool { return s.marks&hasCSeq != 0 }

// setCSeq sets CSeq.
func (s *Subscription) setCSeq(n uint32) { s.CSeq, s.marks = n, s.marks|hasCSeq }

// octave is how many steps of scale double a time.
const octave = 8

// scale writes a time in µs into one byte, from a millisecond on within a tenth. It is never 0.
func scale(us int64) uint8 {
	return uint8(min(1+math.Round(octave*math.Log2(1+float64(max(us, 0))/1000)), math.MaxUint8))
}

// Latency returns how long it took from the making of the last NOTIFY until the watcher's reply to it, within a tenth; 0: it is not known,
// because the watcher has not replied or was to be told something else meanwhile.
func (s *Subscription) Latency() time.Duration {
	if s.took == 0 {
		return 0
	}
	return max(time.Duration((math.Exp2(float64(s.took-1)/octave)-1)*float64(time.Millisecond)), time.Microsecond)
}

// rare holds what most subscriptions do not have.
type rare struct {
	maxRate, minRate uint32 // RFC 6446, per 1000 s; 0: not asked
	extra            string // the record's fields of a newer release
	failures         uint8  // how many NOTIFYs in a row failed, as failed counts them
	countFrom        int64  // µs, from when on a further failure counts
	retryAt          int64  // µs, when the watcher is told again because the last NOTIFY failed; 0: it is not
}

// setRare sets the rare part. It keeps the old one if that is equal.
func (s *Subscription) setRare(r rare) {
	switch {
	case r == rare{}:
		s.rare = nil
	case s.rare == nil || *s.rare != r:
		s.rare = new(rare)
		*s.rare = r
	}
}

// getRare returns the rare part, empty if there is none.
func (s *Subscription) getRare() rare {
	if s.rare == nil {
		return rare{}
	}
	return *s.rare
}

// MaxRate returns the most notifications per 1000 s that the watcher wants (RFC 6446 §4); 0: it did not say.
func (s *Subscription) MaxRate() uint32 { return s.getRare().maxRate }

// MinRate returns the fewest notifications per 1000 s that the watcher wants (RFC 6446 §5); 0: it did not say.
func (s *Subscription) MinRate() uint32 { return s.getRare().minRate }

// Edge returns the name of the edge that sends this subscription's NOTIFYs; "": any edge may.
func (s *Subscription) Edge() string { return cmp.Or(s.ServerID, s.Queue) }

// Quotable says whether all strings of the subscription may stand in a quoted-string as they are: they hold printable
// ASCII only, and neither quotes nor backslashes (RFC 3261 §25.1, quoted-string). It is kept because whoever tells a
// change to thousands of watchers would else look at every byte of every one of them.
func (s *Subscription) Quotable() bool { return s.marks&isQuotable != 0 }

// Stalker returns the name that listings show as the subscription's stalker, which is Kazoo's word for its edge.
func (s *Subscription) Stalker() string { return cmp.Or(s.SubscriptionID, s.ServerID, s.Queue) }

// Expires returns the granted interval in seconds, without the grace.
func (s *Subscription) Expires() int { return int(s.expires) }

// Renewed returns when the last SUBSCRIBE came.
func (s *Subscription) Renewed() time.Time { return moment(s.renewed) }

// Left returns how many seconds of the granted interval are left (RFC 6665 §4.1.3), without the grace.
func (s *Subscription) Left(now time.Time) int {
	left := s.renewed + int64(s.expires)*second - now.UnixMicro()
	return int(min(max((left+second-1)/second, 0), int64(s.expires)))
}

// Sequence returns the Sequence of the last NOTIFY that was sent; 0: none was since the extension was loaded.
func (s *Subscription) Sequence() uint32 { return s.sequence }

// View returns the View of the last NOTIFY that was sent; nil: none was since the extension was loaded.
func (s *Subscription) View() *View { return s.told }

// Acked returns the highest Sequence that the watcher replied to.
func (s *Subscription) Acked() uint32 { return s.acked }

// Reply returns the SIP response code of the watcher to the last NOTIFY; 0: it has not replied.
func (s *Subscription) Reply() int { return int(s.reply) }

// Behind returns since when the watcher should know more than it was told, because its rate holds the change back or the
// NOTIFY has not been sent. The zero time: it was told everything.
func (s *Subscription) Behind() time.Time { return moment(s.behind) }

// Lags says since when the watcher may show something else than it should; the zero time: it knows all. told says that it was told, and has
// not answered for some seconds or has answered with a failure.
func (s *Subscription) Lags(now time.Time) (since time.Time, told bool) {
	switch noticed := moment(s.noticedAt); {
	case s.behind != 0:
		return moment(s.behind), false
	case s.reply >= 300, s.unanswered() && now.Sub(noticed) > answerTime:
		return noticed, true
	}
	return time.Time{}, false
}

// unanswered says whether the watcher was told and has not answered.
func (s *Subscription) unanswered() bool {
	return s.reply == 0 && s.acked < s.sequence && s.noticedAt != 0
}

// Unanswered calls give for each watcher that was told and has not answered, or has answered with a failure, with its edge. late says that it did
// so some seconds ago.
func (e *Extension) Unanswered(now time.Time, give func(edge string, late bool)) {
	for _, s := range e.watchers {
		if s.reply >= 300 || s.unanswered() {
			_, late := s.Lags(now)
			give(s.Edge(), late)
		}
	}
}

// Answers returns the edge of the watcher that a reply is from, if the watcher has answered this owner from that edge.
func (e *Extension) Answers(reply *Notified) (edge string, ok bool) {
	for i := range e.repliers(reply) {
		if s := e.watchers[i]; s.acked > 0 || s.reply != 0 {
			return s.Edge(), true
		}
	}
	return "", false
}

// ByPackage returns the number of subscriptions to each event package.
func (e *Extension) ByPackage() (n ByPackage) {
	for _, s := range e.watchers {
		n[s.Package]++
	}
	return n
}

// Behind calls give for each watcher that should know more than it was told, with its edge, and since when the watcher should.
func (e *Extension) Behind(give func(edge string, since time.Time)) {
	for _, s := range e.watchers {
		if s.behind != 0 {
			give(s.Edge(), moment(s.behind))
		}
	}
}

// Told notes that a Notice was sent with this Sequence. The caller must send Notices in the order in which Apply made them.
func (s *Subscription) Told(sequence uint32) {
	s.sequence, s.told, s.reply, s.took = sequence, s.noticed, 0, 0
	if s.first == 0 {
		s.first = sequence
	}
	if s.leaving > 0 {
		s.leaving--
	}
	if s.leaving == 0 && !s.held {
		s.behind = 0
	}
}

// texts returns the strings that hardly two watchers share, in the order of their record fields.
func (s *Subscription) texts() [6]string {
	return [6]string{s.From, s.FromTag, s.ToTag, s.Contact, s.ProxyRoute, s.SubscriptionID}
}

// key is the record's key: a digit for the package, then the Call-ID.
func (s *Subscription) key() string { return subscriptionKey(s.Package, s.CallID) }

func subscriptionKey(p Package, callID string) string { return string('0'+rune(p)) + callID }

// take takes the fields of a SUBSCRIBE or of a record. A refresh replaces everything that a NOTIFY needs, because the contact
// and the route may have changed (RFC 6665 §4.4.1); mostly nothing has. near is a subscription that likely came through the
// same edge, whose strings are shared then, or nil.
func (s *Subscription) take(ev *Subscribe, near *Subscription) {
	s.expires = uint32(ev.Expires)
	s.setRare(rare{maxRate: ev.MaxRate, minRate: ev.MinRate, extra: s.getRare().extra})
	if s.CallID == ev.CallID && s.ServerID == ev.ServerID && s.Queue == ev.Queue && s.UserAgent == ev.UserAgent &&
		s.texts() == [6]string{ev.From, ev.FromTag, ev.ToTag, ev.Contact, ev.ProxyRoute, ev.SubscriptionID} {
		return
	}
	from := [10]string{ev.CallID, ev.From, ev.FromTag, ev.ToTag, ev.Contact, ev.ProxyRoute, ev.SubscriptionID,
		ev.ServerID, ev.Queue, ev.UserAgent}
	to := [10]*string{&s.CallID, &s.From, &s.FromTag, &s.ToTag, &s.Contact, &s.ProxyRoute, &s.SubscriptionID,
		&s.ServerID, &s.Queue, &s.UserAgent}
	own := len(from)
	if near != nil && near.ServerID == ev.ServerID && near.Queue == ev.Queue && near.UserAgent == ev.UserAgent {
		s.ServerID, s.Queue, s.UserAgent = near.ServerID, near.Queue, near.UserAgent
		own -= 3
	}
	size := 0
	for _, t := range from[:own] {
		size += len(t)
	}
	var b strings.Builder
	b.Grow(size)
	for _, t := range from[:own] {
		b.WriteString(t)
	}
	all, at := b.String(), 0
	for i, t := range from[:own] {
		*to[i] = all[at : at+len(t)]
		at += len(t)
	}
	s.who = identity(s.From, s.Contact)
	s.marks |= isQuotable
	for _, t := range to {
		if !quotable(*t) {
			s.marks &^= isQuotable
		}
	}
}

// quotable says whether a text may stand in a quoted-string as it is.
func quotable(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// near returns a neighbour of the subscription that is, or will be, at i; nil when there is none.
func (e *Extension) near(i int) *Subscription {
	if i > 0 {
		return e.watchers[i-1]
	}
	if len(e.watchers) > 0 {
		return e.watchers[len(e.watchers)-1]
	}
	return nil
}

// find finds a subscription, or the place where it belongs.
func (e *Extension) find(pkg Package, callID string) (int, bool) {
	return slices.BinarySearchFunc(e.watchers, callID, func(s *Subscription, id string) int {
		if c := cmp.Compare(s.Package, pkg); c != 0 {
			return c
		}
		return strings.Compare(s.CallID, id)
	})
}

// of returns the watchers of one event package.
func (e *Extension) of(pkg Package) []*Subscription {
	from, _ := e.find(pkg, "")
	to, _ := e.find(pkg+1, "")
	return e.watchers[from:to]
}
