package bus

import (
	"context"
	"fmt"
	"time"

	"lamplight/cluster/subject"
)

// Bounds of what a node knows of edges and keeps for them.
const (
	maxEdges     = 4096
	ringMessages = 4096             // messages that are kept for one edge
	ringBytes    = 8 << 20          // bytes that are kept for one edge
	DefaultKept  = 256 << 20        // bytes that are kept for all edges together
	forgetAfter  = time.Hour        // an edge that has neither watchers nor spoken for so long is forgotten
	lookEvery    = 10 * time.Minute // how often edges without watchers are looked for
	lookSooner   = 5 * time.Second  // how often, while there is no room for another edge
	lookTime     = time.Minute      // what one such look may take
	downAfter    = 10 * time.Second // an edge that nobody has heard for so long is down for good
)

var errEdges = fmt.Errorf("there are %d edges already; no subscription behind another one is taken until one of them has no watchers left", maxEdges)

// find returns an edge that the node knows, or nil.
func (f *Fanout) find(name string) *edge {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.edges[name]
}

// room says whether a subscription behind an edge can be taken. It makes no entry for the edge.
func (f *Fanout) room(name string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.edges[name] != nil || len(f.edges) < maxEdges || f.leastNeeded() != nil {
		return true
	}
	f.lookSoon()
	return false
}

// known returns an edge and makes its entry if there is none. An edge whose watchers are told always gets one: room has
// bounded their number when the subscriptions were taken. One that only speaks gets none when the table is full; then
// known returns nil.
func (f *Fanout) known(name string, needed bool) *edge {
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
		seq: f.forgottenSeq, base: f.forgottenSeq}
	e.heard.Store(time.Now().UnixNano())
	e.used.Store(true)
	f.edges[name] = e
	return e
}

// lock returns an edge with its lock held, or nil as known does.
func (f *Fanout) lock(name string, needed bool) *edge {
	for {
		e := f.known(name, needed)
		if e == nil {
			return nil
		}
		if e.mu.Lock(); !e.forgotten {
			return e
		}
		e.mu.Unlock()
	}
}

// leastNeeded returns the edge that has been silent for longest of those that had no watchers at the last look and were
// sent nothing since; nil: there is none. The caller holds f.mu.
func (f *Fanout) leastNeeded() (least *edge) {
	for _, e := range f.edges {
		if !e.used.Load() && (least == nil || e.heard.Load() < least.heard.Load()) {
			least = e
		}
	}
	return least
}

// forget drops an edge. Its numbers go on above where they stood, for whatever edge comes next: an edge that comes back
// would else take new messages for old ones. The caller holds f.mu.
func (f *Fanout) forget(e *edge) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forgotten = true
	f.forgottenSeq = max(f.forgottenSeq, e.seq)
	f.kept.Add(-int64(e.bytes))
	e.ring, e.bytes = nil, 0
	delete(f.edges, e.name)
}

// lookSoon has the goroutine that looks for edges without watchers not wait for its time.
func (f *Fanout) lookSoon() {
	select {
	case f.crowded <- struct{}{}:
	default:
	}
}

// look runs until ctx ends: it looks regularly for edges without watchers and forgets those that have not spoken either.
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

// lookOnce is one look.
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

// Down returns the edges that nobody has heard for 10 s and more though messages were sent to them. An edge that never
// said edge.up is never down.
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
