package sip

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/transport/kazoo"
	"lamplight/transport/publication"
)

// Router brings messages to their extensions. route.Router is one.
type Router interface {
	Go(q actors.Request, done func(actors.Answer))
}

// Local is the Cluster of an edge inside a node: what it says to its node's own shards does not go over NATS.
type Local struct {
	// Router is the node's.
	Router Router
	// News counts a request about a realm's extension as an event of the realm's account, and calls then once: at once or, while the account
	// is over its budget, when its turn comes, from any goroutine; or with presence.ErrOverBudget.
	News func(realm string, then func(error))
	// EdgeSecret is the secret that all edges share.
	EdgeSecret []byte
	// Lookup looks a user of a realm up in the directory. It must not wait.
	Lookup func(realm, user string) Credentials
	// Shard hands the replies of watchers of one of the node's own shards over, many in one message. It must not wait.
	Shard func(shard int, replies []presence.Addressed)
	// ToNode tells another node how a watcher answered, over NATS.
	ToNode func(node string, to presence.Address, reply presence.Notified)
	// Draining is Cluster.Drain.
	Draining func(connected bool)

	mu       sync.Mutex
	gathered map[int][]presence.Addressed // replies by shard
	armed    bool                         // send is to run
}

// Secret implements Cluster.
func (l *Local) Secret() []byte { return l.EdgeSecret }

// Credentials implements Cluster.
func (l *Local) Credentials(realm, user string) (Credentials, bool) {
	return l.Lookup(realm, user), true
}

// Await implements Cluster. It is not called, because Credentials always knows.
func (l *Local) Await(_, _ string, then func()) { go then() }

// Subscribe implements Cluster.
func (l *Local) Subscribe(to presence.Address, ev *presence.Subscribe, until time.Time, done func(Outcome)) {
	inDialog := ev.InDialog
	l.bring(to, *ev, until, func(a actors.Answer) {
		o := outcome(a)
		if inDialog && o.Code == 480 {
			o.Code = 500 // 480 would end the subscription, which was accepted (RFC 6665 §4.1.2.2)
		}
		done(o)
	})
}

// bring brings a message to its extension when the budget of the account lets it through.
func (l *Local) bring(to presence.Address, m actors.Message, until time.Time, done func(actors.Answer)) {
	l.News(to.Realm, func(err error) {
		if err != nil {
			done(actors.Answer{Err: err})
			return
		}
		l.Router.Go(actors.Request{To: to, Message: m, Deadline: until}, done)
	})
}

// Publish implements Cluster.
func (l *Local) Publish(to presence.Address, ev *presence.Publish, _ Document, until time.Time, done func(Outcome)) {
	l.bring(to, *ev, until, func(a actors.Answer) {
		o := outcome(a)
		if o.Code != 200 {
			done(o)
			return
		}
		o.Tag = ev.Tag
		lamps := publication.Lamps(to, ev, a.Former)
		var left atomic.Int32
		var failed atomic.Pointer[Outcome]
		if left.Store(int32(len(lamps))); len(lamps) == 0 {
			done(o)
		}
		for _, lamp := range lamps {
			l.Router.Go(actors.Request{To: lamp.To, Message: lamp.Message, Deadline: until}, func(a actors.Answer) {
				if o := outcome(a); o.Code != 200 {
					failed.Store(&o)
				}
				if left.Add(-1) > 0 {
					return
				}
				if f := failed.Load(); f != nil {
					done(*f)
				} else {
					done(o)
				}
			})
		}
	})
}

// outcome is the answer to a phone that an owner's answer means.
func outcome(a actors.Answer) Outcome {
	switch {
	case a.Err == nil && a.Ignored == presence.IgnoredOvertaken:
		return Outcome{Code: 500} // RFC 3261 §12.2.2
	case a.Err == nil:
		return Outcome{Code: 200}
	case errors.Is(a.Err, presence.ErrNoSubscription):
		return Outcome{Code: 481}
	case errors.Is(a.Err, presence.ErrNoPublication):
		return Outcome{Code: 412}
	case errors.Is(a.Err, presence.ErrInvalid):
		return Outcome{Code: 400}
	case errors.Is(a.Err, presence.ErrOverBudget), errors.Is(a.Err, presence.ErrTooManySubscriptions):
		return Outcome{Code: 480} // not 503, for which a proxy would take the whole edge for overloaded (RFC 3261 §21.5.4)
	}
	return Outcome{Code: 503}
}

// Drain implements Cluster.
func (l *Local) Drain(connected bool) { l.Draining(connected) }

// Replied implements Cluster.
func (l *Local) Replied(node string, to presence.Address, reply presence.Notified) {
	if node != "" {
		l.ToNode(node, to, reply)
		return
	}
	shard := actors.ShardOf(to)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gathered == nil {
		l.gathered = map[int][]presence.Addressed{}
	}
	l.gathered[shard] = append(l.gathered[shard], presence.Addressed{To: to, Message: reply})
	if all := l.gathered[shard]; len(all) >= kazoo.MaxReplies {
		delete(l.gathered, shard)
		l.Shard(shard, all)
		return
	}
	if !l.armed {
		l.armed = true
		time.AfterFunc(gatherReplies, l.send)
	}
}

// gatherReplies is how long replies are gathered: one message for many of them costs a shard a tenth of what one for each would.
const gatherReplies = 50 * time.Millisecond

// send hands all gathered replies over.
func (l *Local) send() {
	l.mu.Lock()
	all := l.gathered
	l.gathered, l.armed = nil, false
	l.mu.Unlock()
	for shard, replies := range all {
		l.Shard(shard, replies)
	}
}

// Deliver makes a Told of what the node's own shards tell watchers behind this edge. The edge copies what it needs.
func (s *Server) Deliver(n *actors.Notification, watchers []*presence.Subscription) {
	t := &Told{To: n.To, Package: n.Package, Shard: n.Shard, Epoch: n.Claim.Epoch, Sequence: n.Sequence, ContentType: n.ContentType,
		Body: append([]byte(nil), n.Body...), Made: n.Now, Targets: make([]Target, len(watchers))}
	if n.Package == presence.Dialog && s.cfg.Profiles.PickupCookies() {
		t.Cookies = n.View.PickupCookies()
	}
	for i, w := range watchers {
		t.Targets[i] = Target{CallID: w.CallID, From: w.From, FromTag: w.FromTag, ToTag: w.ToTag, Contact: w.Contact, Route: w.ProxyRoute,
			Expires: w.Left(n.Now), End: n.End, Rates: rates(w.MaxRate(), w.MinRate())}
	}
	s.Tell(t)
}
