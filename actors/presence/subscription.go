package presence

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Subscription is one watcher's subscription to one event package of the extension, named by its
// Call-ID. There may be many for each extension, so its strings are parts of one allocation, or of
// a neighbour's where they say the same.
type Subscription struct {
	CallID, From, FromTag, ToTag, Contact string
	ProxyRoute, SubscriptionID            string
	ServerID, Queue, UserAgent            string

	rare    *rare // nil: nothing of it
	noticed *View // what the newest Notice holds; nil: not known (the extension was loaded)
	told    *View // what was really sent; nil: nothing yet

	renewed   int64 // µs, the last SUBSCRIBE
	noticedAt int64 // µs, the newest Notice of any cause
	changedAt int64 // µs, the newest Notice that counts for the rate
	sweptAt   int64 // µs, until when any of its records may be found; beyond swept(its lapse) it is part of the record
	behind    int64 // µs, since when it should know something that it was not told; 0: it knows all

	CSeq            uint32
	expires         uint32 // s, as granted
	sequence, acked uint32
	who             uint32 // hash of watcher and device, to find what a reboot left behind
	reply           uint16
	Package         Package
	HasCSeq         bool
	schema          uint8
	leaving         uint8 // Notices that were made and have not left yet
	held            bool  // a change waits for the watcher's rate
}

// rare is what most subscriptions have nothing of.
type rare struct {
	maxRate, minRate uint32 // RFC 6446, per 1000 s; 0: not asked
	extra            string // the record's fields of a newer release
}

func (s *Subscription) setRare(r rare) {
	switch {
	case r == rare{}:
		s.rare = nil
	case s.rare == nil || *s.rare != r:
		s.rare = new(rare)
		*s.rare = r
	}
}

func (s *Subscription) getRare() rare {
	if s.rare == nil {
		return rare{}
	}
	return *s.rare
}

// MaxRate is the most notifications in 1000 s that the watcher asked for (RFC 6446 §4); 0: it did not.
func (s *Subscription) MaxRate() uint32 { return s.getRare().maxRate }

// MinRate is the fewest notifications in 1000 s that the watcher asked for (RFC 6446 §5); 0: it did not.
func (s *Subscription) MinRate() uint32 { return s.getRare().minRate }

// Edge is who sends this subscription's NOTIFYs.
func (s *Subscription) Edge() string { return cmp.Or(s.ServerID, s.Queue) }

// Stalker is the name that listings show for who follows the subscription.
func (s *Subscription) Stalker() string { return cmp.Or(s.SubscriptionID, s.ServerID, s.Queue) }

// Expires is the granted interval in seconds, without the grace.
func (s *Subscription) Expires() int { return int(s.expires) }

// Renewed is the time of the last SUBSCRIBE.
func (s *Subscription) Renewed() time.Time { return moment(s.renewed) }

// Left is what is left of the granted interval in seconds (RFC 6665 §4.1.3), without the grace.
func (s *Subscription) Left(now time.Time) int {
	left := s.renewed + int64(s.expires)*second - now.UnixMicro()
	return int(min(max((left+second-1)/second, 0), int64(s.expires)))
}

// Sequence is that of the last NOTIFY sent; 0: none since the extension was loaded.
func (s *Subscription) Sequence() uint32 { return s.sequence }

// View is what the last NOTIFY sent showed; nil before the first.
func (s *Subscription) View() *View { return s.told }

// Acked is the highest Sequence that the watcher answered.
func (s *Subscription) Acked() uint32 { return s.acked }

// Reply is the watcher's answer to the last NOTIFY; 0: none yet.
func (s *Subscription) Reply() int { return int(s.reply) }

// Behind is since when the watcher should know something that it was not told, because its rate
// holds it back or the NOTIFY has not left yet. The zero time: it was told everything.
func (s *Subscription) Behind() time.Time { return moment(s.behind) }

// Behind counts the watchers that were not told everything, and says since when the first of them has not been.
func (e *Extension) Behind() (watchers int, since time.Time) {
	var oldest int64
	for _, s := range e.watchers {
		if s.behind != 0 {
			watchers++
			if oldest == 0 || s.behind < oldest {
				oldest = s.behind
			}
		}
	}
	return watchers, moment(oldest)
}

// Told notes that a Notice left under this Sequence. Notices leave in the order of their making.
func (s *Subscription) Told(sequence uint32) {
	s.sequence, s.told, s.reply = sequence, s.noticed, 0
	if s.leaving > 0 {
		s.leaving--
	}
	if s.leaving == 0 && !s.held {
		s.behind = 0
	}
}

// texts are the strings that are the watcher's own, in the order of their record fields.
func (s *Subscription) texts() [6]string {
	return [6]string{s.From, s.FromTag, s.ToTag, s.Contact, s.ProxyRoute, s.SubscriptionID}
}

// key is the record's key: a letter for the package, then the Call-ID.
func (s *Subscription) key() string { return subscriptionKey(s.Package, s.CallID) }

func subscriptionKey(p Package, callID string) string { return string('0'+rune(p)) + callID }

// take copies what a SUBSCRIBE or a record says. A refresh replaces everything that a NOTIFY needs
// (contact and route may have moved, RFC 6665 §4.4.1); mostly nothing has changed. near is a
// subscription that likely came through the same edge, or nil.
func (s *Subscription) take(ev *Subscribe, near *Subscription) {
	s.expires = uint32(ev.Expires)
	s.setRare(rare{ev.MaxRate, ev.MinRate, s.getRare().extra})
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
}

// near is a neighbour of what stands, or is about to stand, at i.
func (e *Extension) near(i int) *Subscription {
	if i > 0 {
		return e.watchers[i-1]
	}
	if len(e.watchers) > 0 {
		return e.watchers[len(e.watchers)-1]
	}
	return nil
}

// find looks a subscription up, or says where it would stand.
func (e *Extension) find(pkg Package, callID string) (int, bool) {
	return slices.BinarySearchFunc(e.watchers, callID, func(s *Subscription, id string) int {
		if c := cmp.Compare(s.Package, pkg); c != 0 {
			return c
		}
		return strings.Compare(s.CallID, id)
	})
}

// of are the watchers of one event package.
func (e *Extension) of(pkg Package) []*Subscription {
	from, _ := e.find(pkg, "")
	to, _ := e.find(pkg+1, "")
	return e.watchers[from:to]
}
