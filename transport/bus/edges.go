package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"lamplight/actors"
	"lamplight/cluster/subject"
	"lamplight/transport/kazoo"
)

// The bounds of what a node keeps for edges.
const (
	maxEdges     = 4096             // edges in the table
	ringMessages = 4096             // messages in the ring of one edge
	ringBytes    = 8 << 20          // bytes in the ring of one edge
	DefaultKept  = 256 << 20        // bytes in the rings of all edges together
	forgetAfter  = time.Hour        // the node forgets an edge without watchers after this time without an edge.up
	lookEvery    = 10 * time.Minute // how often the node looks for edges without watchers
	lookSooner   = 5 * time.Second  // how often it does so at most while the table is full
	lookTime     = time.Minute      // how long one look may take
	downAfter    = 10 * time.Second // how long nobody must have listened for an edge before Down returns it
)

var errTooManyEdges = fmt.Errorf("there are %d edges already; a subscription behind a new edge is refused until one of them has no watchers left", maxEdges)

// find returns the edge of that name, or nil when it is not in the table.
func (f *Fanout) find(name string) *edge {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.edges[name]
}

// room says whether the table has room for the edge of a new subscription. It makes no entry for the edge. When there is no
// room it has edges without watchers looked for.
func (f *Fanout) room(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.edges[name] != nil || len(f.edges) < maxEdges || f.leastNeeded() != nil {
		return true
	}
	f.lookSoon()
	return false
}

// findOrMake returns the edge of that name and makes an entry for it if there is none. With needed it always makes one, also
// in a full table: the edge has watchers to be told, and room bounded the number of such edges when it let their
// subscriptions in. Without needed the edge only said edge.up; findOrMake returns nil when the table is full.
func (f *Fanout) findOrMake(name string, needed bool) *edge {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e := f.edges[name]; e != nil {
		return e
	}
	if len(f.edges) >= maxEdges {
		if least := f.leastNeeded(); least != nil {
			f.forget(least)
		} else if f.lookSoon(); !needed {
			return nil
		}
	}
	token := subject.Token(name)
	e := &edge{fanout: f, name: name, token: token, subject: f.cfg.Prefix.Of(subject.Notify(name)), reply: f.inbox + "." + token,
		seq: f.forgottenSeq, base: f.forgottenSeq, first: f.forgottenSeq + 1}
	e.heard.Store(time.Now().UnixNano())
	e.used.Store(true)
	f.edges[name] = e
	return e
}

// lock is findOrMake, and takes the lock of the edge. It tries again when the edge was forgotten between the two.
func (f *Fanout) lock(name string, needed bool) *edge {
	for {
		e := f.findOrMake(name, needed)
		if e == nil {
			return nil
		}
		if e.mu.Lock(); !e.forgotten {
			return e
		}
		e.mu.Unlock()
	}
}

// leastNeeded returns the edge that has said edge.up longest ago, of those that had no watchers at the last look and were sent
// nothing since. nil means that there is none. The caller holds f.mu.
func (f *Fanout) leastNeeded() (least *edge) {
	for _, e := range f.edges {
		if !e.used.Load() && (least == nil || e.heard.Load() < least.heard.Load()) {
			least = e
		}
	}
	return least
}

// forget takes an edge out of the table. The numbers of all edges that are made later begin above its own. An edge that comes
// back would otherwise take new messages for those that it has. The caller holds f.mu.
func (f *Fanout) forget(e *edge) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forgotten = true
	f.forgottenSeq = max(f.forgottenSeq, e.seq)
	e.dropRing()
	delete(f.edges, e.name)
}

// lookSoon wakes the goroutine that looks for edges without watchers. It does not wait.
func (f *Fanout) lookSoon() {
	select {
	case f.crowded <- struct{}{}:
	default:
	}
}

// look looks for edges without watchers, regularly and when lookSoon asks for it, until ctx ends.
func (f *Fanout) look(ctx context.Context) {
	regular := time.NewTicker(lookEvery)
	defer regular.Stop()
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-regular.C:
		case <-f.crowded:
			if time.Since(last) < lookSooner {
				continue
			}
		}
		f.lookOnce(ctx, time.Now())
		last = time.Now()
	}
}

// lookOnce marks the edges that are not needed now, and forgets those of them that have not said edge.up for forgetAfter. An
// edge that is sent something during the look stays needed. When the look fails, all edges stay needed.
func (f *Fanout) lookOnce(ctx context.Context, now time.Time) {
	f.mu.Lock()
	for _, e := range f.edges {
		e.sent.Store(false)
	}
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	watched, err := f.Watched(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, e := range f.edges {
		_, has := watched[name]
		if name == subject.AnyEdge {
			_, has = watched[""]
		}
		e.used.Store(has || err != nil || e.sent.Load())
		if !e.used.Load() && now.UnixNano()-e.heard.Load() >= int64(forgetAfter) {
			f.forget(e)
		}
	}
}

// Down returns the edges for which nobody has listened for 10 s and more. A node notices that nobody listens only when it
// sends a message to the edge. An edge that has never said edge.up is never down.
func (f *Fanout) Down(now time.Time) (names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, e := range f.edges {
		if since := e.downSince.Load(); since != 0 && now.UnixNano()-since >= int64(downAfter) {
			names = append(names, name)
		}
	}
	return names
}

// edgeUp handles an edge.up document: the edge lives, and says which messages it has. Nobody answers it.
func (b *Bus) edgeUp(m *nats.Msg) {
	edge, err := subject.ParseToken(subject.Last(m.Subject))
	var d kazoo.EdgeUp
	if err == nil {
		d, err = kazoo.ReadEdgeUp(m.Data, edge)
	}
	if err != nil || edge == subject.AnyEdge {
		b.refused.Inc()
		return
	}
	seen, named := d.Seen[b.cfg.Node+"/"+b.cfg.Fanout.cfg.Incarnation()]
	b.cfg.Fanout.up(edge, d.Incarnation, uint64(seen), named)
}

// notified handles a notified document: how the watchers behind an edge answered. Nobody answers it.
func (b *Bus) notified(m *nats.Msg) {
	edge, err := subject.ParseToken(subject.Last(m.Subject))
	var replies []kazoo.Addressed
	wrong := 1
	if err == nil {
		replies, wrong, err = kazoo.ReadNotified(m.Data, edge)
	}
	if err != nil {
		b.refused.Inc()
		return
	}
	b.refused.Add(float64(wrong))
	deadline := time.Now().Add(b.cfg.Timeout)
	for _, r := range replies {
		b.cfg.Router.Go(actors.Request{To: r.To, Message: r.Event, Deadline: deadline}, func(actors.Answer) {})
	}
}
