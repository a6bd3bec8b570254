package route

import (
	"errors"
	"slices"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/route/wire"
)

// try is a request on its way.
type try struct {
	req     actors.Request // to an extension; a question to a node uses its Deadline only
	done    func(actors.Answer)
	node    *question // not nil: it asks a node, not an extension, and is never tried again; done is nil
	router  *Router
	shard   int
	pause   time.Duration
	due     time.Time
	unknown bool // an earlier try may have been applied
	*remote      // once it was sent to a peer
}

// question is what a node is asked about a realm: a window of a listing, or to give a command.
type question struct {
	window   *wire.Window
	command  *wire.RealmCommand
	answered func(body string, err error)
}

// park keeps a request for another try a little later, if there is any hope.
func (r *Router) park(t *try) {
	now := time.Now()
	t.pause = min(max(2*t.pause, firstPause), longestPause)
	t.due = now.Add(t.pause)
	r.mu.Lock()
	full, closed := len(r.parked) >= maxParked, r.closed
	late := closed || r.cutOff() || !t.due.Before(t.req.Deadline)
	if !late && !full {
		r.parked = append(r.parked, t)
	}
	r.mu.Unlock()
	switch {
	case late:
		t.late()
	case full:
		r.metrics.refused.Inc()
		r.settle(t, actors.Answer{Err: actors.ErrBusy})
	}
}

// retry sends what is due on its way again.
func (r *Router) retry(now time.Time) {
	var due []*try
	r.mu.Lock()
	keep := r.parked[:0]
	for _, t := range r.parked {
		if t.due.After(now) {
			keep = append(keep, t)
		} else {
			due = append(due, t)
		}
	}
	clear(r.parked[len(keep):])
	r.parked = keep
	r.mu.Unlock()
	for _, t := range due {
		r.metrics.retried.Inc()
		r.route(t, false)
	}
}

// settle decides what an answer means for the caller.
func (r *Router) settle(t *try, a actors.Answer) {
	switch {
	case t.node != nil:
		t.node.answered("", a.Err)
	case errors.Is(a.Err, actors.ErrNotMine):
		r.park(t)
	case errors.Is(a.Err, actors.ErrUnknown):
		r.lost(t)
	case t.unknown && slices.ContainsFunc(untouched, func(e error) bool { return errors.Is(a.Err, e) }):
		t.done(actors.Answer{Err: actors.ErrUnknown})
	default:
		t.done(a)
	}
}

// untouched are the errors that say that this try changed nothing. Of an earlier one they say nothing.
var untouched = []error{actors.ErrBusy, actors.ErrUnavailable, actors.ErrTimeout}

// undelivered is for a try that surely reached no one.
func (r *Router) undelivered(t *try) {
	if t.node != nil {
		t.node.answered("", actors.ErrUnavailable)
		return
	}
	r.park(t)
}

// lost is for a try that may or may not have been applied: only what does no harm twice is tried again (docs/contract/journal.md, rule 5).
func (r *Router) lost(t *try) {
	read, news := nature(t.req.Message)
	switch {
	case t.node != nil:
		t.node.answered("", actors.ErrUnknown)
	case read:
		r.park(t)
	case news:
		t.unknown = true
		r.park(t)
	default:
		t.done(actors.Answer{Err: actors.ErrUnknown})
	}
}

// nature says whether a message is a read, or news that may be repeated. A register counts as a command even with a
// Timestamp (rule 5), a mailbox's counts because the last to arrive wins, and a watcher's reply because it may come
// without its Sequence.
func nature(m actors.Message) (read, news bool) {
	switch m.(type) {
	case actors.Show:
		return true, false
	case presence.Subscribe, presence.CallEvent:
		return false, true
	}
	return false, false
}

// late answers a request whose deadline has come.
func (t *try) late() {
	err := actors.ErrUnavailable
	if t.unknown {
		err = actors.ErrUnknown
	}
	if t.node != nil {
		t.node.answered("", err)
		return
	}
	t.done(actors.Answer{Err: err})
}
