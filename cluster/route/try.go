package route

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"lamplight/actors"
	"lamplight/actors/presence"
	"lamplight/cluster/route/wire"
)

// try is a request on its way. One goroutine after the other has it.
type try struct {
	req     actors.Request // to an extension; for a question to a node only the Deadline is set
	done    func(actors.Answer)
	node    *question // not nil: it asks a node, not an extension; it is never tried again, and done is nil
	router  *Router
	shard   int
	pause   time.Duration // before the next try
	due     time.Time     // when the next try is due
	unknown bool          // an earlier try may have changed something
	*remote               // set when it is sent to a peer
}

// question is what a node is asked about a realm: either for a stretch of a listing, or to carry out a command. answered
// is called once, with the encoded answer or an error.
type question struct {
	window   *wire.Window
	command  *wire.WideCommand
	answered func(body string, err error)
}

// park keeps a request for another try after a pause. If the deadline comes before, or other nodes are out of reach, it
// ends the request at once.
func (r *Router) park(t *try) {
	now := time.Now()
	t.pause = min(max(2*t.pause, firstPause), longestPause)
	t.due = now.Add(t.pause)
	r.mu.Lock()
	full, closed := len(r.parked) >= maxParked, r.closed
	late := closed || r.cutOff() || !t.due.Before(t.req.Deadline)
	if !late && !full {
		if r.parked = append(r.parked, t); len(r.parked) == 1 {
			r.soon()
		}
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

// retry makes the next try of the requests that are due. waits says whether others wait.
func (r *Router) retry(now time.Time) (waits bool) {
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
	waits = len(keep) > 0
	r.mu.Unlock()
	for _, t := range due {
		r.metrics.retried.Inc()
		r.route(t, false) // if it is parked again, that wakes run, or others wait
	}
	return waits
}

// settle takes the answer to a try, and either tries again or tells the caller.
func (r *Router) settle(t *try, a actors.Answer) {
	switch {
	case t.node != nil:
		t.node.answered("", a.Err)
	case errors.Is(a.Err, actors.ErrNotMine):
		r.park(t)
	case errors.Is(a.Err, actors.ErrUnknown):
		r.lost(t)
	case t.unknown && slices.ContainsFunc(changedNothing, func(e error) bool { return errors.Is(a.Err, e) }):
		t.end(actors.Answer{Err: actors.ErrUnknown})
	default:
		t.end(a)
	}
}

// changedNothing are the errors that say that a try changed nothing. They say nothing of an earlier try of the same
// request: if its outcome is unknown, the request's outcome is.
var changedNothing = []error{actors.ErrBusy, actors.ErrUnavailable, actors.ErrTimeout}

// undelivered takes a try that surely reached no node: it can be tried again whatever it is.
func (r *Router) undelivered(t *try) {
	if t.node != nil {
		t.node.answered("", actors.ErrUnavailable)
		return
	}
	r.park(t)
}

// lost takes a try that got no answer and may have been carried out. It is tried again only if that does no harm
// (docs/contract/journal.md, rule 5).
func (r *Router) lost(t *try) {
	read, news := repeatable(t.req.Message)
	switch {
	case t.node != nil:
		t.node.answered("", actors.ErrUnknown)
	case read:
		r.park(t)
	case news:
		t.unknown = true
		r.park(t)
	default:
		t.end(actors.Answer{Err: actors.ErrUnknown})
	}
}

// repeatable says whether a message may be sent again when its outcome is unknown: because it is a read, or because it is
// news, which may be applied twice. All else is a command (rule 5). A register is one even with a Timestamp. A mailbox's
// counts are one, because the last to arrive wins. A watcher's reply is one, because it may come without its Sequence. A
// publication is news: its extension knows by the new entity-tag that it was applied.
func repeatable(m actors.Message) (read, news bool) {
	switch m.(type) {
	case actors.Show:
		return true, false
	case presence.Subscribe, presence.CallEvent, presence.Publish:
		return false, true
	}
	return false, false
}

// late ends a request that will not be tried again: its deadline has come, or other nodes are out of reach.
func (t *try) late() {
	err := actors.ErrUnavailable
	if t.unknown {
		err = actors.ErrUnknown
	}
	if t.node != nil {
		t.node.answered("", err)
		return
	}
	t.end(actors.Answer{Err: err})
}

// end gives the answer to the caller. Where the answer says that nothing could be reached or confirmed, and the node knows
// what it lacks, the answer says that too.
func (t *try) end(a actors.Answer) {
	a.Err = t.router.explain(a.Err)
	t.done(a)
}

// explain adds what this node lacks to an error that says that nothing could be reached or confirmed.
func (r *Router) explain(err error) error {
	if r.cfg.Trouble == nil || !slices.ContainsFunc(unreached, func(e error) bool { return errors.Is(err, e) }) {
		return err
	}
	if trouble := r.cfg.Trouble(); trouble != nil {
		return fmt.Errorf("%w: %w", err, trouble)
	}
	return err
}

var unreached = []error{actors.ErrUnavailable, actors.ErrUnknown, actors.ErrTimeout}
